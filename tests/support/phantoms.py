"""A head that exists only as formulas: sampled on any grid, in any contrast, with lesions and motion.

Convention: the anatomy is written in LPS mm about the origin. It has no mirror symmetry: one landmark lies
left, one anterior and one superior, each of another size, so that a flip or a swap of axes is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support.enhanced_files import DiffusionVolume, write_enhanced
from tests.support.header_patterns import HeaderPattern, PrivateElement
from tests.support.series_files import (
    DEMO_PATIENT,
    JAPANESE_PATIENT,
    UTF8_PATIENT,
    Patient,
    uid_from,
    write_mosaic,
    write_series,
)

__all__ = [
    "ANTERIOR_LANDMARK", "DEMO_PATIENT", "JAPANESE_PATIENT", "LEFT_LANDMARK", "SUPERIOR_LANDMARK",
    "UTF8_PATIENT", "DiffusionVolume", "HeaderPattern", "Patient", "PhantomKind", "PrivateElement", "Sphere",
    "orientation_matrix", "phantom_grid", "phantom_volume", "rigid", "uid_from", "write_enhanced",
    "write_mosaic", "write_series",
]  # fmt: skip

ORIENTATIONS = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
}
"""Row and column cosines of the three usual planes, LPS."""


class PhantomKind(StrEnum):
    """What the phantom is weighted by."""

    T2_FLAIR = "T2_FLAIR"
    T1 = "T1"
    DWI_B1000 = "DWI_B1000"
    DWI_B0 = "DWI_B0"
    ADC = "ADC"
    T2_STAR = "T2_STAR"
    T2 = "T2"


@dataclass(frozen=True, slots=True)
class Sphere:
    """A lesion: what it is, its centre in LPS mm and its diameter in mm."""

    segment: Segment
    centre_lps: tuple[float, float, float]
    diameter_mm: float


LEFT_LANDMARK = Sphere(Segment.WMH, (48.0, 8.0, 10.0), 16.0)
ANTERIOR_LANDMARK = Sphere(Segment.WMH, (-8.0, -66.0, 6.0), 12.0)
SUPERIOR_LANDMARK = Sphere(Segment.WMH, (-12.0, 14.0, 50.0), 20.0)

_LANDMARKS = (LEFT_LANDMARK, ANTERIOR_LANDMARK, SUPERIOR_LANDMARK)

# (centre, half axes) in LPS mm, painted in this order
_FAT = ((0.0, 0.0, 0.0), (80.0, 98.0, 82.0))
_SKULL = ((0.0, 0.0, 0.0), (75.0, 93.0, 77.0))
_CSF = ((0.0, 0.0, 0.0), (70.0, 87.0, 71.0))
_GREY = ((0.0, 0.0, 0.0), (67.0, 84.0, 68.0))
_WHITE = ((0.0, 0.0, 2.0), (59.0, 76.0, 60.0))
_VENTRICLES = (((12.0, -4.0, 14.0), (7.0, 30.0, 12.0)), ((-14.0, -2.0, 14.0), (9.0, 32.0, 14.0)))

_TISSUES = ("background", "fat", "skull", "csf", "grey", "white", "landmark")
_CONTRAST: dict[PhantomKind, tuple[float, ...]] = {
    PhantomKind.T2_FLAIR: (0, 500, 40, 60, 480, 380, 900),
    PhantomKind.T1: (0, 900, 40, 120, 380, 560, 800),
    PhantomKind.T2: (0, 600, 40, 1200, 600, 450, 900),
    PhantomKind.T2_STAR: (0, 500, 30, 700, 480, 420, 800),
    PhantomKind.DWI_B0: (0, 60, 20, 1100, 520, 400, 800),
    PhantomKind.DWI_B1000: (0, 20, 10, 60, 300, 280, 420),
    PhantomKind.ADC: (0, 0, 0, 3000, 850, 750, 1200),
}
"""Signal by tissue, in the order of ``_TISSUES``."""

_LESION_SIGNAL: dict[Segment, dict[PhantomKind, float]] = {
    Segment.WMH: {
        PhantomKind.T2_FLAIR: 750, PhantomKind.T2: 800, PhantomKind.T1: 440, PhantomKind.DWI_B0: 600,
    },
    Segment.LACUNE: {
        PhantomKind.T2_FLAIR: 90, PhantomKind.T1: 140, PhantomKind.T2: 1150, PhantomKind.T2_STAR: 680,
        PhantomKind.DWI_B0: 1000, PhantomKind.DWI_B1000: 80, PhantomKind.ADC: 2800,
    },
    Segment.INFARCT: {
        PhantomKind.DWI_B1000: 750, PhantomKind.DWI_B0: 560, PhantomKind.T2_FLAIR: 540, PhantomKind.ADC: 400,
        PhantomKind.T2: 620,
    },
    Segment.MICROBLEED: {PhantomKind.T2_STAR: 30, PhantomKind.DWI_B0: 250},
}  # fmt: skip


def orientation_matrix(orientation: str) -> NDArray[np.float64]:
    """Return (3, 3): columns are the unit steps of slice, row and column index in LPS.

    The slice axis is row cosines x column cosines, so slices ascend along the normal.
    """
    row_cosines, column_cosines = (np.array(axis) for axis in ORIENTATIONS[orientation])
    return np.stack([np.cross(row_cosines, column_cosines), column_cosines, row_cosines], axis=1)


def phantom_grid(
    shape: tuple[int, int, int] = (24, 128, 128),
    spacing_mm: tuple[float, float, float] = (6.0, 1.8, 1.8),
    orientation: str | NDArray[np.float64] = "axial",
    centre_lps: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Grid:
    """Return a grid whose centre lies at a point of patient space.

    Args:
        shape: (slices, rows, columns).
        spacing_mm: along (slices, rows, columns), mm.
        orientation: "axial", "sagittal", "coronal", or (3, 3) unit steps as of ``orientation_matrix``.
        centre_lps: LPS mm of the middle of the volume.
    """
    axes = orientation_matrix(orientation) if isinstance(orientation, str) else np.asarray(orientation)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing_mm)
    affine[:3, 3] = np.asarray(centre_lps) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, affine)


def rigid(
    rotation_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the (4, 4) motion: rotations about the LPS axes x, y, z in turn, then a shift."""
    motion = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(rotation_deg)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        motion = turn @ motion
    motion[:3, 3] = shift_mm
    return motion


