"""White matter hyperintensities, and what looks like them on FLAIR and is none."""

from __future__ import annotations

import numpy as np

from engines.segments import SeriesType
from training.simulation.anatomy import Site
from training.simulation.fields import smooth_field
from training.simulation.scene import Scene
from training.simulation.shapes import LesionLibrary, Shape, blob
from training.simulation.tissues import Relaxation, Tissue, one_tissue

WHITE = (Tissue.WHITE_MATTER,)

LOADS = {"none": 0.2, "mild": 0.35, "moderate": 0.28, "severe": 0.17}
"""Shares of the grades: Fazekas 0 to 3 all occur, and lesion-free heads teach what is normal; chosen."""

DEEP_COUNTS = {"none": (0, 0), "mild": (1, 12), "moderate": (5, 35), "severe": (12, 60)}
"""Deep foci by grade: single, several, confluent (Fazekas et al., AJR 1987), as numbers chosen for them."""

RIM_MM = {"none": (0.0, 0.0), "mild": (0.0, 2.5), "moderate": (1.5, 4.5), "severe": (3.0, 9.0)}
"""Thickness of the abnormal periventricular band by grade: pencil-thin lining, smooth halo, irregular
extension into the deep white matter (Fazekas et al., AJR 1987), as mm chosen for them."""

NORMAL_RIM_MM = 1.5
"""A thinner band is not marked: thin linings are found in healthy people, and the readers of the real cases
do not mark them either, mm."""


FLAIR_RATIO = (1.3, 2.1)
"""Brightness of an abnormal hyperintensity on FLAIR as a multiple of white matter; chosen to cover the
labelled scans. It also reaches 0.95 to 1.2 of the cortex, or readers would not have outlined it."""


def hyperintensity(scene: Scene, rng: np.random.Generator) -> Relaxation:
    """Draw the properties of a white matter hyperintensity.

    T1 15 to 60% above white matter and diffusivity 0.9 to 1.4; T2 25 to 90% above, or, where the scene holds
    a FLAIR, what gives ``FLAIR_RATIO`` there (up to four times).
    """
    tissues = scene.tissues
    white = [
        float(values[Tissue.WHITE_MATTER]) for values in (tissues.t1_ms, tissues.t2_ms, tissues.t2_star_ms)
    ]
    density, t1_ms = rng.uniform(0.76, 0.86), white[0] * rng.uniform(1.15, 1.6)
    longer, diffusivity = rng.uniform(1.25, 1.9), rng.uniform(0.9, 1.4)
    flair = scene.contrasts.get(SeriesType.T2_FLAIR)
    if flair is not None:
        bright = flair.signal(tissues)
        cortex = float(bright[Tissue.CORTEX] / bright[Tissue.WHITE_MATTER])
        wanted = max(rng.uniform(*FLAIR_RATIO), cortex * rng.uniform(0.95, 1.2))
        factors = np.linspace(1.1, 4, 60)
        tried = Relaxation(
            *(np.broadcast_to(v, factors.shape) for v in (density, t1_ms, white[1] * factors, 80.0, 1.0))
        )
        reached = flair.signal(tried) / bright[Tissue.WHITE_MATTER] >= wanted
        longer = float(factors[np.argmax(reached)]) if reached.any() else 4.0
    return one_tissue(density, t1_ms, white[1] * longer, white[2] * min(1.5, 0.5 + 0.5 * longer), diffusivity)


def paint_hyperintensities(
    scene: Scene,
    library: LesionLibrary | None,
    rng: np.random.Generator,
    *,
    wanted: bool,
) -> str:
    """Paint periventricular bands and caps, deep foci and real lesion shapes of one drawn grade.

    Args:
        scene: changed.
        library: real masks, or None for drawn shapes alone.
        rng: everything that is drawn.
        wanted: whether they are the target, or distractors for another one.
    Returns: the grade.
    """
    grade = str(rng.choice(list(LOADS), p=list(LOADS.values())))
    material = hyperintensity(scene, rng)
    _paint_rim(scene, rng.uniform(0.5, NORMAL_RIM_MM), material, rng, strength=rng.uniform(0.1, 0.45))
    low, high = RIM_MM[grade]
    thickness = rng.uniform(low, high)
    if thickness > NORMAL_RIM_MM:
        _paint_rim(scene, thickness * 1.7 + 1, material, rng, strength=rng.uniform(0.0, 0.25))
        _paint_rim(scene, thickness, material, rng, strength=rng.uniform(0.75, 1.0), wanted=wanted)
    for _ in range(int(rng.integers(DEEP_COUNTS[grade][0], DEEP_COUNTS[grade][1] + 1))):
        _paint_focus(scene, material, rng, wanted)
    if library is not None and grade != "none":
        _paint_real_shapes(
            scene, library, int(rng.integers(0, {"mild": 4, "moderate": 8, "severe": 14}[grade])), rng, wanted
        )
    return grade


