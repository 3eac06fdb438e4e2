"""One simulated case: an anatomy with lesions, mimics and everything that a scanner adds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment, SeriesType
from engines.volume import Volume
from training.cases import Case, CaseKind, Provenance
from training.simulation import artefacts
from training.simulation.acquisition import Geometry, dephase, distort, draw_geometry, draw_sampler
from training.simulation.anatomy import LICENCE, Anatomy
from training.simulation.contrast import Contrast, DiffusionWeighted, SpoiledGradientEcho, draw_contrast
from training.simulation.infarcts import paint_diffusion_mimics, paint_infarcts
from training.simulation.lacunes import paint_lacunes, paint_old_infarct, paint_perivascular_spaces
from training.simulation.microbleeds import paint_dark_mimics, paint_microbleeds
from training.simulation.scene import Scene, build_scene
from training.simulation.shapes import LESION_LIBRARY_LICENCE, LesionLibrary
from training.simulation.tissues import Tissue, draw_tissues
from training.simulation.visibility import drop_unseen, visible
from training.simulation.white_matter import paint_flair_mimics, paint_hyperintensities

SERIES_OF: Mapping[Segment, tuple[SeriesType, ...]] = {
    Segment.WMH: (SeriesType.T2_FLAIR,),
    Segment.LACUNE: (SeriesType.T1, SeriesType.T2_FLAIR),
    Segment.INFARCT: (SeriesType.DWI_B1000,),
    Segment.MICROBLEED: (SeriesType.T2_STAR,),
}
"""What each segmentor looks at; the first is the one whose slices are drawn."""

LESION_FREE_SHARE = 0.3
"""Share of heads without the wanted lesion, mimics and other lesions remaining; chosen so that a network
learns to stay silent. Simulated white matter hyperintensities go by their grades instead (``LOADS``)."""

STRIPPED_SHARE = 0.25
"""Share of skull-stripped volumes; both kinds reach the node."""

HZ_PER_PPM = {1.5: 63.9, 3.0: 127.7}
"""Proton resonance, 42.58 MHz per tesla. The field strength that distorts an image is drawn apart from that
of its tissues: more kinds of scans than there are, on purpose."""


def simulate(
    segment: Segment, name: str, anatomy: Anatomy, library: LesionLibrary | None, rng: np.random.Generator
) -> Case:
    """Simulate a case of one segment: lesions in about two heads of three, mimics in all.

    Args:
        segment: what is wanted.
        name: of the case.
        anatomy: the head.
        library: real white matter lesion masks, or None.
        rng: everything that is drawn; the same state gives the same case.
    """
    series = SERIES_OF[segment]
    tissues = draw_tissues(rng)
    contrasts = {kind: draw_contrast(kind, tissues, rng) for kind in series}
    scene = build_scene(anatomy, tissues, contrasts, rng)
    geometry = draw_geometry(series[0], anatomy, rng)
    note = paint(segment, scene, geometry.slice_mm, library, rng)
    stripped = rng.random() < STRIPPED_SHARE
    images, mask = observe(segment, scene, geometry, stripped, rng)
    grid = geometry.grid()
    details: dict[str, float | str] = {
        "slice_mm": round(geometry.slice_mm, 2),
        "pixel_mm": round(grid.spacing_mm[2], 3),
        "stripped": str(stripped),
        "contrast": type(contrasts[series[0]]).__name__,
        "lesions": len(scene.diameters_mm),
        "diameters_mm": " ".join(f"{size:.1f}" for size in scene.diameters_mm),
        **note,
    }
    licence = f"{LICENCE}; {LESION_LIBRARY_LICENCE}" if segment is Segment.WMH and library else LICENCE
    volumes = {kind: Volume(image, grid) for kind, image in images.items()}
    origin = Provenance(anatomy.name, "simulated", licence, CaseKind.SIMULATED, details)
    return Case(name, volumes, {segment: Volume(mask, grid)}, origin)


def paint(
    segment: Segment, scene: Scene, slice_mm: float, library: LesionLibrary | None, rng: np.random.Generator
) -> dict[str, float | str]:
    """Paint a segment's lesions and their mimics, and return what should be noted about them."""
    some = rng.random() >= LESION_FREE_SHARE
    if segment is Segment.WMH:
        if rng.random() < 0.3:
            paint_perivascular_spaces(scene, rng)
        grade = paint_hyperintensities(scene, library, rng, wanted=True)
        paint_flair_mimics(scene, rng)
        return {"load": grade}
    if segment is Segment.LACUNE:
        paint_hyperintensities(scene, None, rng, wanted=False)
        paint_perivascular_spaces(scene, rng)
        if rng.random() < 0.06:
            paint_old_infarct(scene, rng)
        paint_lacunes(scene, 1 + int(rng.poisson(3)) if some else 0, slice_mm, rng)
    elif segment is Segment.INFARCT:
        paint_hyperintensities(scene, None, rng, wanted=False)
        paint_diffusion_mimics(scene, rng)
        paint_infarcts(scene, 1 + int(rng.poisson(1.8)) if some else 0, slice_mm, rng)
    else:
        paint_hyperintensities(scene, None, rng, wanted=False)
        paint_dark_mimics(scene, rng)
        paint_microbleeds(scene, int(np.exp(rng.uniform(0, np.log(18)))) if some else 0, slice_mm, rng)
    return {}


