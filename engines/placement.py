"""Where a volume's voxels lie in a network's pixels, and the way back.

Convention: the network sees axial slices. Slices ascend to the superior side (+S), rows to the posterior
(+P), columns to the left (+L). Voxels reach that order by exchanging and reversing axes only, so nothing
is interpolated between slices. In plane a square of patient space (the aspect of the pixel grid, to be
exact) is centred on the slice and laid on the pixel grid; what lies outside the slice is padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from engines.volume import Grid

AXIAL_TARGETS = (2, 1, 0)
"""Patient axis (x, y, z = 0, 1, 2) that slices, rows and columns of the network run along."""

EDGE_TOLERANCE = 1e-6
"""Rounding allowance when a sample lies on the outer edge of the last pixel, in pixels."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """A lossless reordering of a volume's axes.

    Attributes:
        order: the original axis behind each of the network's (slices, rows, columns).
        reversed_axes: whether each of them runs against its target direction.
    """

    order: tuple[int, int, int]
    reversed_axes: tuple[bool, bool, bool]

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array (original axes) in the network's axis order."""
        return array.transpose(self.order)[self._steps()]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array (network's axes) in the original axis order."""
        back = tuple(int(axis) for axis in np.argsort(self.order))
        return array[self._steps()].transpose(back)

    def _steps(self) -> tuple[slice, slice, slice]:
        first, second, third = (slice(None, None, -1 if flip else 1) for flip in self.reversed_axes)
        return first, second, third


def closest_axial(grid: Grid) -> Orientation:
    """Find the axis order whose directions are nearest to superior, posterior and left.

    The six possible orders are compared by the sum of their direction cosines, so an oblique volume takes
    the order that it is turned from by the smallest angles.
    """
    cosines = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)

    def along(order: tuple[int, ...]) -> list[float]:
        return [float(cosines[target, axis]) for target, axis in zip(AXIAL_TARGETS, order, strict=True)]

    best = max(permutations(range(3)), key=lambda order: sum(abs(cosine) for cosine in along(order)))
    slices, rows, columns = (cosine < 0 for cosine in along(best))
    return Orientation((best[0], best[1], best[2]), (slices, rows, columns))


@dataclass(frozen=True, slots=True)
class AxisFit:
    """How one in-plane axis of voxels lies on one axis of network pixels.

    Attributes:
        voxels: number of voxels along the axis.
        pixels: number of network pixels along the axis.
        ratio: size of a pixel in voxels; above 1 the network sees fewer pixels than there are voxels.
        offset: whole voxels between the first voxel's outer edge and the first pixel's outer edge;
            negative where the network begins with padding, positive where voxels are cropped.
    """

    voxels: int
    pixels: int
    ratio: float
    offset: int

    @property
    def seen(self) -> tuple[int, int]:
        """First voxel that lies on a pixel, and one past the last."""
        return max(0, self.offset), min(self.voxels, self._end)

    @property
    def _end(self) -> int:
        """One past the last whole voxel, or voxel of padding, that the pixels reach into."""
        return math.ceil(self.offset + self.pixels * self.ratio - EDGE_TOLERANCE)

    def to_pixels(self) -> NDArray[np.float32]:
        """Return (pixels, voxels) weights; padding counts as zeros."""
        centres = self.offset + (np.arange(self.pixels) + 0.5) * self.ratio - 0.5
        first, end = min(0, self.offset), max(self.voxels, self._end)
        weights = triangle_weights(centres, first, end, self.ratio)
        return np.ascontiguousarray(weights[:, -first : self.voxels - first])

    def to_voxels(self) -> NDArray[np.float32]:
        """Return (voxels, pixels) weights; voxels that were cropped away get zeros."""
        centres = (np.arange(self.voxels) + 0.5 - self.offset) / self.ratio - 0.5
        return triangle_weights(centres, 0, self.pixels, 1 / self.ratio)


def fit_axis(voxels: int, pixels: int, ratio: float) -> AxisFit:
    """Centre an axis of pixels on an axis of voxels, to the whole voxel so that equal sizes copy exactly."""
    margin = (voxels - ratio * pixels) / 2
    return AxisFit(voxels, pixels, ratio, math.trunc(margin + math.copysign(EDGE_TOLERANCE, margin)))


