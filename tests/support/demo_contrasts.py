"""From one anatomy to the signal of each sequence: tissue fractions, veins, air, and what the scanner adds.

Signals are relative to fully relaxed water, from the usual relaxation times at 1.5 T. For T2* at TR 800, TE
26, flip angle 20 they give white matter 0.46, grey 0.59, CSF 0.74; for b = 0 at TE 92 0.20, 0.31, 0.72. CSF
on T2* is set a little higher, as inflow makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.segments import Segment
from tests.support.demo_anatomy import FIRST, STEPS, Anatomy

Array = NDArray[np.float32]

T1_OF = {"white": 1.04, "grey": 0.86, "csf": 0.42}
FLAIR_OF = {"white": 0.91, "grey": 1.03, "csf": 0.12}
"""Signal of the flattened source images relative to the parenchyma, read from their joint histogram."""

PLANE_MM, PIXEL_MM = 6.4 / STEPS, 0.8984
"""Size of a voxel of the refined anatomy, mm."""

SQUARE = np.ones((1, 3, 3), dtype=bool)
"""Neighbours within a slice."""

EYES = ((2.0, 51.0, 94.0), (2.0, 51.0, 161.0))
EYE_RADIUS_MM = 12.0
IRON = (
    ((8.5, 103.0, 108.0), (4.5, 8.0, 3.2), 0.20), ((8.5, 103.0, 151.0), (4.5, 8.0, 3.2), 0.20),
    ((7.0, 121.0, 122.5), (4.0, 3.0, 3.0), 0.24), ((7.0, 121.0, 136.5), (4.0, 3.0, 3.0), 0.24),
    ((4.2, 163.0, 112.0), (4.0, 6.0, 3.5), 0.14), ((4.2, 163.0, 147.0), (4.0, 6.0, 3.5), 0.14),
)  # fmt: skip
"""Pallidum, red and dentate nucleus: (source index), (half axes in mm), share of signal lost on T2*."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """Signal of each tissue in one sequence."""

    white: float
    grey: float
    csf: float
    wmh: float
    fat: float
    muscle: float
    lesion: Mapping[Segment, float]


T2_STAR = Tissue(
    0.455,
    0.565,
    0.82,
    0.53,
    0.50,
    0.27,
    {Segment.LACUNE: 0.78, Segment.INFARCT: 0.52, Segment.MICROBLEED: 0.02},
)
DWI_B0 = Tissue(
    0.20,
    0.30,
    0.72,
    0.34,
    0.035,
    0.05,
    {Segment.LACUNE: 0.66, Segment.INFARCT: 0.33, Segment.MICROBLEED: 0.08},
)
DWI_B1000 = Tissue(
    0.098, 0.120, 0.030, 0.120, 0.012, 0.018,
    {Segment.LACUNE: 0.036, Segment.INFARCT: 0.225, Segment.MICROBLEED: 0.05},
)  # fmt: skip


def _flat(image: Array, brain: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the image divided by its smooth shading, and the shading (median 1)."""
    core = brain & (image > np.percentile(image[brain], 35))
    sigma = (16 / PLANE_MM, 20 / PIXEL_MM, 20 / PIXEL_MM)
    weight = ndimage.gaussian_filter(core.astype(np.float32), sigma)
    shading = ndimage.gaussian_filter(image * core, sigma) / np.maximum(weight, 1e-3)
    middle = float(np.median(shading[brain]))
    shading = np.clip(shading, 0.6 * middle, 1.4 * middle)
    return (image / shading).astype(np.float32), (shading / middle).astype(np.float32)


def _ball(
    shape: tuple[int, ...], index: tuple[float, float, float], half_axes_mm: tuple[float, ...]
) -> Array:
    """Return how much of each refined voxel an ellipsoid fills."""
    sizes = (PLANE_MM, PIXEL_MM, PIXEL_MM)
    centre = ((index[0] - FIRST) * STEPS, index[1], index[2])
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    radius = sum(((axes[i] - centre[i]) * sizes[i] / half_axes_mm[i]) ** 2 for i in range(3))
    outside = (np.sqrt(radius) - 1) * min(half_axes_mm)
    return np.asarray(1 / (1 + np.exp(np.clip(outside / 0.5, -30, 30))), dtype=np.float32)


def _smooth_noise(shape: tuple[int, ...], scale_mm: float, generator: np.random.Generator) -> Array:
    sigma = (scale_mm / PLANE_MM, scale_mm / PIXEL_MM, scale_mm / PIXEL_MM)
    noise = ndimage.gaussian_filter(generator.normal(size=shape).astype(np.float32), sigma)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _near_zero(field: Array, width_mm: float) -> Array:
    """Return 1 on the surface where a smooth field is zero and 0 beyond about ``width_mm`` from it."""
    steps = np.gradient(field, PLANE_MM, PIXEL_MM, PIXEL_MM)
    slope = np.sqrt(sum(step**2 for step in steps)) + 1e-4
    return np.asarray(np.exp(-((field / slope / width_mm) ** 2)), dtype=np.float32)


