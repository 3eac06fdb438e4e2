"""Cerebral microbleeds on T2*, and what is as dark and is none: veins, calcium, iron."""

from __future__ import annotations

import numpy as np

from training.simulation.anatomy import PARENCHYMA, Site
from training.simulation.lacunes import BRAIN
from training.simulation.scene import Scene
from training.simulation.shapes import blob, tube, wandering_path
from training.simulation.tissues import Relaxation, Tissue, one_tissue

DIAMETER_MM = (2.0, 10.0)
"""Size on the image, blooming included. Source: Greenberg et al., Lancet Neurol 2009; STRIVE 2013: 2 to 10
mm."""

SITES = {
    Site.JUXTACORTICAL: 0.22,
    Site.CORTEX: 0.14,
    Site.DEEP_WHITE: 0.18,
    Site.BASAL_GANGLIA: 0.14,
    Site.THALAMUS: 0.13,
    Site.BRAINSTEM: 0.09,
    Site.CEREBELLUM: 0.1,
}
"""Lobar, deep and infratentorial as in the MARS scale (Gregoire et al., Neurology 2009); the shares are
chosen."""

SOLID = (*BRAIN, Tissue.CORTEX, Tissue.CEREBELLAR_CORTEX, Tissue.HIPPOCAMPUS)


def haemosiderin(rng: np.random.Generator) -> Relaxation:
    """Draw an iron deposit: T2* of 3 to 9 ms leaves a few percent of the signal at the echo times of T2*."""
    return one_tissue(0.75, 900, 60, rng.uniform(3, 9), 0.6)


def paint_microbleeds(scene: Scene, count: int, slice_mm: float, rng: np.random.Generator) -> None:
    """Paint round dark foci with the soft edge that blooming gives.

    Args:
        scene: changed.
        count: how many.
        slice_mm: slice thickness, mm; blooming keeps a bleed visible in a thick slice, so it reaches through
            half of one at least.
        rng: places and sizes.
    """
    for _ in range(count):
        place = scene.site(list(SITES)[rng.choice(len(SITES), p=list(SITES.values()))], rng)
        if place is None:
            continue
        diameter = float(np.clip(rng.lognormal(np.log(3.6), 0.4), *DIAMETER_MM))
        through = max(diameter, min(0.55 * slice_mm + 0.8, DIAMETER_MM[1]))
        radii = np.array([through, diameter * rng.uniform(0.85, 1), diameter]) / 2
        shape = blob(place, radii, rng, rng.uniform(0.02, 0.15), edge=rng.uniform(1.0, 1.8))
        scene.paint(shape, haemosiderin(rng), wanted=True, within=SOLID, strength=rng.uniform(0.8, 1.0))
        scene.diameters_mm.append(diameter)


def paint_dark_mimics(scene: Scene, rng: np.random.Generator) -> None:
    """Paint veins in sulci and white matter, calcified pallidum, choroid, pineal gland and falx, and iron."""
    _paint_veins(scene, rng)
    calcium = one_tissue(0.4, 700, 40, rng.uniform(4, 12), 0.6)
    if rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 6))):
            _paint_both_sides(
                scene, Site.PALLIDUM, calcium, rng.uniform(0.8, 2.8), rng, rng.uniform(0.3, 1.0)
            )
    if rng.random() < 0.45:
        for _ in range(int(rng.integers(1, 4))):
            _paint_both_sides(scene, Site.CHOROID, calcium, rng.uniform(0.8, 3), rng, rng.uniform(0.4, 1.0))
    for site, share in ((Site.PINEAL, 0.6), (Site.MIDLINE, 0.25)):
        place = scene.site(site, rng)
        if place is not None and rng.random() < share:
            radii = rng.uniform(1, 3, size=3) * (1 if site is Site.PINEAL else np.array([1.8, 1.8, 0.5]))
            scene.paint(blob(place, radii, rng, 0.3), calcium, strength=rng.uniform(0.5, 1.0))
    iron = one_tissue(0.76, 900, 55, rng.uniform(14, 24), 0.7)
    for site, radius in ((Site.PALLIDUM, 5.0), (Site.BRAINSTEM, 2.5), (Site.CEREBELLUM, 4.0)):
        if rng.random() < 0.5:
            _paint_both_sides(scene, site, iron, radius * rng.uniform(0.7, 1.2), rng, rng.uniform(0.15, 0.5))


def _paint_veins(scene: Scene, rng: np.random.Generator) -> None:
    """Paint vessels: along sulci and through them (dots in a slice), and thin ones towards the ventricles.

    T2* of venous blood 10 to 40 ms between 3 and 1.5 T; 0.6 to 2.4 mm wide in sulci, below a mm in white
    matter.
    """
    blood = one_tissue(0.8, 1500, 60, rng.uniform(8, 28), 2.0)
    for _ in range(int(rng.integers(40, 160))):
        place = scene.site(Site.SULCUS, rng)
        if place is None:
            break
        through = np.array([1.0, 0, 0]) if rng.random() < 0.55 else np.array([0.1, 1, 1]) * rng.normal(size=3)
        path = wandering_path(place, through + rng.normal(size=3) * 0.15, rng.uniform(5, 28), 0.12, rng)
        radius = float(np.clip(rng.lognormal(np.log(0.55), 0.35), 0.3, 1.2))
        within = (Tissue.SULCAL_CSF, Tissue.CORTEX)
        scene.paint(tube(path, radius), blood, within=within, strength=rng.uniform(0.5, 1.0))
    for _ in range(int(rng.poisson(14))):
        place = scene.site(Site.PERIVENTRICULAR, rng)
        if place is None:
            break
        path = wandering_path(place, rng.normal(size=3) * [0.4, 1, 1], rng.uniform(6, 18), 0.06, rng)
        scene.paint(tube(path, rng.uniform(0.25, 0.5)), blood, within=BRAIN, strength=rng.uniform(0.3, 0.9))


def _paint_both_sides(
    scene: Scene, site: Site, material: Relaxation, radius: float, rng: np.random.Generator, strength: float
) -> None:
    """Paint a blob and, a little different, its mirror image."""
    place = scene.site(site, rng)
    if place is None:
        return
    middle = float(scene.anatomy.sites[Site.PERIVENTRICULAR][:, 2].mean())
    mirrored = np.array([place[0], place[1], 2 * middle - place[2]]) + rng.normal(size=3) * 0.8
    for centre in (place, mirrored):
        shape = blob(centre, radius * rng.uniform(0.7, 1.2, size=3), rng, 0.3, edge=1.2)
        scene.paint(shape, material, within=PARENCHYMA, strength=strength)
