"""A real scan on which shapes are painted where they fit, by its brightness and depth alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.segments import SeriesType
from engines.volume import Grid
from training.simulation.scans import Scan
from training.simulation.shapes import Shape

TISSUE_RANGE = {
    SeriesType.T1: (0.72, 1.3),
    SeriesType.T2_FLAIR: (0.7, 1.25),
    SeriesType.DWI_B1000: (0.65, 1.5),
    SeriesType.T2_STAR: (0.6, 1.6),
}
"""Brightness of brain tissue as a share of its surroundings' median: CSF, vessels and pile-up lie outside."""

BRIGHTEST_CSF = 0.5
"""CSF is at most this bright on T1 and FLAIR, as a share of tissue, where a scan shows hardly any."""

TRIES = 30
"""Places tried for one lesion before it is left out."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A shape on a scan's voxels, and its centre in mm from the first voxel."""

    centre_mm: NDArray[np.float64]
    shape: Shape


@dataclass(slots=True)
class Canvas:
    """A real scan that is being painted.

    Attributes:
        scan: as it was read.
        images: float32 by Series type, changed.
        target: float32 occupancy of the wanted lesion.
        allowed: (n, 3) voxels where a lesion may be centred.
        tissue: bool, brain tissue by its brightness.
        local: float32 by Series type, the median brightness of tissue around each voxel.
        csf: brightness of CSF as a share of tissue, by Series type.
        diameters_mm: of what was painted.
    """

    scan: Scan
    images: dict[SeriesType, NDArray[np.float32]]
    target: NDArray[np.float32]
    allowed: NDArray[np.intp]
    tissue: NDArray[np.bool_]
    local: dict[SeriesType, NDArray[np.float32]]
    csf: dict[SeriesType, float]
    diameters_mm: list[float]

    def place(
        self, shape_at: Callable[[NDArray[np.float64]], Shape], rng: np.random.Generator
    ) -> Placed | None:
        """Find a place where at least 85% of a shape falls on brain tissue; None after ``TRIES``.

        Args:
            shape_at: makes a shape around a point in mm, voxels of 1 mm.
            rng: of the places.
        Returns: the point, and the shape on the scan's own voxels.
        """
        for _ in range(TRIES if len(self.allowed) else 0):
            centre = self.allowed[rng.integers(len(self.allowed))] + rng.uniform(-0.5, 0.5, size=3)
            centre_mm = centre * self.scan.grid.spacing_mm
            shape = rasterise(shape_at(centre_mm), self.scan.grid)
            box = _box(shape, self.target.shape)
            if box is None or not shape.occupancy.sum() > 0:
                continue
            on_tissue = (shape.occupancy * self.tissue[box]).sum() / shape.occupancy.sum()
            if on_tissue > 0.85 and not (self.target[box] * (shape.occupancy > 0.1)).any():
                return Placed(centre_mm, shape)
        return None

    def shine(self, series: SeriesType, shape: Shape, factor: float, *, wanted: bool) -> None:
        """Multiply with a factor, which keeps texture and noise, weighted by the occupancy."""
        box = _box(shape, self.target.shape)
        if box is not None:
            self.images[series][box] *= 1 + np.float32(factor - 1) * shape.occupancy
            if wanted:
                np.maximum(self.target[box], shape.occupancy, out=self.target[box])

    def fill(
        self, series: SeriesType, shape: Shape, share: float, rng: np.random.Generator, *, wanted: bool
    ) -> None:
        """Replace what is there by a share of the local tissue's brightness, with a little noise."""
        box = _box(shape, self.target.shape)
        if box is not None:
            local = self.local[series][box]
            noise = rng.normal(size=local.shape).astype(np.float32) * 0.02
            self.images[series][box] += (local * (share + noise) - self.images[series][box]) * shape.occupancy
            if wanted:
                np.maximum(self.target[box], shape.occupancy, out=self.target[box])


def rasterise(shape: Shape, grid: Grid) -> Shape:
    """Bring a shape from voxels of 1 mm to those of a scan, averaging over each one's thickness.

    Args:
        shape: corner in mm from the scan's first voxel.
        grid: of the scan; its axes are taken for the shape's.
    """
    spacing = np.array(grid.spacing_mm)
    low = np.floor((np.array(shape.corner) - 1) / spacing).astype(int)
    high = np.ceil((np.array(shape.corner) + shape.occupancy.shape) / spacing).astype(int)
    parts = [max(1, round(size * 2)) for size in spacing]
    axes = []
    for axis in range(3):
        within = (np.arange(parts[axis]) + 0.5) / parts[axis] - 0.5
        positions = (np.arange(low[axis], high[axis] + 1)[:, None] + within[None, :]) * spacing[axis]
        axes.append(positions.ravel() - shape.corner[axis])
    points = np.meshgrid(*axes, indexing="ij")
    fine = ndimage.map_coordinates(shape.occupancy, points, order=1)
    counts = high - low + 1
    split = [value for axis in range(3) for value in (int(counts[axis]), parts[axis])]
    coarse = fine.reshape(split).mean(axis=(1, 3, 5)).astype(np.float32)
    return Shape.at(low, coarse)


def prepare_canvas(scan: Scan, series: tuple[SeriesType, ...], depth_mm: float) -> Canvas:
    """Find brain tissue, and where in it lesions may lie: at least ``depth_mm`` below its surface."""
    spacing = scan.grid.spacing_mm
    images = {kind: scan.images[kind].copy() for kind in series}
    local, csf, tissue = {}, {}, scan.brain.copy()
    depth = ndimage.distance_transform_edt(scan.brain, sampling=spacing)
    inner = depth > min(15.0, 0.5 * float(depth.max()))
    for kind, image in images.items():
        local[kind] = _local_level(image, scan.brain, spacing)
        low, high = TISSUE_RANGE[kind]
        share = image / np.maximum(local[kind], 1e-6)
        tissue &= (share > low) & (share < high)
        # the darkest of the inner brain are ventricles, on T1 and FLAIR
        csf[kind] = min(float(np.percentile(share[inner], 1)), BRIGHTEST_CSF)
    allowed = np.argwhere(tissue & (depth > depth_mm) & ~scan.marked)
    target = np.zeros(scan.grid.shape, np.float32)
    return Canvas(scan, images, target, allowed, tissue, local, csf, [])


def _local_level(
    image: NDArray[np.float32], brain: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return the mean brightness of the brain around each voxel, without its darkest and brightest parts."""
    low, high = np.percentile(image[brain], [25, 90])
    inner = (brain & (image >= low) & (image <= high)).astype(np.float32)
    sigma = [12 / size for size in spacing]
    weight = ndimage.gaussian_filter(inner, sigma)
    level = ndimage.gaussian_filter(image * inner, sigma) / np.maximum(weight, 1e-3)
    return np.where(weight > 1e-3, level, np.float32(np.median(image[brain]))).astype(np.float32)


def _box(shape: Shape, limits: tuple[int, ...]) -> tuple[slice, slice, slice] | None:
    """Return where a shape lies; None if it reaches over the edge."""
    starts = shape.corner
    stops = [start + size for start, size in zip(starts, shape.occupancy.shape, strict=True)]
    if min(starts) < 0 or any(stop > limit for stop, limit in zip(stops, limits, strict=True)):
        return None
    return slice(starts[0], stops[0]), slice(starts[1], stops[1]), slice(starts[2], stops[2])
