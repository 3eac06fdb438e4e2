"""A volume: an array and its place in patient space.

Convention: arrays are (slices, rows, columns); patient space is LPS (x to the left, y to the posterior,
z to the superior side) in mm; an affine maps the index (slice, row, column, 1) to (x, y, z, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import GeometryError

MIN_VOXEL_MM3 = 1e-6
"""Below this voxel volume an affine is taken for degenerate, mm3."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of voxels in patient space.

    Attributes:
        shape: (slices, rows, columns), each at least 1.
        affine: (4, 4) float64, index to LPS mm.

    Raises:
        GeometryError: if the shape is not positive or the affine not finite and invertible.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"A grid needs three positive sizes, got {self.shape}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"An affine is a finite (4, 4) matrix, got shape {affine.shape}")
        if abs(np.linalg.det(affine[:3, :3])) < MIN_VOXEL_MM3:
            raise GeometryError("The affine is degenerate: its voxels have no volume")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along (slices, rows, columns), mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel, mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def centre_lps(self) -> NDArray[np.float64]:
        """Point in the middle between the first and the last voxel, (3,) LPS mm."""
        centre: NDArray[np.float64] = self.to_lps((np.array([self.shape]) - 1) / 2)[0]
        return centre

    def to_lps(self, indices: NDArray[Any]) -> NDArray[np.float64]:
        """Map (n, 3) indices (slice, row, column) to (n, 3) LPS points, mm."""
        return mapped(indices, self.affine)

    def to_index(self, points_lps: NDArray[Any]) -> NDArray[np.float64]:
        """Map (n, 3) LPS points in mm to (n, 3) fractional indices (slice, row, column)."""
        return mapped(points_lps, np.linalg.inv(self.affine))


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxel values on a grid.

    Attributes:
        array: (slices, rows, columns), any real or boolean dtype.
        grid: the lattice of the same shape.

    Raises:
        GeometryError: if the array's shape is not the grid's.
    """

    array: NDArray[Any]
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise GeometryError(f"An array of shape {self.array.shape} on a grid of {self.grid.shape}")

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Return other values of the same shape on this grid."""
        return Volume(array, self.grid)


def mapped(points: NDArray[Any], transform: NDArray[Any]) -> NDArray[np.float64]:
    """Map (n, 3) points, or indices, by a (4, 4) matrix."""
    result: NDArray[np.float64] = np.asarray(points) @ transform[:3, :3].T + transform[:3, 3]
    return result


def without_blank_ends(volume: Volume) -> Volume:
    """Cut constant slices off both ends: the padding of a resampled Series shows no anatomy."""
    # Compared, not subtracted: the range of 16-bit integers may be wider than they reach.
    filled = [k for k, one in enumerate(volume.array) if one.min() < one.max()]
    if not filled:
        return volume
    first, end = filled[0], filled[-1] + 1
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * first
    return Volume(volume.array[first:end], Grid((end - first, *volume.grid.shape[1:]), affine))