def _veins(fractions: Mapping[str, Array], ventricle: Array, generator: np.random.Generator) -> Array:
    """Return the share of signal that veins take away on T2*.

    Where a surface meets the zero of a random field there is a curve: on the surface of the brain it stands
    for the cortical veins, on the wall of the ventricles for the subependymal ones, and free in the white
    matter, much fainter, for the medullary ones.
    """
    shape = ventricle.shape
    surface = ndimage.gaussian_filter(fractions["csf"], (0.5, 0.8, 0.8)) - 0.45
    wall = ndimage.gaussian_filter(ventricle, (0.5, 1.0, 1.0)) - 0.4
    cortical = _near_zero(surface, 1.3) * _near_zero(_smooth_noise(shape, 8.0, generator), 1.0)
    cortical *= (fractions["brain"] > 0.5) & (ventricle < 0.05)
    ependymal = _near_zero(wall, 1.0) * _near_zero(_smooth_noise(shape, 9.0, generator), 1.0)
    medullary = _near_zero(_smooth_noise(shape, 6.0, generator), 0.5) * _near_zero(
        _smooth_noise(shape, 6.0, generator), 0.5
    )
    strength = np.clip(0.55 + 0.35 * _smooth_noise(shape, 12.0, generator), 0.1, 1.0)
    total = 1.2 * cortical * strength + 0.7 * ependymal + 0.35 * medullary * fractions["white"]
    return np.asarray(np.clip(total, 0, 0.85), dtype=np.float32)


def _air(t1: Array, flair: Array) -> Array:
    """Return the smoothed share of air in and below the skull base, where susceptibility bends the field."""
    dark = (t1 < 0.2) & (flair < 0.22)
    head = np.stack(
        [ndimage.binary_fill_holes(ndimage.binary_closing(plane, iterations=4)) for plane in ~dark]
    )
    inside = ndimage.binary_erosion(head, SQUARE, iterations=7)
    bulk = ndimage.binary_opening(dark & inside, SQUARE, iterations=2)
    planes = np.arange(len(t1)) / STEPS + FIRST
    low = np.clip((6.5 - planes) / 1.5, 0, 1).reshape(-1, 1, 1)
    sigma = (5 / PLANE_MM, 7 / PIXEL_MM, 7 / PIXEL_MM)
    return np.asarray(ndimage.gaussian_filter((bulk * low).astype(np.float32), sigma), dtype=np.float32)


def tissue_maps(anatomy: Anatomy, seed: int) -> Anatomy:
    """Return the anatomy with the maps that the sequences need: fractions, fat, veins, air, iron, shading."""
    brain = anatomy.maps["brain"] > 0.5
    t1, shading = _flat(anatomy.maps["t1"], brain)
    flair, _ = _flat(anatomy.maps["flair"], brain)
    t1, flair = (ndimage.gaussian_filter(image, (0, 0.5, 0.5)) for image in (t1, flair))
    soft_brain = ndimage.gaussian_filter(anatomy.maps["brain"], (0, 1, 1))
    fluid = ((0.84 - t1) / (0.84 - T1_OF["csf"]) + (0.84 - flair) / (0.84 - FLAIR_OF["csf"])) / 2
    void = np.clip((0.28 - t1) / 0.15, 0, 1)
    csf = np.clip(fluid, 0, 1) * soft_brain
    grey = np.clip(0.5 + (flair - t1) / 0.34, 0, 1)
    wmh = np.clip((flair - 1.22) / 0.3, 0, 1) * np.clip((t1 - 0.6) / 0.2, 0, 1) * soft_brain
    tissue = np.clip(1 - csf, 0, 1) * soft_brain
    eyes = sum(_ball(t1.shape, eye, (EYE_RADIUS_MM,) * 3) for eye in EYES) * (1 - soft_brain)
    outside = (1 - soft_brain) * np.clip(1 - eyes, 0, 1)
    fractions = {
        "brain": soft_brain, "csf": csf * (1 - void), "white": tissue * (1 - grey) * (1 - wmh),
        "grey": tissue * grey * (1 - wmh), "wmh": tissue * wmh,
    }  # fmt: skip
    maps = {
        **fractions,
        "eyes": eyes,
        "fat": outside * np.clip((t1 - 1.0) / 0.9, 0, 1.3),
        "muscle": outside * np.clip(t1 / 0.6, 0, 1) * np.clip((1.5 - t1) / 0.5, 0, 1),
        "veins": _veins(fractions, anatomy.maps["ventricle"], np.random.default_rng(seed)),
        "air": _air(t1, flair),
        "iron": sum(depth * _ball(t1.shape, index, axes) for index, axes, depth in IRON),
        "shading": shading,
        "texture": np.clip(
            (flair + t1) / 2 / np.maximum(ndimage.gaussian_filter(flair + t1, (0, 2, 2)) / 2, 0.2), 0.85, 1.15
        ),
    }
    return Anatomy(
        anatomy.grid, {**anatomy.maps, **{k: np.asarray(v, dtype=np.float32) for k, v in maps.items()}}
    )


def signal(maps: Mapping[str, Array], tissue: Tissue) -> Array:
    """Return the signal of sampled maps before lesions, coil and noise."""
    parenchyma = tissue.white * maps["white"] + tissue.grey * maps["grey"] + tissue.wmh * maps["wmh"]
    fluid = tissue.csf * (maps["csf"] + maps["eyes"])
    rest = tissue.fat * maps["fat"] + tissue.muscle * maps["muscle"]
    return np.asarray((parenchyma + fluid + rest) * maps["texture"], dtype=np.float32)