def paint_flair_mimics(scene: Scene, rng: np.random.Generator) -> None:
    """Paint what shines on FLAIR in healthy heads: flowing CSF, choroid, septum, bright cortex."""
    for _ in range(int(rng.poisson(2.5))):
        # fresh, not inverted CSF flows into the slice: cisterns, third and fourth ventricle
        place = scene.site(Site.SULCUS if rng.random() < 0.6 else Site.CHOROID, rng)
        if place is not None:
            flowing = one_tissue(1.0, rng.uniform(900, 2200), 400, 300, 3.0)
            shape = blob(place, rng.uniform(2, 7, size=3), rng, 0.3, edge=2.5)
            scene.paint(
                shape, flowing, within=(Tissue.SULCAL_CSF, Tissue.VENTRICLE), strength=rng.uniform(0.1, 0.5)
            )
    for _ in range(int(rng.poisson(1.5))):
        place = scene.site(Site.CORTEX, rng)
        if place is not None:
            bright = one_tissue(0.85, 1200, rng.uniform(105, 130), 80, 0.9)
            shape = blob(place, rng.uniform(4, 14, size=3), rng, 0.3, edge=4)
            scene.paint(
                shape, bright, within=(Tissue.CORTEX, Tissue.HIPPOCAMPUS), strength=rng.uniform(0.2, 0.7)
            )


def _paint_rim(
    scene: Scene,
    thickness_mm: float,
    material: Relaxation,
    rng: np.random.Generator,
    *,
    strength: float,
    wanted: bool = False,
) -> None:
    """Paint a band of varying thickness along the lateral ventricles, thicker at their ends."""
    anatomy = scene.anatomy
    places = anatomy.sites[Site.PERIVENTRICULAR].astype(int)
    if not len(places):
        return
    reach = int(3 * thickness_mm) + 8
    low = np.maximum(places.min(axis=0) - reach, 0)
    high = np.minimum(places.max(axis=0) + reach + 1, anatomy.tissue.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    distance = anatomy.ventricle_mm[box].astype(np.float32)
    along = np.linspace(-1, 1, distance.shape[1], dtype=np.float32)[None, :, None]
    caps = rng.uniform(0.2, 1.3) * np.abs(along) ** 3
    varying = 0.55 * smooth_field(distance.shape, (14, 12, 12), rng, mirrored=True)
    varying += 0.25 * smooth_field(distance.shape, (5, 4, 4), rng)
    local = thickness_mm * np.clip(0.6 + caps + varying, 0, 3)
    # faint bands end softly, marked ones at an edge
    occupancy = np.clip((local - distance) / (1.2 if wanted else 1.5) + 0.5, 0, 1) * (distance > 0)
    occupancy *= np.clip(local / 1.0, 0, 1)
    shape = Shape.at(low, occupancy.astype(np.float32))
    volume = scene.paint(shape, material, wanted=wanted, within=WHITE, strength=strength)
    if wanted and volume:
        scene.note_lesion(volume)


def _paint_focus(scene: Scene, material: Relaxation, rng: np.random.Generator, wanted: bool) -> None:
    """Paint one deep focus of 2 to 16 mm, now and then several that run together, with a soft surround."""
    site = Site(
        rng.choice(
            [Site.DEEP_WHITE, Site.JUXTACORTICAL, Site.PERIVENTRICULAR, Site.CAPSULE],
            p=[0.7, 0.12, 0.1, 0.08],
        )
    )
    place = scene.site(site, rng)
    if place is None:
        return
    radius = float(np.clip(rng.lognormal(np.log(2.2), 0.5), 1.0, 8.0))
    strength = rng.uniform(0.7, 1.0)
    for _ in range(1 if rng.random() < 0.75 else int(rng.integers(2, 5))):
        radii = radius * rng.uniform(0.55, 1.15, size=3)
        shape = blob(place, radii, rng, rng.uniform(0.1, 0.4), edge=rng.uniform(1.0, 1.8))
        surround = blob(place, radii * 1.5 + 0.7, rng, 0.2, edge=2.5)
        scene.paint(surround, material, within=WHITE, strength=0.25 * strength * rng.random())
        volume = scene.paint(shape, material, wanted=wanted, within=WHITE, strength=strength)
        if wanted and volume:
            scene.note_lesion(volume)
        place = place + rng.normal(size=3) * radius


def _paint_real_shapes(
    scene: Scene, library: LesionLibrary, count: int, rng: np.random.Generator, wanted: bool
) -> None:
    """Paint masks of real lesions where they lay in their own head, cut to this one's white matter."""
    usable = np.flatnonzero((library.sizes > 15) & (library.sizes < 6000))
    for number in rng.choice(usable, count, replace=False):
        material = hyperintensity(scene, rng)
        shape = library.place(int(number), scene.anatomy.mni_affine)
        volume = scene.paint(shape, material, wanted=wanted, within=WHITE, strength=rng.uniform(0.75, 1.0))
        if wanted and volume:
            scene.note_lesion(volume)
