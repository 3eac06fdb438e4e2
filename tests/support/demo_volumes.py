"""The volumes of the demo Study: each Series on its own grid, each with the head a little elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support import demo_contrasts as contrasts
from tests.support.demo_anatomy import FIRST, LAST, Anatomy, Source
from tests.support.demo_lesions import LESIONS, RIM_MM, Lesion, coverage, distance_outside_mm
from tests.support.phantoms import rigid

SEED = 112776

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scan:
    """One Series of the demo: its grid and how the head lay during it.

    Attributes:
        name: key in truth.json.
        shape: (slices, rows, columns).
        spacing_mm: along (slices, rows, columns).
        thickness_mm: Slice Thickness.
        rotation_deg: about the axes of the T2-FLAIR's slices, rows and columns.
        shift_mm: of the head's centre along LPS.
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    thickness_mm: float
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)


T1 = Scan("T1", (22, 288, 240), (5.0, 0.8, 0.8), 4.5, (2.6, 1.0, -1.1), (1.3, -1.2, 0.9))
T2_STAR = Scan("T2_STAR", (24, 256, 224), (4.5, 0.9, 0.9), 4.0, (-1.2, 0.6, 0.6), (-0.6, 0.9, -0.5))
DWI = Scan("DWI", (22, 128, 128), (5.0, 1.8, 1.8), 4.5, (1.7, -0.8, 0.7), (0.8, 1.1, -0.7))


def centre_lps(source: Source) -> NDArray[np.float64]:
    """Return the point that the head turns about: the middle of the usable source slices, LPS mm."""
    rows, columns = source.grid.shape[1:]
    middle = np.array([[(FIRST + LAST) / 2, (rows - 1) / 2, (columns - 1) / 2]])
    return np.asarray(source.grid.to_lps(middle)[0])


def motion_of(scan: Scan, source: Source) -> NDArray[np.float64]:
    """Return (4, 4): what lies at p in the T2-FLAIR lies at motion @ p in this Series, LPS mm."""
    centre = centre_lps(source)
    axes = np.eye(4)
    axes[:3, :3] = source.grid.affine[:3, :3] / np.asarray(source.grid.spacing_mm)
    to_centre, back = np.eye(4), np.eye(4)
    to_centre[:3, 3], back[:3, 3] = -centre, centre + np.asarray(scan.shift_mm)
    return np.asarray(back @ axes @ rigid(scan.rotation_deg, (0, 0, 0)) @ axes.T @ to_centre)


def grid_of(scan: Scan, source: Source) -> Grid:
    """Return the grid: parallel to the T2-FLAIR's slices, as the protocol is copied before the head moves."""
    affine = np.eye(4)
    affine[:3, :3] = (
        source.grid.affine[:3, :3] / np.asarray(source.grid.spacing_mm) * np.asarray(scan.spacing_mm)
    )
    affine[:3, 3] = centre_lps(source) - affine[:3, :3] @ ((np.asarray(scan.shape) - 1) / 2)
    return Grid(scan.shape, affine)


