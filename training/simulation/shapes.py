"""Shapes of lesions as soft occupancies: blobs, tubes, and real lesion masks.

Convention: lengths in voxels of 1 mm; an occupancy is the share of a voxel that is filled, 0 to 1.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from engines.volume import mapped
from training.errors import SimulationSourceError
from training.simulation.fields import smooth_field

LESION_LIBRARY_LICENCE = "Apache-2.0 (CSIM-Toolkits/Slicer-LesionSimulatorExtension)"

TUBE_EDGE = 1.0
"""Width of the soft edge of a tube, voxels: partial volume alone."""

Point = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """An occupancy and where its first voxel lies; may reach over the volume's edge."""

    corner: tuple[int, int, int]
    occupancy: NDArray[np.float32]

    @classmethod
    def at(cls, corner: NDArray[np.integer[Any]], occupancy: NDArray[np.float32]) -> Self:
        """Return an occupancy whose first voxel lies at (3,) ``corner``."""
        first, second, third = (int(place) for place in corner)
        return cls((first, second, third), occupancy)


def blob(
    centre: Point,
    radii: Point,
    rng: np.random.Generator,
    irregularity: float = 0.25,
    edge: float = 1.0,
) -> Shape:
    """Draw an ellipsoid in a random orientation with a bumpy surface.

    Args:
        centre: (3,) voxel.
        radii: (3,) half axes, voxels.
        rng: orientation and bumps.
        irregularity: how far bumps reach, as a share of the radius.
        edge: width of the soft edge, voxels; 1 is partial volume alone.
    """
    half_axes = np.asarray(radii, dtype=np.float64)
    reach = int(np.ceil(half_axes.max() * (1 + 2 * irregularity) + edge)) + 1
    corner = np.floor(centre).astype(int) - reach
    steps = np.arange(2 * reach + 1)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1) + corner - np.asarray(centre)
    rotated = points @ Rotation.random(rng=rng).as_matrix().T
    radius = np.sqrt(((rotated / half_axes) ** 2).sum(axis=-1))
    bumps = smooth_field(radius.shape, [max(1.5, float(half_axes.mean()))] * 3, rng) * irregularity
    inside = (1 + 0.7 * bumps - radius) * half_axes.min()
    occupancy = np.clip(inside / edge + 0.5, 0, 1).astype(np.float32)
    return Shape.at(corner, occupancy)


def tube(path: NDArray[np.float64], radius: float) -> Shape:
    """Return everything within ``radius`` of a path of (n, 3) points that lie at most a voxel apart."""
    reach = radius + TUBE_EDGE + 1
    corner = np.floor(path.min(axis=0) - reach).astype(int)
    size = np.ceil(path.max(axis=0) + reach).astype(int) - corner + 1
    grids = np.meshgrid(*(np.arange(count) for count in size), indexing="ij", sparse=True)
    nearest = np.full(tuple(size), np.inf, np.float32)
    for point in path - corner:
        square = sum((grid - at) ** 2 for grid, at in zip(grids, point, strict=True))
        np.minimum(nearest, square, out=nearest)
    occupancy = np.clip((radius - np.sqrt(nearest)) / TUBE_EDGE + 0.5, 0, 1).astype(np.float32)
    # a tube thinner than a voxel fills only a part of it
    occupancy *= min(1.0, np.pi * radius**2)
    return Shape.at(corner, occupancy)


def wandering_path(
    start: Point, direction: Point, length: float, bend: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (n, 3) points 0.7 voxels apart that leave ``start`` and turn by ``bend`` radians per step."""
    heading = np.asarray(direction, dtype=np.float64)
    heading /= max(float(np.linalg.norm(heading)), 1e-9)
    points = [np.asarray(start, dtype=np.float64)]
    for _ in range(max(1, int(length / 0.7))):
        heading = heading + rng.normal(size=3) * bend
        heading /= np.linalg.norm(heading)
        points.append(points[-1] + 0.7 * heading)
    return np.stack(points)


@dataclass(frozen=True, slots=True)
class LesionLibrary:
    """Masks of real lesions in MNI space.

    Attributes:
        bits: all masks, packed.
        offsets: (n + 1,) where each mask starts in ``bits``.
        boxes: (n, 6) first voxel and size of each mask.
        sizes: (n,) voxels set.
        affine: (4, 4) voxel to MNI mm (RAS).
    """

    bits: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.int16]
    sizes: NDArray[np.int32]
    affine: NDArray[np.float64]

    def place(self, number: int, mni_to_voxel: NDArray[np.float64]) -> Shape:
        """Return a mask where it lies in an anatomy, with an edge softened by interpolation."""
        first, size = self.boxes[number, :3].astype(int), self.boxes[number, 3:].astype(int)
        packed = self.bits[self.offsets[number] : self.offsets[number + 1]]
        mask = np.unpackbits(packed, count=int(size.prod())).reshape(size).astype(np.float32)
        to_voxel = mni_to_voxel @ self.affine
        corners = mapped(np.array([first, first + size - 1]), to_voxel)
        low, high = (
            np.floor(corners.min(axis=0)).astype(int) - 1,
            np.ceil(corners.max(axis=0)).astype(int) + 1,
        )
        back = np.linalg.inv(to_voxel)
        offset = back[:3, :3] @ low + back[:3, 3] - first
        shape = tuple(int(count) for count in high - low + 1)
        occupancy = ndimage.affine_transform(mask, back[:3, :3], offset, shape, order=1)
        return Shape.at(low, occupancy.astype(np.float32))


def read_lesion_library(path: Path) -> LesionLibrary:
    """Read the packed lesion masks.

    Raises:
        SimulationSourceError: if the file is missing or not such a library.
    """
    try:
        with np.load(path) as held:
            return LesionLibrary(held["bits"], held["off"], held["bbox"], held["nvox"], held["affine"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise SimulationSourceError(path, f"is no library of lesion masks: {exc}") from exc
