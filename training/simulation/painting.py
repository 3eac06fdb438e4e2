"""Lesions painted into real scans, so that networks see real texture, real artefacts and real vessels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment, SeriesType
from engines.volume import Volume
from training.alterations import thicken
from training.cases import Case, CaseKind
from training.errors import CaseError
from training.simulation import artefacts, infarcts, lacunes, microbleeds
from training.simulation.canvas import Canvas, prepare_canvas, rasterise
from training.simulation.contrast import tract_gain
from training.simulation.scans import Scan
from training.simulation.shapes import Shape, blob, tube, wandering_path
from training.simulation.simulator import LESION_FREE_SHARE, SERIES_OF, STRIPPED_SHARE
from training.simulation.visibility import drop_unseen, visible

DEPTH_MM = {Segment.WMH: 14.0, Segment.LACUNE: 18.0, Segment.INFARCT: 16.0, Segment.MICROBLEED: 6.0}
"""How far below the brain's surface lesions are painted: white matter, deep nuclei and brain stem begin
there, and microbleeds may be lobar. Chosen."""


SHALLOW_MM = 6.0
"""In one scan of five lesions come this near to the surface, as cortical and juxtacortical ones do."""

Gains = tuple[tuple[SeriesType, float, float], ...]
"""Series, and the range of the brightness on it as a share of what was there."""

RIM: Gains = ((SeriesType.T2_FLAIR, 1.2, 1.8), (SeriesType.T1, 0.8, 0.97))
"""Of the gliosis around a lacune. Chosen."""

SOLID: Gains = ((SeriesType.T2_FLAIR, 1.3, 1.9), (SeriesType.T1, 0.5, 0.85))
"""Of a lesion without a cavity, which is no lacune: a hyperintensity that is dark on T1 as well. Chosen by
looking at those of the labelled patients."""


def paint_scan(
    segment: Segment, name: str, scan: Scan, rng: np.random.Generator, *, new_tracts: bool = False
) -> Case:
    """Paint lesions of a segment, or none in a share of the cases, into a real scan and vary its look.

    Args:
        segment: what is painted.
        name: of the case.
        scan: what it is painted into.
        rng: everything that is drawn.
        new_tracts: whether tracts on diffusion shine anew, so that no network learns the few scans by heart.

    Raises:
        CaseError: if the scan has no brain.
    """
    if not scan.brain.any():
        raise CaseError(name, f"no brain found in the scan of {scan.provenance.patient}; leave this scan out")
    depth_mm = DEPTH_MM[segment] if rng.random() < 0.8 else SHALLOW_MM
    canvas = prepare_canvas(scan, tuple(kind for kind in SERIES_OF[segment] if kind in scan.images), depth_mm)
    if new_tracts and (diffusion := canvas.images.get(SeriesType.DWI_B1000)) is not None:
        gain = tract_gain(scan.grid.shape, scan.grid.spacing_mm, rng)
        diffusion *= np.where(scan.brain, gain, 1)
    some = rng.random() >= LESION_FREE_SHARE
    _PAINTERS[segment](canvas, some, rng)
    merge = _slices_to_merge(scan.grid.spacing_mm[0], rng)

    def merged(array: NDArray[Any]) -> Volume:
        return thicken(Volume(array, scan.grid), merge)

    images = {series: merged(image).array for series, image in canvas.images.items()}
    thick_brain = merged(scan.brain.astype(np.float32))
    brain, grid = thick_brain.array, thick_brain.grid
    painted, marked = merged(visible(canvas.target)).array, merged(scan.marked).array
    stripped = rng.random() < STRIPPED_SHARE
    volumes = {}
    for series, image in images.items():
        reference = float(np.median(image[brain > 0.5]))
        changed = artefacts.shade(image, grid.spacing_mm, rng)
        if rng.random() < 0.4:
            changed = artefacts.add_noise(changed, reference, rng)
        if stripped:
            changed = artefacts.strip_skull(changed, brain, grid.spacing_mm[2], rng)
        volumes[series] = Volume(artefacts.scale_to_integers(changed, reference, rng), grid)
    mask = marked | drop_unseen(painted, volumes[SERIES_OF[segment][0]].array, segment)
    details: dict[str, float | str] = {
        **scan.provenance.details,
        "slice_mm": round(grid.spacing_mm[0], 2),
        "pixel_mm": round(grid.spacing_mm[2], 3),
        "stripped": str(stripped),
        "lesions": len(canvas.diameters_mm),
        "diameters_mm": " ".join(f"{size:.1f}" for size in canvas.diameters_mm),
    }
    origin = replace(scan.provenance, kind=CaseKind.PAINTED, details=details)
    return Case(name, volumes, {segment: Volume(mask, grid)}, origin)


def _paint_infarcts(canvas: Canvas, some: bool, rng: np.random.Generator) -> None:
    """Infarcts of 4 to 20 mm, 1.4 to 2.6 times as bright as what is around: b1000 of the first week."""
    for _ in range(1 + int(rng.poisson(1.8)) if some else 0):
        smallest = max(infarcts.DIAMETER_MM[0], 0.8 * canvas.scan.grid.spacing_mm[0])
        diameter = float(np.clip(rng.lognormal(np.log(8.5), 0.42), smallest, infarcts.DIAMETER_MM[1]))
        radii = diameter / 2 * np.array([rng.uniform(0.6, 1.0), 1.0, rng.uniform(0.5, 1.0)])
        bumps, edge = rng.uniform(0.1, 0.35), rng.uniform(1.0, 2.5)
        placed = canvas.place(_blobs(radii, bumps, edge, rng), rng)
        if placed is not None:
            canvas.shine(SeriesType.DWI_B1000, placed.shape, rng.uniform(1.4, 2.6), wanted=True)
            canvas.diameters_mm.append(diameter)


def _paint_microbleeds(canvas: Canvas, some: bool, rng: np.random.Generator) -> None:
    """Microbleeds of 2 to 10 mm that leave 5 to 45% of the signal, and some veins of the same darkness."""
    slice_mm, _, pixel_mm = canvas.scan.grid.spacing_mm
    for _ in range(int(rng.poisson(6))):
        length, radius = rng.uniform(8, 25), rng.uniform(0.4, 0.9)
        vein = canvas.place(_tubes(length, radius, rng), rng)
        if vein is not None:
            canvas.shine(SeriesType.T2_STAR, vein.shape, rng.uniform(0.2, 0.6), wanted=False)
    for _ in range(int(np.exp(rng.uniform(0, np.log(15)))) if some else 0):
        smallest = max(microbleeds.DIAMETER_MM[0], 1.3 * pixel_mm)
        diameter = float(np.clip(rng.lognormal(np.log(3.8), 0.4), smallest, microbleeds.DIAMETER_MM[1]))
        through = max(diameter, min(0.7 * slice_mm + 0.8, 10.0))
        radii = np.array([through, diameter, diameter]) / 2
        placed = canvas.place(_blobs(radii, 0.1, 1.4, rng), rng)
        if placed is not None:
            canvas.shine(SeriesType.T2_STAR, placed.shape, rng.uniform(0.05, 0.45), wanted=True)
            canvas.diameters_mm.append(diameter)


def _paint_lacunes(canvas: Canvas, some: bool, rng: np.random.Generator) -> None:
    """Lacunes of 3 to 15 mm, dark on T1 and FLAIR, most with a bright rim on FLAIR; and what looks like them.

    That are perivascular spaces, and solid lesions: dark on T1, and bright on FLAIR to their middle.
    """
    for _ in range(int(rng.poisson(4)) if SeriesType.T2_FLAIR in canvas.images else 0):
        radii = float(np.clip(rng.lognormal(np.log(2.8), 0.4), 1.5, 7.5)) * rng.uniform(0.6, 1.0, size=3)
        solid = canvas.place(_blobs(radii, rng.uniform(0.05, 0.3), rng.uniform(1.0, 2.0), rng), rng)
        if solid is not None:
            _shade(canvas, solid.shape, SOLID, rng)
    for _ in range(int(rng.poisson(8))):
        length, radius = rng.uniform(4, 14), rng.uniform(0.4, 1.1)
        space = canvas.place(_tubes(length, radius, rng), rng)
        if space is not None:
            for series in canvas.images:
                canvas.fill(series, space.shape, canvas.csf[series], rng, wanted=False)
    for _ in range(1 + int(rng.poisson(3)) if some else 0):
        _paint_lacune(canvas, rng)


def _paint_lacune(canvas: Canvas, rng: np.random.Generator) -> None:
    smallest = max(lacunes.DIAMETER_MM[0], 0.7 * canvas.scan.grid.spacing_mm[0])
    diameter = float(np.clip(rng.lognormal(np.log(5.8), 0.4), smallest, lacunes.DIAMETER_MM[1]))
    radii = diameter / 2 * np.array([rng.uniform(0.75, 1.0), 1.0, rng.uniform(0.6, 1.0)])
    bumps, rim_mm, seed = rng.uniform(0.05, 0.25), rng.uniform(0.6, 2.5), int(rng.integers(2**31))

    def grown(at: NDArray[np.float64], by_mm: float) -> Shape:
        # the rim has the orientation and the bumps of its cavity
        return blob(at, radii + by_mm, np.random.default_rng(seed), bumps)

    placed = canvas.place(partial(grown, by_mm=0.0), rng)
    if placed is None:
        return
    if rng.random() < 0.7:
        rim = rasterise(grown(placed.centre_mm, rim_mm), canvas.scan.grid)
        _shade(canvas, rim, RIM, rng)
    clear = rng.uniform(0.0, 0.25)
    for series, level in canvas.csf.items():
        canvas.fill(series, placed.shape, level + clear * (1 - level), rng, wanted=True)
    canvas.diameters_mm.append(diameter)


def _shade(canvas: Canvas, shape: Shape, gains: Gains, rng: np.random.Generator) -> None:
    """Change the brightness of a shape that is not wanted on each Series that the scan has."""
    for series, low, high in gains:
        if series in canvas.images:
            canvas.shine(series, shape, rng.uniform(low, high), wanted=False)


def _paint_hyperintensities(canvas: Canvas, some: bool, rng: np.random.Generator) -> None:
    """Foci of 2 to 20 mm, 1.2 to 1.9 times as bright as white matter, beside the real ones."""
    for _ in range(int(rng.integers(2, 20)) if some else 0):
        smallest = max(1.2, 0.35 * canvas.scan.grid.spacing_mm[0])
        radius = float(np.clip(rng.lognormal(np.log(2.6), 0.5), smallest, 10.0))
        radii = radius * rng.uniform(0.6, 1.15, size=3)
        bumps, edge = rng.uniform(0.1, 0.4), rng.uniform(1.0, 2.0)
        placed = canvas.place(_blobs(radii, bumps, edge, rng), rng)
        if placed is not None:
            canvas.shine(SeriesType.T2_FLAIR, placed.shape, rng.uniform(1.22, 1.9), wanted=True)
            canvas.diameters_mm.append(2 * radius)


def _blobs(
    radii: NDArray[np.float64], bumps: float, edge: float, rng: np.random.Generator
) -> Callable[[NDArray[np.float64]], Shape]:
    return lambda at: blob(at, radii, rng, bumps, edge)


def _tubes(length: float, radius: float, rng: np.random.Generator) -> Callable[[NDArray[np.float64]], Shape]:
    return lambda at: tube(wandering_path(at, rng.normal(size=3), length, 0.1, rng), radius)


_PAINTERS: dict[Segment, Callable[[Canvas, bool, np.random.Generator], None]] = {
    Segment.WMH: _paint_hyperintensities,
    Segment.LACUNE: _paint_lacunes,
    Segment.INFARCT: _paint_infarcts,
    Segment.MICROBLEED: _paint_microbleeds,
}


def _slices_to_merge(slice_mm: float, rng: np.random.Generator) -> int:
    """Draw how many neighbouring slices become one: thin slices are seen as 3 to 6 mm now and then."""
    most = int(6.5 // slice_mm)
    return int(rng.integers(1, most + 1)) if most > 1 else 1
