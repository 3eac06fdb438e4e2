"""A head under one or several contrasts at 1 mm, on which lesions and their mimics are painted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.segments import SeriesType
from training.simulation.anatomy import Anatomy, Site
from training.simulation.contrast import Contrast, DiffusionWeighted, SpoiledGradientEcho, tract_gain
from training.simulation.fields import smooth_field
from training.simulation.shapes import Shape
from training.simulation.tissues import Relaxation, Tissue

TEXTURE_SHARE = (0.012, 0.035)
"""Variation of a tissue's brightness over millimetres and centimetres, as a share; chosen to cover what is
left in the white matter of the real FLAIR and T1 scans after their noise."""


@dataclass(slots=True)
class Scene:
    """What a scanner would see without noise, and what is to be found in it.

    Attributes:
        anatomy: the head.
        tissues: its properties, by ``Tissue``.
        contrasts: the protocol of each Series.
        images: float32 on the anatomy's grid, by Series type.
        target: float32 occupancy of the wanted lesion on that grid.
        diameters_mm: of the wanted lesions, in the order painted.
    """

    anatomy: Anatomy
    tissues: Relaxation
    contrasts: Mapping[SeriesType, Contrast]
    images: dict[SeriesType, NDArray[np.float32]]
    target: NDArray[np.float32]
    diameters_mm: list[float] = field(default_factory=list)

    def paint(
        self,
        shape: Shape,
        material: Relaxation,
        *,
        wanted: bool = False,
        within: Iterable[Tissue] = (),
        strength: float = 1.0,
    ) -> float:
        """Fill a shape with a material.

        Args:
            shape: where.
            material: what; (1,) properties.
            wanted: whether it belongs to the target.
            within: tissues that can be replaced; all if empty.
            strength: share of the material in a full voxel.
        Returns: volume that was filled, mm3.
        """
        place, part = self._clip(shape)
        occupancy = shape.occupancy[part]
        allowed = tuple(within)
        if allowed:
            occupancy = occupancy * np.isin(self.anatomy.tissue[place], allowed)
        if not occupancy.size:
            return 0.0
        for series, image in self.images.items():
            bright = np.float32(self.contrasts[series].signal(material)[0])
            image[place] += (bright - image[place]) * occupancy * np.float32(strength)
        if wanted:
            np.maximum(self.target[place], occupancy, out=self.target[place])
        return float(occupancy.sum())

    def note_lesion(self, volume_mm3: float) -> None:
        """Note a wanted lesion by the diameter of a ball of its volume."""
        self.diameters_mm.append(float(np.cbrt(6 / np.pi * volume_mm3)))

    def site(self, site: Site, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """Draw a place in a site, a (3,) point between voxel centres; None if there is no such site."""
        places = self.anatomy.sites[site]
        if not len(places):
            return None
        place: NDArray[np.float64] = places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, size=3)
        return place

    def _clip(self, shape: Shape) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        place, part = [], []
        sizes = zip(shape.corner, shape.occupancy.shape, self.target.shape, strict=True)
        for start, size, limit in sizes:
            first, last = max(0, start), max(0, min(limit, start + size))
            place.append(slice(first, max(first, last)))
            part.append(slice(first - start, max(first, last) - start))
        return tuple(place), tuple(part)


def build_scene(
    anatomy: Anatomy, tissues: Relaxation, contrasts: Mapping[SeriesType, Contrast], rng: np.random.Generator
) -> Scene:
    """Light an anatomy: the signal of each tissue with the texture and the anisotropy of real ones."""
    fine = smooth_field(anatomy.tissue.shape, (3, 3, 3), rng)
    broad = smooth_field(anatomy.tissue.shape, (22, 16, 16), rng, mirrored=True)
    images = {}
    for series, contrast in contrasts.items():
        bright = contrast.signal(tissues).astype(np.float32)
        bright[[Tissue.FAT, Tissue.SKIN, Tissue.MARROW]] *= contrast.fat_left
        image = bright[anatomy.tissue]
        texture = 1 + TEXTURE_SHARE[0] * fine + TEXTURE_SHARE[1] * rng.uniform(0.2, 1) * broad
        image *= texture
        if isinstance(contrast, DiffusionWeighted):
            _orient_diffusion(image, anatomy, rng)
        if isinstance(contrast, SpoiledGradientEcho) and contrast.echo_ms < 8:
            _brighten_inflow(image, anatomy, bright, rng)
        images[series] = image
    return Scene(anatomy, tissues, contrasts, images, np.zeros(anatomy.tissue.shape, np.float32))


def _orient_diffusion(image: NDArray[np.float32], anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Brighten and darken tracts: a little on trace images, much on one direction."""
    gain = tract_gain(image.shape, (1.0, 1.0, 1.0), rng)
    anisotropic = (Tissue.WHITE_MATTER, Tissue.BRAINSTEM, Tissue.CEREBELLAR_WHITE, Tissue.PALLIDUM)
    image *= np.where(np.isin(anatomy.tissue, anisotropic), gain, 1)


def _brighten_inflow(
    image: NDArray[np.float32], anatomy: Anatomy, bright: NDArray[np.float32], rng: np.random.Generator
) -> None:
    """Fresh blood is bright on short gradient echoes: vessels at 0.6 to 1.8 of white matter."""
    vessels = np.isin(anatomy.tissue, (Tissue.ARTERY, Tissue.VEIN))
    image[vessels] = bright[Tissue.WHITE_MATTER] * rng.uniform(0.6, 1.8)
