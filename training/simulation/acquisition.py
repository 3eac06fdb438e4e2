"""How a scanner looks at a scene: slices, pixels, obliquity, partial volume, distortion by the main field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from engines.segments import SeriesType
from engines.volume import Grid
from training.simulation.anatomy import COARSE_MM, Anatomy
from training.simulation.fields import smooth_field

Planes = NDArray[np.float32]

MAX_SLICES = 40
"""Slices kept of one volume; of thin slices a slab is taken, so that no volume crowds the pool."""

SLICE_MM = {
    SeriesType.T2_FLAIR: ((1.0, 8.0), (0.12, 0.18, 0.7)),
    SeriesType.T1: ((1.0, 8.0), (0.3, 0.15, 0.55)),
    SeriesType.DWI_B1000: ((2.0, 7.0), (0.0, 0.3, 0.7)),
    SeriesType.T2_STAR: ((1.0, 7.0), (0.2, 0.25, 0.55)),
}
"""Range of slice thickness, mm, and the shares of thin (up to 2), medium (2 to 4) and thick slices. The four
segmentors are meant for 1 to 8 mm; thick 2D slices are the routine."""

ACQUIRED_MATRIX = {
    SeriesType.T2_FLAIR: (160, 288),
    SeriesType.T1: (176, 300),
    SeriesType.DWI_B1000: (96, 176),
    SeriesType.T2_STAR: (160, 320),
}
"""Columns really sampled over the field of view: 0.8 to 1.4 mm, DWI 1.3 to 2.5 mm; chosen to cover
routine."""

RECONSTRUCTED_MATRIX = {
    SeriesType.T2_FLAIR: (224, 256, 320, 384, 448),
    SeriesType.T1: (224, 256, 320, 384, 448),
    SeriesType.DWI_B1000: (128, 160, 192, 256, 256),
    SeriesType.T2_STAR: (224, 256, 320, 384, 448),
}
"""Columns after the scanner's interpolation: 0.5 to 1.1 mm, DWI 0.9 to 2 mm."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the slices of one volume lie.

    Attributes:
        slices, rows, columns: what is acquired.
        pixel_mm: acquired in-plane resolution.
        slice_mm, gap_mm: thickness, and what is left out between slices.
        matrix: (rows, columns) after interpolation.
        rotation: (3, 3) from (slices, rows, columns) of the volume to those of the anatomy.
        centre: (3,) anatomy voxel at the volume's centre.
        zoom: anatomy voxels per mm; other than 1 makes another head size.
    """

    slices: int
    rows: int
    columns: int
    pixel_mm: float
    slice_mm: float
    gap_mm: float
    matrix: tuple[int, int]
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]
    zoom: float

    def grid(self) -> Grid:
        """Return the grid after interpolation, in LPS mm."""
        steps = np.diag(
            [
                self.slice_mm + self.gap_mm,
                self.rows * self.pixel_mm / self.matrix[0],
                self.columns * self.pixel_mm / self.matrix[1],
            ]
        )
        to_lps = np.eye(3)[::-1]  # (up, back, left) -> (left, back, up)
        affine = np.eye(4)
        affine[:3, :3] = to_lps @ self.rotation @ steps
        middle = (np.array([self.slices, *self.matrix]) - 1) / 2
        affine[:3, 3] = -affine[:3, :3] @ middle
        return Grid((self.slices, *self.matrix), affine)


def draw_geometry(series: SeriesType, anatomy: Anatomy, rng: np.random.Generator) -> Geometry:
    """Draw slices that cover the head, or a slab of it, nearly axial.

    Tilts: 6 degrees around the left-right axis (planes follow the corpus callosum or the skull base), 3
    degrees around the others; gaps up to 30% of the thickness; heads 8% smaller or larger; chosen to cover
    routine.
    """
    slice_mm = _draw_thickness(series, rng)
    gap_mm = slice_mm * float(rng.choice([0.0, rng.uniform(0.05, 0.3)])) if slice_mm > 2 else 0.0
    zoom = 1 / rng.uniform(0.92, 1.08)
    height, depth, width = (size / zoom for size in anatomy.tissue.shape)
    whole = max(6, int(np.ceil(height * rng.uniform(0.88, 1.0) / (slice_mm + gap_mm))))
    slices = min(whole, MAX_SLICES)
    left_out = (whole - slices) * (slice_mm + gap_mm)
    shift = np.array(
        [rng.normal() * 3 + rng.uniform(-0.5, 0.5) * left_out * 0.8, rng.normal() * 4, rng.normal() * 4]
    )
    rows_mm = max(depth, 200.0) * rng.uniform(1.0, 1.15)
    columns_mm = rows_mm if rng.random() < 0.6 else max(width * rng.uniform(1.02, 1.15), 0.75 * rows_mm)
    acquired = int(rng.integers(*ACQUIRED_MATRIX[series]))
    pixel_mm = rows_mm / acquired
    columns = round(columns_mm / pixel_mm)
    finer = [size for size in RECONSTRUCTED_MATRIX[series] if size >= acquired]
    enlarge = (finer[0] if rng.random() < 0.7 else int(rng.choice(finer))) / acquired if finer else 1.0
    angles = rng.normal(size=3) * [3.0, 3.0, 6.0]
    return Geometry(
        slices,
        acquired,
        columns,
        pixel_mm,
        slice_mm,
        gap_mm,
        (round(acquired * enlarge), round(columns * enlarge)),
        Rotation.from_euler("xyz", angles, degrees=True).as_matrix(),
        (np.array(anatomy.tissue.shape) - 1) / 2 + shift,
        zoom,
    )


def _draw_thickness(series: SeriesType, rng: np.random.Generator) -> float:
    (low, high), shares = SLICE_MM[series]
    bounds = ((low, 2.0), (2.0, 4.0), (4.0, high))
    kind = int(rng.choice(3, p=shares))
    return float(rng.uniform(*bounds[kind]))


@dataclass(frozen=True, slots=True)
class Sampler:
    """Looks up a scene's fields at the voxels of a geometry.

    Attributes:
        geometry: the slices.
        bend_mm: (3, slices, rows, columns) by how much each voxel's content lies elsewhere, mm.
    """

    geometry: Geometry
    bend_mm: NDArray[np.float32]

    def average(self, fields: NDArray[np.float32]) -> Planes:
        """Average fields over each voxel's thickness and pixel.

        Args:
            fields: (channels, ...) on the anatomy's grid.
        Returns: (channels, slices, rows, columns) float32.
        """
        g = self.geometry
        parts = max(1, round(g.slice_mm * g.zoom))
        inner = max(1, round(g.pixel_mm * g.zoom / 1.05))
        within = ((np.arange(parts) + 0.5) / parts - 0.5) * g.slice_mm
        volume = torch.from_numpy(np.ascontiguousarray(fields))[None]
        bend = np.repeat(np.repeat(self.bend_mm, inner, axis=2), inner, axis=3) if inner > 1 else self.bend_mm
        result = np.empty((fields.shape[0], g.slices, g.rows, g.columns), np.float32)
        for number in range(g.slices):
            where = self._where(number, within, inner, bend[:, number])
            got = _look_up(volume, where).mean(dim=1)
            if inner > 1:
                got = torch.nn.functional.avg_pool2d(got[None], inner)[0]
            result[:, number] = got.numpy()
        return result

    def points(self, fields: NDArray[np.float32], offset_mm: float = 0.0) -> Planes:
        """Look up (channels, ...) fields of ``COARSE_MM`` voxels at the voxels' centres.

        Args:
            fields: whose first voxel covers the anatomy's first ``COARSE_MM`` voxels.
            offset_mm: along the normal of the slices.

        Returns: (channels, slices, rows, columns) float32.
        """
        volume = torch.from_numpy(np.ascontiguousarray(fields))[None]
        g = self.geometry
        result = np.empty((fields.shape[0], g.slices, g.rows, g.columns), np.float32)
        for number in range(g.slices):
            where = self._where(number, np.array([offset_mm]), 1, self.bend_mm[:, number])
            result[:, number] = _look_up(volume, (where - (COARSE_MM - 1) / 2) / COARSE_MM)[:, 0].numpy()
        return result

    def _where(
        self, number: int, within_mm: NDArray[np.float64], inner: int, bend_mm: NDArray[np.float32]
    ) -> torch.Tensor:
        """Return (parts, rows, columns, 3) anatomy voxels of one slice."""
        g = self.geometry
        along = [
            (number - (g.slices - 1) / 2) * (g.slice_mm + g.gap_mm) + within_mm,
            (np.arange(g.rows * inner) - (g.rows * inner - 1) / 2) * g.pixel_mm / inner,
            (np.arange(g.columns * inner) - (g.columns * inner - 1) / 2) * g.pixel_mm / inner,
        ]
        axes = [torch.from_numpy((values * g.zoom).astype(np.float32)) for values in along]
        bend = torch.from_numpy(bend_mm)
        where = []
        for row, centre in zip(g.rotation, g.centre, strict=True):
            plane = float(row[1]) * axes[1][:, None] + float(row[2]) * axes[2][None, :] + float(centre)
            where.append(plane[None] + float(row[0]) * axes[0][:, None, None])
        # a voxel's content is displaced by the same in all parts of its thickness
        return torch.stack([points + shift for points, shift in zip(where, bend, strict=True)], dim=-1)


def _look_up(volume: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Interpolate (1, channels, ...) linearly at (parts, rows, columns, 3) voxels; zero outside."""
    size = torch.tensor(volume.shape[2:], dtype=torch.float32)
    normalised = (2 * where / (size - 1) - 1).flip(-1)
    got: torch.Tensor = torch.nn.functional.grid_sample(volume, normalised[None], align_corners=True)
    return got[0]