def triangle_weights(
    centres: NDArray[np.floating[Any]], first: int, end: int, ratio: float
) -> NDArray[np.float32]:
    """Build linear interpolation weights that widen with the step, so that shrinking skips no sample.

    Args:
        centres: (n,) positions to sample at, in samples.
        first: index of the first sample.
        end: one past the index of the last sample.
        ratio: distance of the centres in samples; at most 1 gives plain linear interpolation.

    Returns: (n, end - first) float32; each row sums to 1, or to 0 if its centre is outside all samples.
    Source: the triangle filter of Pillow's BILINEAR; plain linear interpolation would let a lesion of two
        voxels fall between the samples when a 512 matrix is shrunk to 224.
    """
    reach = max(1.0, ratio)
    distance = np.abs(centres[:, None] - np.arange(first, end)[None, :])
    weights = np.maximum(0.0, 1.0 - distance / reach)
    outside = (centres < first - 0.5 - EDGE_TOLERANCE) | (centres > end - 0.5 + EDGE_TOLERANCE)
    weights[outside] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = weights / np.where(total > 0, total, 1.0)
    return normalised.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Placement:
    """A volume's way onto a network's pixels.

    Attributes:
        grid: the original lattice.
        orientation: how its axes are reordered.
        rows: fit of the reordered rows.
        columns: fit of the reordered columns.
    """

    grid: Grid
    orientation: Orientation
    rows: AxisFit
    columns: AxisFit

    @property
    def field(self) -> Grid:
        """The part of the original lattice that lies on the pixels: all of it, unless a slice is cropped."""
        first, shape = [0, 0, 0], list(self.grid.shape)
        for number, fit in ((1, self.rows), (2, self.columns)):
            axis, against = self.orientation.order[number], self.orientation.reversed_axes[number]
            begin, end = fit.seen
            first[axis] = fit.voxels - end if against else begin
            shape[axis] = end - begin
        affine = self.grid.affine.copy()
        affine[:3, 3] = self.grid.to_lps(np.array([first]))[0]
        return Grid((shape[0], shape[1], shape[2]), affine)

    def to_pixels(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resize reordered slices (slices, rows, columns) to (slices, pixel rows, pixel columns)."""
        return _resize(array, self.rows.to_pixels(), self.columns.to_pixels())

    def to_voxels(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring (slices, pixel rows, pixel columns) back to the original axes and shape."""
        resized = _resize(maps, self.rows.to_voxels(), self.columns.to_voxels())
        return np.ascontiguousarray(self.orientation.undo(resized))


def _resize(
    slices: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weigh rows, then columns of every slice.

    The weights are sparse: dense products would go to BLAS, whose threads wait for each other at every
    slice and take a hundred times as long while another job has the machine.
    """
    row_weights, column_weights = csr_array(rows), csr_array(columns)
    resized = np.empty((len(slices), len(rows), len(columns)), dtype=np.float32)
    for source, target in zip(slices, resized, strict=True):
        target[:] = (column_weights @ (row_weights @ source).T).T
    return resized


def place(grid: Grid, pixel_grid: tuple[int, int], *, keep_resolution: bool) -> Placement:
    """Lay a volume's slices on a pixel grid, centred, with square pixels in mm.

    Args:
        grid: the volume's lattice.
        pixel_grid: (rows, columns) of the network.
        keep_resolution: True keeps the finer in-plane spacing and crops what does not fit; a slice that is
            smaller than the pixel grid is enlarged. False shows the whole slice.
    """
    orientation = closest_axial(grid)
    shape = tuple(grid.shape[axis] for axis in orientation.order)
    spacing = tuple(grid.spacing_mm[axis] for axis in orientation.order)
    whole_mm = max(shape[1] * spacing[1] / pixel_grid[0], shape[2] * spacing[2] / pixel_grid[1])
    pixel_mm = min(whole_mm, spacing[1], spacing[2]) if keep_resolution else whole_mm
    rows = fit_axis(shape[1], pixel_grid[0], pixel_mm / spacing[1])
    columns = fit_axis(shape[2], pixel_grid[1], pixel_mm / spacing[2])
    return Placement(grid, orientation, rows, columns)
