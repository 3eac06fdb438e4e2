"""Marked points of patient space as a mask on a grid: how a Segmentation comes to lie on an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.volume import Grid

OFF_GRID = 0.1
"""Largest distance of a marked voxel's centre from one of the image's, in voxels."""


def mask_on(points_lps: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_] | None:
    """Return the mask of marked voxels on a grid; None if one lies beside it or between its voxels.

    Args:
        points_lps: (n, 3) centres of the marked voxels, LPS mm.
        grid: of the image that they were drawn on.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    if not len(points_lps):
        return mask
    exact = grid.to_index(points_lps)
    index = np.rint(exact).astype(np.int64)
    if np.abs(exact - index).max() > OFF_GRID or (index < 0).any() or (index >= grid.shape).any():
        return None
    mask[tuple(index.T)] = True
    return mask