def anatomy_points(grid: Grid, motion: NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    """Return (3, slices, rows, columns) LPS mm in the T2-FLAIR's space; ``offset`` is in slices."""
    indices = np.indices(grid.shape, dtype=np.float64)
    indices[0] += offset
    affine = np.linalg.inv(motion) @ grid.affine
    moved = np.tensordot(affine[:3, :3], indices, axes=1)
    return np.asarray(moved + affine[:3, 3].reshape(3, 1, 1, 1))


def slice_profile(scan: Scan, samples: int) -> NDArray[np.float64]:
    """Return where within a slice to sample, in slices."""
    half = scan.thickness_mm / scan.spacing_mm[0] / 2
    return np.asarray(((np.arange(samples) + 0.5) / samples * 2 - 1) * half)


def lesion_share(lesion: Lesion, source: Source, points: list[NDArray[np.float64]], seed: int) -> Array:
    """Return how much of each voxel is lesion, the mean over the slice profile."""
    shares = [coverage(distance_outside_mm(lesion, source.grid, sample, seed)) for sample in points]
    return np.asarray(np.mean(shares, axis=0), dtype=np.float32)


def rim_share(lesion: Lesion, source: Source, points: list[NDArray[np.float64]], seed: int) -> Array:
    """Return how much of each voxel is the gliotic rim around a lacune."""
    shares = []
    for sample in points:
        distance = distance_outside_mm(lesion, source.grid, sample, seed)
        shares.append(np.exp(-(((distance - RIM_MM / 2) / (0.75 * RIM_MM)) ** 2)))
    return np.asarray(np.mean(shares, axis=0), dtype=np.float32)


def local_level(image: Array, share: Array, brain: NDArray[np.bool_]) -> float:
    """Return the median of the parenchyma around a lesion."""
    touched = share > 0.2
    ring = ndimage.binary_dilation(touched, contrasts.SQUARE, iterations=5) & ~touched & brain
    return float(np.median(image[ring]))


REAL_LEVELS: dict[str, dict[Segment, float]] = {
    "T2_FLAIR": {Segment.LACUNE: 0.22, Segment.INFARCT: 1.30},
    "T1": {Segment.LACUNE: 0.45, Segment.INFARCT: 0.88},
}
"""Signal of a lesion in the real images, relative to the tissue around it."""
RIM_LEVEL = 1.45


def paint(
    image: Array, name: str, source: Source, points: list[NDArray[np.float64]], brain: NDArray[np.bool_]
) -> Array:
    """Return a real image with the lesions that show in it, and noise like its own in them."""
    generator = np.random.default_rng(SEED + len(name))
    painted: NDArray[np.floating] = image
    for seed, lesion in enumerate(LESIONS):
        if lesion.segment not in REAL_LEVELS[name]:
            continue
        share = lesion_share(lesion, source, points, seed)
        level = local_level(image, share, brain)
        grain = 1 + 0.035 * generator.normal(size=image.shape)
        if name == "T2_FLAIR" and lesion.segment is Segment.LACUNE:
            rim = np.clip(rim_share(lesion, source, points, seed), 0, 1) * 0.9
            painted = painted * (1 - rim) + rim * RIM_LEVEL * level * grain
        target = REAL_LEVELS[name][lesion.segment] * level * grain
        painted = painted * (1 - share) + share * target
    return np.asarray(painted, dtype=np.float32)


def flair_volume(source: Source) -> Volume:
    """Return the real T2-FLAIR with the painted lesions, a quarter of its stored values."""
    scan = Scan("T2_FLAIR", source.grid.shape, source.grid.spacing_mm, 5.0)
    points = [anatomy_points(source.grid, np.eye(4), offset) for offset in slice_profile(scan, 5)]
    image = paint(source.flair, "T2_FLAIR", source, points, source.brain > 0.5)
    return Volume(np.clip(image / 4, 0, 4095), source.grid)


def t1_volume(source: Source, anatomy: Anatomy) -> Volume:
    """Return the real T1, moved and on its own grid, with the painted lesions."""
    grid, motion = grid_of(T1, source), motion_of(T1, source)
    indices = _source_indices(source, anatomy_points(grid, motion, 0.0))
    image = anatomy.sample("t1", indices, order=3)
    image = image + np.random.default_rng(SEED).normal(0, 60, image.shape).astype(np.float32)
    points = [anatomy_points(grid, motion, offset) for offset in slice_profile(T1, 5)]
    image = paint(image, "T1", source, points, anatomy.sample("brain", indices) > 0.5)
    return Volume(np.clip(image / 4, 0, 4095), grid)


def _source_indices(source: Source, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return source.grid.to_index(points.reshape(3, -1).T).T.reshape(points.shape)


def _sampled(anatomy: Anatomy, source: Source, points: NDArray[np.float64]) -> dict[str, Array]:
    indices = _source_indices(source, points)
    names = (
        "white",
        "grey",
        "wmh",
        "csf",
        "eyes",
        "fat",
        "muscle",
        "texture",
        "veins",
        "air",
        "iron",
        "shading",
    )
    return {name: anatomy.sample(name, indices) for name in names}


def _rician(image: Array, sigma: float, generator: np.random.Generator) -> Array:
    real = image + generator.normal(0, sigma, image.shape)
    return np.asarray(np.hypot(real, generator.normal(0, sigma, image.shape)), dtype=np.float32)


def t2_star_volume(source: Source, anatomy: Anatomy) -> Volume:
    """Return the simulated T2*: veins and iron dark, signal lost above the air of the skull base."""
    grid, motion = grid_of(T2_STAR, source), motion_of(T2_STAR, source)
    points = [anatomy_points(grid, motion, offset) for offset in slice_profile(T2_STAR, 3)]
    layers = []
    for sample in points:
        maps = _sampled(anatomy, source, sample)
        loss = np.exp(-6.0 * np.clip(maps["air"] - 0.06, 0, None))
        layers.append(
            contrasts.signal(maps, contrasts.T2_STAR)
            * (1 - maps["veins"])
            * (1 - maps["iron"])
            * loss
            * maps["shading"]
        )
    image = np.mean(layers, axis=0)
    for seed, lesion in enumerate(LESIONS):
        share = lesion_share(lesion, source, points, seed)
        if lesion.segment is Segment.MICROBLEED:
            share = np.clip(
                1.7 * share, 0, 0.93
            )  # susceptibility reaches beyond the bleed and through the slice
        image = image * (1 - share) + share * contrasts.T2_STAR.lesion[lesion.segment]
    image = ndimage.gaussian_filter(image, (0, 0.5, 0.5))
    noisy = _rician(image.astype(np.float32), 0.014, np.random.default_rng(SEED + 1))
    return Volume(np.clip(noisy * 1000, 0, 4095), grid)


def diffusion_volumes(source: Source, anatomy: Anatomy) -> tuple[Volume, Volume, Volume]:
    """Return the simulated b0, trace b1000 and ADC, with the distortion, ghost and blur of EPI."""
    grid, motion = grid_of(DWI, source), motion_of(DWI, source)
    points = [anatomy_points(grid, motion, offset) for offset in slice_profile(DWI, 3)]
    layers = [_sampled(anatomy, source, sample) for sample in points]
    air = np.mean([maps["air"] for maps in layers], axis=0)
    images = []
    for place, (tissue, sigma) in enumerate(((contrasts.DWI_B0, 0.006), (contrasts.DWI_B1000, 0.0042))):
        image = np.mean([contrasts.signal(maps, tissue) * maps["shading"] for maps in layers], axis=0)
        for seed, lesion in enumerate(LESIONS):
            share = lesion_share(lesion, source, points, seed)
            image = image * (1 - share) + share * tissue.lesion[lesion.segment]
        image = _epi(np.asarray(image, dtype=np.float32), air)
        images.append(_rician(image, sigma, np.random.default_rng(SEED + 2 + place)) * 1300)
    b0, b1000 = images
    adc = np.where(b0 > 90, 1000 * np.log(np.maximum(b0, 1) / np.maximum(b1000, 1)), 0)
    return Volume(b0, grid), Volume(b1000, grid), Volume(np.clip(adc, 0, 4095).astype(np.float32), grid)


def _epi(image: Array, air: Array) -> Array:
    """Return the image as an echo-planar readout shows it: bent along the rows near air, blurred, ghosted."""
    slices, rows, columns = np.indices(image.shape, dtype=np.float64)
    shift = 6.0 * np.clip(air - 0.04, 0, None)
    density = 1 + np.gradient(shift, axis=1)
    bent = ndimage.map_coordinates(image, [slices, rows + shift, columns], order=1, mode="nearest")
    blurred = ndimage.gaussian_filter(bent * np.clip(density, 0.2, 2.5), (0, 0.55, 0.5))
    ghost = np.roll(blurred, image.shape[1] // 2, axis=1)
    return np.asarray(blurred + 0.015 * ghost, dtype=np.float32)


def localizer_volumes(source: Source, anatomy: Anatomy) -> list[Volume]:
    """Return three planes of three slices of the T1, as a scout takes them."""
    centre = centre_lps(source)
    volumes = []
    for row, column in (((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, -1)), ((1, 0, 0), (0, 0, -1))):
        axes = np.stack([np.cross(row, column), column, row], axis=1).astype(float)
        affine = np.eye(4)
        affine[:3, :3] = axes * (20.0, 1.8, 1.8)
        affine[:3, 3] = centre - affine[:3, :3] @ ((np.array((3, 128, 128)) - 1) / 2)
        grid = Grid((3, 128, 128), affine)
        indices = _source_indices(source, anatomy_points(grid, np.eye(4), 0.0))
        inside = (indices[0] >= FIRST) & (indices[0] <= LAST)
        volumes.append(Volume(np.clip(anatomy.sample("t1", indices) * inside / 10, 0, 4095), grid))
    return volumes
