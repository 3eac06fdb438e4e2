"""Whether a Series lacks slices at an end, which leaves no gap: the scanner's own count tells."""

from __future__ import annotations

from node.stacks import Stack

COMPUTED = frozenset({"SECONDARY", "MPR", "REFORMATTED", "PROJECTION IMAGE"})
"""Values of Image Type of slices laid anew through a volume: they repeat the count of what was acquired."""


def absent_slices(stack: Stack) -> int:
    """Return how many slices fewer a stack has than the scanner says; 0 if it has them all or nobody says.

    More than stated are no contradiction: scanners interpolate slices that they did not count.
    """
    acquisition = stack.first.acquisition
    if acquisition.stated_slices is None or COMPUTED.intersection(acquisition.image_type):
        return 0
    return max(0, acquisition.stated_slices - stack.positions)
