"""Which lesion a voxel belongs to when two segmentors claim it.

The published order: white matter hyperintensities minus infarcts, white matter hyperintensities minus
lacunes, lacunes minus infarcts. The steps follow one another, so each works on what the steps before have
left, and the subtrahend of the second step is the lacunes as predicted, which only the third step reduces.
Microbleeds take no part.

A voxel is removed when its centre lies in a voxel of the other mask. The masks stay on their own grids.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.findings import ExclusionRecord
from engines.postprocessing import MM3_PER_ML
from engines.resampling import resample
from engines.segments import Segment
from engines.volume import Volume

EXCLUSION_ORDER = (
    (Segment.WMH, Segment.INFARCT),
    (Segment.WMH, Segment.LACUNE),
    (Segment.LACUNE, Segment.INFARCT),
)
"""Minuend and subtrahend of each step."""

CLAIM_ORDER = (Segment.MICROBLEED, Segment.INFARCT, Segment.LACUNE, Segment.WMH)
"""Who keeps a voxel that several masks on one grid claim: the smallest lesions first, then by the exclusion
rules. Viewers in use drop whole slices of a SEG whose segments overlap."""


def exclude(
    masks: Mapping[Segment, Volume], reference_to: Mapping[Segment, NDArray[np.float64]]
) -> tuple[dict[Segment, Volume], tuple[ExclusionRecord, ...]]:
    """Apply the three steps.

    Args:
        masks: bool, each on the grid of its own Series; a segment that was not assessed is absent.
        reference_to: for each mask the (4, 4) transform of LPS mm points of a common patient space into
            that of its Series; absent where it is not known.

    Returns: the masks, reduced, and a record of each step.
    """
    left = dict(masks)
    records = []
    for minuend, subtrahend in EXCLUSION_ORDER:
        if reason := _why_not((minuend, subtrahend), left, reference_to):
            records.append(ExclusionRecord(minuend, subtrahend, False, 0, 0.0, reason))
            continue
        to_subtrahend = reference_to[subtrahend] @ np.linalg.inv(reference_to[minuend])
        left[minuend], removed = subtract(left[minuend], left[subtrahend], to_subtrahend)
        removed_ml = removed * left[minuend].grid.voxel_mm3 / MM3_PER_ML
        records.append(ExclusionRecord(minuend, subtrahend, True, removed, removed_ml))
    return left, tuple(records)


def _why_not(
    pair: tuple[Segment, Segment], masks: Container[Segment], reference_to: Container[Segment]
) -> str:
    """Say why a step cannot be performed; empty if it can."""
    for known, what in (
        (masks, "not assessed"),
        (reference_to, "found in an unknown place beside the other"),
    ):
        unknown = [segment.label for segment in pair if segment not in known]
        if unknown:
            return f"{' and '.join(unknown)} {'were' if len(unknown) > 1 else 'was'} {what}"
    return ""


def subtract(
    minuend: Volume, subtrahend: Volume, minuend_to_subtrahend: NDArray[np.float64]
) -> tuple[Volume, int]:
    """Remove the voxels of a mask whose centres lie in another one.

    Args:
        minuend: bool.
        subtrahend: bool, on any grid.
        minuend_to_subtrahend: (4, 4) transform of LPS mm points between their patient spaces.

    Returns: what is left on the minuend's grid, and the number of voxels removed.
    """
    claimed = resample(subtrahend, minuend.grid, minuend_to_subtrahend).array
    overlap = minuend.array & claimed
    return minuend.with_array(minuend.array & ~claimed), int(overlap.sum())


def disjoint(masks: Mapping[Segment, Volume]) -> dict[Segment, Volume]:
    """Give each voxel to the first in ``CLAIM_ORDER`` of the masks that claim it.

    Args:
        masks: of bool, on one grid.

    Returns: the masks without overlap, in the order given.
    """
    left: dict[Segment, Volume] = {}
    for segment in CLAIM_ORDER:
        if segment in masks:
            own = masks[segment].array.copy()
            for earlier in left.values():
                own &= ~earlier.array
            left[segment] = masks[segment].with_array(own)
    return {segment: left[segment] for segment in masks}