def draw_sampler(geometry: Geometry, anatomy: Anatomy, rng: np.random.Generator) -> Sampler:
    """Draw a gentle deformation of the head, wider or narrower ventricles, now and then a patient who moves.

    Deformation 0 to 3.5 mm; ventricles from 1 mm narrower to 4.5 mm wider on each side, as they are in the
    old who have small vessel disease; movement of up to 1 mm between slices, in 15% of volumes. All chosen.
    """
    shape = (geometry.slices, geometry.rows, geometry.columns)
    scale = (35 / (geometry.slice_mm + geometry.gap_mm), 35 / geometry.pixel_mm, 35 / geometry.pixel_mm)
    amount = rng.uniform(0, 3.5)
    bend = np.stack([amount * smooth_field(shape, scale, rng) for _ in range(3)]).astype(np.float32)
    wider_mm = rng.uniform(-1.0, 4.5)
    bend -= np.float32(wider_mm) * Sampler(geometry, bend).points(_away_from_ventricles(anatomy))
    if rng.random() < 0.15:
        bend += rng.normal(size=(3, geometry.slices, 1, 1)).astype(np.float32) * rng.uniform(0.2, 0.7)
    return Sampler(geometry, bend.astype(np.float32))


def _away_from_ventricles(anatomy: Anatomy) -> NDArray[np.float32]:
    """Return (3, ...) vectors at ``COARSE_MM`` that point away from the ventricles and fade within cm."""
    every = slice(COARSE_MM // 2, None, COARSE_MM)
    near = ndimage.gaussian_filter(anatomy.ventricle_mm[every, every, every].astype(np.float32), 1.0)
    slopes: list[NDArray[np.float32]] = [np.gradient(near, COARSE_MM, axis=axis) for axis in range(3)]
    away: NDArray[np.float32] = (np.stack(slopes) * np.exp(-near / 18)).astype(np.float32)
    return away


def field_hz(sampler: Sampler, anatomy: Anatomy, hz_per_ppm: float, offset_mm: float = 0.0) -> Planes:
    """Return the deviation of the main field at each voxel, Hz."""
    deviation: Planes = sampler.points(anatomy.field_ppm[None], offset_mm)[0] * np.float32(hz_per_ppm)
    return deviation


def distort(
    sampler: Sampler, anatomy: Anatomy, hz_per_ppm: float, readout_s: float
) -> tuple[Sampler, Planes]:
    """Shift voxels along the rows as echo-planar imaging does, and return where signal piles up.

    Args:
        sampler: before.
        anatomy: whose air disturbs the field.
        hz_per_ppm: by field strength.
        readout_s: signed time from the first to the last echo; Hz times this is a shift in pixels.
    Returns: the new sampler, and (slices, rows, columns) factor of the signal, 0 to 4.
    Source: Jezzard and Balaban, Magn Reson Med 1995 (shift, and signal by the Jacobian).
    """
    shift_mm = field_hz(sampler, anatomy, hz_per_ppm) * readout_s * sampler.geometry.pixel_mm
    shift_mm = np.clip(shift_mm, -18, 18).astype(np.float32)
    piled = np.clip(1 + np.gradient(shift_mm, sampler.geometry.pixel_mm, axis=1), 0, 4).astype(np.float32)
    bend = sampler.bend_mm.copy()
    bend[1] += shift_mm
    return Sampler(sampler.geometry, bend), piled


def dephase(sampler: Sampler, anatomy: Anatomy, hz_per_ppm: float, echo_ms: float) -> Planes:
    """Return the share of signal that is left where the field changes through a slice: |sinc(df TE)|.

    Source: Reichenbach et al., J Magn Reson Imaging 1997 (linear field over a rectangular slice).
    """
    half = sampler.geometry.slice_mm / 2
    above = field_hz(sampler, anatomy, hz_per_ppm, half)
    below = field_hz(sampler, anatomy, hz_per_ppm, -half)
    left: Planes = np.abs(np.sinc((above - below) * echo_ms * 1e-3)).astype(np.float32)
    return left