def _points(grid: Grid, motion: NDArray[np.float64] | None) -> tuple[NDArray[np.float32], ...]:
    """Return the anatomy's coordinates at each voxel: three (slices, rows, columns) arrays, LPS mm."""
    affine = grid.affine if motion is None else np.linalg.inv(motion) @ grid.affine
    axes = np.meshgrid(
        *(np.arange(size, dtype=np.float32) for size in grid.shape), indexing="ij", sparse=True
    )
    return tuple(
        np.asarray(sum(affine[axis, i] * axes[i] for i in range(3)) + affine[axis, 3], dtype=np.float32)
        for axis in range(3)
    )


def _inside(
    points: tuple[NDArray[np.float32], ...], centre: Sequence[float], half_axes: Sequence[float]
) -> NDArray[np.bool_]:
    distance = sum(((points[i] - centre[i]) / half_axes[i]) ** 2 for i in range(3))
    return np.asarray(distance <= 1.0)


def _in_sphere(points: tuple[NDArray[np.float32], ...], sphere: Sphere) -> NDArray[np.bool_]:
    return _inside(points, sphere.centre_lps, (sphere.diameter_mm / 2,) * 3)


def phantom_volume(
    kind: PhantomKind | str,
    grid: Grid | None = None,
    *,
    lesions: Sequence[Sphere] = (),
    motion: NDArray[np.float64] | None = None,
    noise: float = 12.0,
    seed: int = 0,
) -> Volume:
    """Return the head in one contrast.

    Args:
        kind: the contrast.
        grid: where to sample it; 24 axial slices without one.
        lesions: painted where the contrast shows them; their centres are in the unmoved anatomy.
        motion: (4, 4), where the head moved to: what lay at p lies at motion @ p, LPS mm.
        noise: standard deviation of the two channels of Rician noise.
        seed: of the noise.

    Returns: Volume of float32, never negative.
    """
    kind, grid = PhantomKind(kind), grid or phantom_grid()
    points = _points(grid, motion)
    signal = dict(zip(_TISSUES, _CONTRAST[kind], strict=True))
    array = np.full(grid.shape, signal["background"], dtype=np.float32)
    layers = {"fat": (_FAT,), "skull": (_SKULL,), "csf": (_CSF,), "grey": (_GREY,), "white": (_WHITE,)}
    for tissue, ellipsoids in layers.items():
        for centre, half_axes in ellipsoids:
            array[_inside(points, centre, half_axes)] = signal[tissue]
    for centre, half_axes in _VENTRICLES:
        array[_inside(points, centre, half_axes)] = signal["csf"]
    for landmark in _LANDMARKS:
        array[_in_sphere(points, landmark)] = signal["landmark"]
    for lesion in lesions:
        if kind in _LESION_SIGNAL[lesion.segment]:
            array[_in_sphere(points, lesion)] = _LESION_SIGNAL[lesion.segment][kind]
    return Volume(_with_noise(array, noise, seed), grid)


def _with_noise(array: NDArray[np.float32], sigma: float, seed: int) -> NDArray[np.float32]:
    """Return the magnitude of the signal with complex Gaussian noise, as a scanner forms it."""
    if sigma <= 0:
        return array
    generator = np.random.default_rng(seed)
    real = array + generator.normal(0.0, sigma, array.shape)
    return np.hypot(real, generator.normal(0.0, sigma, array.shape)).astype(np.float32)
