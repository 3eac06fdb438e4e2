"""What a GPU that is out of memory leads to: half the batch, and again, down to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from engines.errors import DeviceMemoryError
from engines.runners.base import Notice

Result = TypeVar("Result")


def halving(batch: int, smallest: int) -> Iterator[int]:
    """Yield the batch, half of it and so on, down to the smallest."""
    while batch > smallest:
        yield batch
        batch //= 2
    yield max(batch, smallest)


def run_halving(
    batch: int, smallest: int, attempt: Callable[[int], Result], notice: Notice
) -> tuple[int, Result]:
    """Do a piece of work with as large a batch as the GPU has memory for.

    Args:
        batch: to begin with.
        smallest: below it there is no use in trying.
        attempt: does all of the work in batches of a size.
        notice: told if the batch had to be smaller than the first.

    Returns: the batch that fitted, and what the work returned.
    Raises: DeviceMemoryError: if even the smallest batch does not fit.
    """
    said = ""
    for size in halving(batch, smallest):
        try:
            result = attempt(size)
        except DeviceMemoryError as exc:
            # Only its words: the error would keep alive what the attempt had made on the GPU.
            said = str(exc)
            continue
        if size != batch:
            notice(f"the GPU was short of memory: slices ran in batches of {size} instead of {batch}")
        return size, result
    raise DeviceMemoryError(f"The GPU has no memory for {smallest} slices: {said}")
