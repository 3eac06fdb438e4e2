"""Recent small subcortical infarcts on diffusion-weighted images, and what shines there without being one."""

from __future__ import annotations

import numpy as np

from training.simulation.anatomy import Site
from training.simulation.lacunes import BRAIN
from training.simulation.scene import Scene
from training.simulation.shapes import blob
from training.simulation.tissues import Relaxation, Tissue, one_tissue

DIAMETER_MM = (4.0, 20.0)
"""Source: STRIVE (Wardlaw et al., Lancet Neurol 2013): recent small subcortical infarcts up to 20 mm."""

SITES = {
    Site.BASAL_GANGLIA: 0.22,
    Site.THALAMUS: 0.18,
    Site.CAPSULE: 0.2,
    Site.DEEP_WHITE: 0.28,
    Site.BRAINSTEM: 0.12,
}
"""Territories of perforating arteriolae (STRIVE); the shares are chosen."""

LARGE_SHARE = 0.12
"""Share of heads with infarcts that also have one beyond 20 mm in a cortical territory: it is an infarct too,
and the report flags its size."""

EMBOLI_SHARE = 0.12
"""Share of heads with infarcts that also have small ones in the cortex, as emboli leave them."""


def recent_infarct(tissues: Relaxation, rng: np.random.Generator) -> Relaxation:
    """Draw the properties of an infarct of hours to two weeks.

    Diffusivity 0.3 to 0.55 (normal 0.75), the reduction by 25 to 60% that is found in the first week, and T2
    up to 60% above white matter, which rises after some hours (Schlaug et al., Neurology 1997, for the time
    course).
    """
    return one_tissue(
        rng.uniform(0.76, 0.86),
        float(tissues.t1_ms[Tissue.WHITE_MATTER]) * rng.uniform(1.1, 1.5),
        float(tissues.t2_ms[Tissue.WHITE_MATTER]) * rng.uniform(1.15, 1.65),
        float(tissues.t2_star_ms[Tissue.WHITE_MATTER]) * rng.uniform(1.0, 1.4),
        rng.uniform(0.3, 0.55),
    )


def paint_infarcts(scene: Scene, count: int, slice_mm: float, rng: np.random.Generator) -> None:
    """Paint recent infarcts as irregular ovals, some of two parts.

    Args:
        scene: changed.
        count: how many.
        slice_mm: slice thickness, mm; none is so small that a slice would swallow it.
        rng: places, shapes, ages.
    """
    for _ in range(count):
        place = scene.site(list(SITES)[rng.choice(len(SITES), p=list(SITES.values()))], rng)
        if place is None:
            continue
        smallest = max(DIAMETER_MM[0], 0.8 * slice_mm)
        diameter = float(np.clip(rng.lognormal(np.log(8.5), 0.42), smallest, DIAMETER_MM[1]))
        material, strength = recent_infarct(scene.tissues, rng), rng.uniform(0.8, 1.0)
        edge = rng.uniform(1.0, 2.5)
        for part in range(1 if rng.random() < 0.75 else 2):
            radii = diameter / 2 * np.array([rng.uniform(0.6, 1.0), 1.0, rng.uniform(0.5, 1.0)])
            shape = blob(place, radii / (1 + 0.4 * part), rng, rng.uniform(0.1, 0.35), edge)
            scene.paint(shape, material, wanted=True, within=BRAIN, strength=strength)
            place = place + rng.normal(size=3) * diameter / 4
        scene.diameters_mm.append(diameter)
    if count and rng.random() < LARGE_SHARE:
        _paint_cortical(scene, rng.uniform(11, 28), rng)
    if count and rng.random() < EMBOLI_SHARE:
        for _ in range(int(rng.integers(1, 7))):
            _paint_cortical(scene, rng.uniform(2, 5), rng)


def paint_diffusion_mimics(scene: Scene, rng: np.random.Generator) -> None:
    """Paint choroid and cortex that shine without an infarct, and dark old iron."""
    shining = one_tissue(0.9, 1300, rng.uniform(120, 180), 70, rng.uniform(1.0, 1.5))
    for _ in range(int(rng.poisson(1.0))):
        place = scene.site(Site.CHOROID, rng)
        if place is not None:
            shape = blob(place, rng.uniform(1.5, 4, size=3), rng, 0.3, 1.5)
            scene.paint(
                shape, shining, within=(Tissue.CHOROID, Tissue.VENTRICLE), strength=rng.uniform(0.3, 0.9)
            )
    for _ in range(int(rng.poisson(3))):
        place = scene.site(Site.CORTEX, rng)
        if place is not None:
            bright = one_tissue(0.86, 1250, rng.uniform(105, 135), 80, rng.uniform(0.7, 0.9))
            shape = blob(place, rng.uniform(4, 16, size=3), rng, 0.3, 4)
            scene.paint(
                shape, bright, within=(Tissue.CORTEX, Tissue.HIPPOCAMPUS), strength=rng.uniform(0.2, 0.9)
            )


def _paint_cortical(scene: Scene, radius: float, rng: np.random.Generator) -> None:
    place = scene.site(Site.CORTEX, rng)
    if place is None:
        return
    shape = blob(place, radius * rng.uniform(0.6, 1.1, size=3), rng, 0.35, 2.0)
    within = (*BRAIN, Tissue.CORTEX, Tissue.CEREBELLAR_CORTEX)
    material, strength = recent_infarct(scene.tissues, rng), rng.uniform(0.8, 1.0)
    volume = scene.paint(shape, material, wanted=True, within=within, strength=strength)
    scene.note_lesion(volume)
