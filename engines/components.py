"""Connected components: which voxels of a mask are one lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
"""Voxels that touch by a face, an edge or a corner belong together."""


def label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number the 26-connected components of a mask.

    Args:
        mask: (slices, rows, columns) bool.

    Returns: int32 labels of the same shape, 0 outside, and the number of components. Numbers follow the
        first voxel of each component in (slice, row, column) order, so they are the same on every machine.
    """
    labels = np.zeros(mask.shape, dtype=np.int32)
    if not mask.any():
        return labels, 0
    # Lesions fill a small part of a volume; the rest would take most of the time.
    box = tuple(_extent(np.flatnonzero(mask.any(axis=others))) for others in ((1, 2), (0, 2), (0, 1)))
    count = ndimage.label(mask[box], structure=NEIGHBOURS_26, output=labels[box])
    return labels, int(count)


def _extent(places: NDArray[np.int64]) -> slice:
    """Return the part of an axis from the first to the last of its places."""
    return slice(int(places[0]), int(places[-1]) + 1)


def sizes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return the voxel counts of components 1 to ``count``."""
    return np.bincount(labels.ravel(), minlength=count + 1)[1:]


def peaks(labels: NDArray[np.int32], count: int, values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the highest value, at least 0, inside each of the components 1 to ``count``."""
    highest = np.zeros(count + 1, dtype=np.float32)
    inside = labels > 0
    np.maximum.at(highest, labels[inside], values[inside])
    return highest[1:]


def keep(labels: NDArray[np.int32], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask of those components whose entry in ``kept`` (component n at n - 1) is True."""
    chosen: NDArray[np.bool_] = np.concatenate(([False], kept))[labels]
    return chosen