def observe(
    segment: Segment, scene: Scene, geometry: Geometry, stripped: bool, rng: np.random.Generator
) -> tuple[dict[SeriesType, NDArray[np.int16]], NDArray[np.bool_]]:
    """Scan a scene: all Series on one geometry, with their own artefacts; mark what can be seen."""
    hz_per_ppm = HZ_PER_PPM[float(rng.choice([1.5, 3.0]))]
    sampler = draw_sampler(geometry, scene.anatomy, rng)
    piled = np.ones((1, 1, 1), np.float32)
    echo_planar = any(isinstance(contrast, DiffusionWeighted) for contrast in scene.contrasts.values())
    if echo_planar:
        readout_s = rng.choice([-1, 1]) * rng.uniform(0.012, 0.04)
        sampler, piled = distort(sampler, scene.anatomy, hz_per_ppm, readout_s)
    fields = np.stack([scene.target, scene.anatomy.brain.astype(np.float32), *scene.images.values()])
    target, brain, *planes = sampler.average(fields)
    images = {}
    for (series, contrast), plane in zip(scene.contrasts.items(), planes, strict=True):
        reference = float(contrast.signal(scene.tissues)[Tissue.WHITE_MATTER])
        left = plane * piled
        if isinstance(contrast, SpoiledGradientEcho) and contrast.echo_ms > 8:
            left = left * dephase(sampler, scene.anatomy, hz_per_ppm, contrast.echo_ms)
        images[series] = _record(left, brain, geometry, reference, stripped, contrast, rng)
    target = artefacts.resize(target, geometry.matrix, "bilinear")
    seen = drop_unseen(visible(target), next(iter(images.values())), segment)
    return images, seen


def _record(
    planes: NDArray[np.float32],
    brain: NDArray[np.float32],
    geometry: Geometry,
    reference: float,
    stripped: bool,
    contrast: Contrast,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Turn signal into pixels of one Series."""
    voxel_mm = (geometry.slice_mm + geometry.gap_mm, geometry.pixel_mm, geometry.pixel_mm)
    planes = artefacts.shade(planes, voxel_mm, rng)
    planes = artefacts.ghost(planes, rng, echo_planar=isinstance(contrast, DiffusionWeighted))
    planes = artefacts.move(planes, rng)
    planes = artefacts.add_noise(planes, reference, rng)
    planes = artefacts.enlarge(planes, geometry.matrix, rng)
    if stripped:
        pixel_mm = geometry.pixel_mm * geometry.rows / geometry.matrix[0]
        planes = artefacts.strip_skull(
            planes, artefacts.resize(brain, geometry.matrix, "bilinear"), pixel_mm, rng
        )
    return artefacts.scale_to_integers(planes, reference, rng)
