"""Values of one volume on another lattice.

Convention: a voxel is the box around its centre. A target voxel takes the value at its own centre, so it
belongs to a resampled mask exactly when its centre lies in a voxel of the mask. A lesion between two
thick target slices is therefore not seen on them; nothing is ever grown to make it seen.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.volume import Grid, Volume

TIE_INDEX = 1e-6
"""Centres this near to the border of two voxels count as on it and go to the upper one; without it,
rounding would decide differently along one border. Share of a voxel."""


class Interpolation(StrEnum):
    """``NEAREST`` keeps the values of the source and its dtype, for masks; ``LINEAR`` gives float32."""

    NEAREST = "nearest"
    LINEAR = "linear"


def resample(
    volume: Volume,
    grid: Grid,
    grid_to_volume: NDArray[np.float64] | None = None,
    interpolation: Interpolation = Interpolation.NEAREST,
    outside: float = 0.0,
) -> Volume:
    """Bring a volume onto another grid.

    Args:
        volume: the source; a mask is read with ``NEAREST``.
        grid: the target.
        grid_to_volume: (4, 4) transform of LPS mm points of the target's patient space into the source's:
            ``fixed_to_moving`` if the target is the fixed Series. By default the two spaces are one.
        interpolation: how values between centres are found.
        outside: value of target voxels whose centre lies in no voxel of the source.
    """
    to_source = np.linalg.inv(volume.grid.affine) @ _or_identity(grid_to_volume) @ grid.affine
    if interpolation is Interpolation.LINEAR:
        return Volume(_interpolated(volume, grid, to_source, outside), grid)
    result = np.full(grid.shape, outside, dtype=volume.array.dtype)
    for k in range(grid.shape[0]):
        indices = _plane_indices(to_source, grid.shape, k)
        inside = _inside(indices, volume.grid.shape)
        if inside.any():
            nearest = np.floor(indices[:, inside] + 0.5 + TIE_INDEX).astype(np.intp)
            result[k][inside] = volume.array[tuple(nearest)]
    return Volume(result, grid)


def _interpolated(
    volume: Volume, grid: Grid, to_source: NDArray[np.float64], outside: float
) -> NDArray[np.float32]:
    """Return the volume's values at the centres of a grid, interpolated between those of its own."""
    array = np.asarray(volume.array, dtype=np.float32)
    if volume.grid.shape == grid.shape and np.allclose(to_source, np.eye(4), rtol=0, atol=TIE_INDEX):
        return array.copy()
    # "nearest" holds the last value within the outer half of the border voxels.
    result: NDArray[np.float32] = ndimage.affine_transform(
        array, to_source[:3, :3], to_source[:3, 3], grid.shape, order=1, mode="nearest"
    )
    for k in range(grid.shape[0]):
        result[k][~_inside(_plane_indices(to_source, grid.shape, k), volume.grid.shape)] = outside
    return result


def _or_identity(transform: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return np.eye(4) if transform is None else transform


def _plane_indices(
    to_source: NDArray[np.float64], shape: tuple[int, int, int], k: int
) -> NDArray[np.float64]:
    """Return the source indices (3, rows, columns) of the target's slice k."""
    rows = np.arange(shape[1])[None, :, None]
    columns = np.arange(shape[2])[None, None, :]
    slice_axis, row_axis, column_axis, origin = (axis[:, None, None] for axis in to_source[:3].T)
    indices: NDArray[np.float64] = origin + slice_axis * k + row_axis * rows + column_axis * columns
    return indices


def _inside(indices: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Tell which indices lie in a voxel: from -0.5, included, to size - 0.5, excluded."""
    upper = np.array(shape)[:, None, None] - 0.5 - TIE_INDEX
    within = (indices >= -0.5 - TIE_INDEX) & (indices < upper)
    return np.asarray(within.all(axis=0))
