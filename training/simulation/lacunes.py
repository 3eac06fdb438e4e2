"""Lacunes, and what looks like them on T1 and is none: perivascular spaces, old infarcts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.simulation.anatomy import Site
from training.simulation.scene import Scene
from training.simulation.shapes import blob, tube, wandering_path
from training.simulation.tissues import Relaxation, Tissue, one_tissue

BRAIN = (
    Tissue.WHITE_MATTER,
    Tissue.THALAMUS,
    Tissue.CAUDATE,
    Tissue.PUTAMEN,
    Tissue.PALLIDUM,
    Tissue.BRAINSTEM,
    Tissue.CEREBELLAR_WHITE,
)

DIAMETER_MM = (3.0, 15.0)
"""Source: STRIVE (Wardlaw et al., Lancet Neurol 2013): lacunes of 3 to 15 mm; perivascular spaces below 3
mm."""

SITES = {
    Site.BASAL_GANGLIA: 0.33,
    Site.THALAMUS: 0.16,
    Site.CAPSULE: 0.16,
    Site.DEEP_WHITE: 0.25,
    Site.BRAINSTEM: 0.1,
}
"""Territories of perforating arteriolae (STRIVE); the shares are chosen."""


def paint_lacunes(scene: Scene, count: int, slice_mm: float, rng: np.random.Generator) -> None:
    """Paint cavities filled with CSF, most with a rim of gliosis that shines on FLAIR.

    Args:
        scene: changed.
        count: how many.
        slice_mm: slice thickness, mm; none is so small that a slice would swallow it.
        rng: places, shapes, rims.
    """
    csf = _csf(scene.tissues)
    for _ in range(count):
        site = list(SITES)[rng.choice(len(SITES), p=list(SITES.values()))]
        place = scene.site(site, rng)
        if place is None:
            continue
        smallest = max(DIAMETER_MM[0], 0.75 * slice_mm)
        diameter = float(np.clip(rng.lognormal(np.log(5.5), 0.42), smallest, DIAMETER_MM[1]))
        radii = diameter / 2 * np.array([rng.uniform(0.75, 1.0), 1.0, rng.uniform(0.6, 1.0)])
        bumps = rng.uniform(0.05, 0.25)
        if rng.random() < 0.7:
            gliosis = one_tissue(
                0.85, rng.uniform(1200, 1700), rng.uniform(115, 190), 80, rng.uniform(1.0, 1.5)
            )
            rim = blob(place + rng.normal(size=3) * 0.4, radii + rng.uniform(0.6, 2.5), rng, 0.25, edge=1.5)
            scene.paint(rim, gliosis, within=BRAIN, strength=rng.uniform(0.4, 1.0))
        cavity = blob(place, radii, rng, bumps)
        # a cavity need not be clear: tissue strands and protein shorten its T1
        scene.paint(cavity, csf, wanted=True, within=BRAIN, strength=rng.uniform(0.85, 1.0))
        scene.diameters_mm.append(diameter)


def paint_perivascular_spaces(scene: Scene, rng: np.random.Generator) -> None:
    """Paint tubes below 3 mm that follow the perforating vessels: basal ganglia and centrum semiovale.

    Source: STRIVE for form and size; up to 40 and more per side and slice in the grading of Potter et al.,
    Cerebrovasc Dis 2015, are covered in steps.
    """
    csf = _csf(scene.tissues)
    richness = float(rng.choice([0.3, 1.0, 3.0], p=[0.4, 0.4, 0.2]))
    for site, mean in (
        (Site.BASAL_GANGLIA, 12),
        (Site.DEEP_WHITE, 22),
        (Site.CAPSULE, 4),
        (Site.THALAMUS, 1),
    ):
        for _ in range(int(rng.poisson(mean * richness))):
            place = scene.site(site, rng)
            if place is None:
                break
            direction = _outward(scene, place) if site is Site.DEEP_WHITE else np.array([1.0, 0, 0])
            direction = direction + rng.normal(size=3) * 0.3
            path = wandering_path(place, direction, rng.uniform(3, 15), 0.08, rng)
            radius = float(np.clip(rng.lognormal(np.log(0.55), 0.35), 0.3, 1.3))
            scene.paint(tube(path, radius), csf, within=BRAIN, strength=rng.uniform(0.6, 1.0))


def paint_old_infarct(scene: Scene, rng: np.random.Generator) -> None:
    """Paint a cortical cavity of more than 15 mm with gliosis around it: no lacune."""
    place = scene.site(Site.CORTEX, rng)
    if place is None:
        return
    radii = rng.uniform(8, 16, size=3)
    gliosis = one_tissue(0.85, 1500, rng.uniform(120, 180), 80, 1.3)
    within = (*BRAIN, Tissue.CORTEX)
    scene.paint(blob(place, radii + rng.uniform(2, 6), rng, 0.35, 2.0), gliosis, within=within, strength=0.8)
    scene.paint(
        blob(place, radii, rng, 0.35, 1.5), _csf(scene.tissues), within=within, strength=rng.uniform(0.7, 1)
    )


def _outward(scene: Scene, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction away from the ventricles, which the vessels of the white matter follow."""
    centre = scene.anatomy.sites[Site.PERIVENTRICULAR].mean(axis=0)
    away: NDArray[np.float64] = place - centre
    return away / max(float(np.linalg.norm(away)), 1e-6)


def _csf(tissues: Relaxation) -> Relaxation:
    row = [
        float(values[Tissue.VENTRICLE])
        for values in (tissues.density, tissues.t1_ms, tissues.t2_ms, tissues.t2_star_ms, tissues.diffusivity)
    ]
    return one_tissue(*row)
