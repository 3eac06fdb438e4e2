"""Studies to open in a viewer: a source Series, and the masks that lie over it.

The lesions are the only bright parts of the picture, so that a screenshot without any overlay already shows
where they are. They have no common symmetry: a flip, a shift or a swap of axes puts the overlay elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support.header_patterns import SIEMENS_FLAIR_TSE, HeaderPattern
from tests.support.phantoms import (
    DEMO_PATIENT,
    PhantomKind,
    orientation_matrix,
    phantom_grid,
    phantom_volume,
    rigid,
    uid_from,
    write_enhanced,
    write_series,
)
from tests.support.series_files import Order

Mask = NDArray[np.bool_]

LESION_SIGNAL = 1000.0
TISSUE_SHARE = 0.45
"""Tissue is darkened by this factor: none of it then reaches half of LESION_SIGNAL."""

WINDOW = (0.0, LESION_SIGNAL)
"""Lowest and highest displayed value: grey 128 parts lesions from tissue."""


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """A lesion: centre in LPS mm and half axes along L, P and S in mm."""

    segment: Segment
    centre_lps: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]


LESIONS = (
    Ellipsoid(Segment.WMH, (30.0, -20.0, 12.0), (18.0, 12.0, 14.0)),
    Ellipsoid(Segment.WMH, (-34.0, -30.0, 20.0), (6.0, 14.0, 10.0)),
    Ellipsoid(Segment.LACUNE, (-30.0, 14.0, 4.0), (8.0, 8.0, 9.0)),
    Ellipsoid(Segment.INFARCT, (20.0, 40.0, -4.0), (9.0, 12.0, 10.0)),
    Ellipsoid(Segment.MICROBLEED, (-14.0, -52.0, 8.0), (4.0, 4.0, 5.0)),
)

COLUMNS = (
    Ellipsoid(Segment.WMH, (30.0, -20.0, 0.0), (12.0, 16.0, 400.0)),
    Ellipsoid(Segment.LACUNE, (-30.0, 14.0, 0.0), (8.0, 6.0, 400.0)),
    Ellipsoid(Segment.INFARCT, (20.0, 36.0, 0.0), (9.0, 12.0, 400.0)),
    Ellipsoid(Segment.MICROBLEED, (-14.0, -44.0, 0.0), (4.0, 6.0, 400.0)),
)
"""Lesions that reach through every slice: four segments on 104 slices are 416 frames."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a case is made.

    Attributes:
        grid: of the source Series.
        lesions: what is painted.
        order: which slice is the first Instance or frame.
        enhanced: one Enhanced MR Instance in place of one Instance a slice.
        series_number: Series Number.
    """

    grid: Grid
    lesions: tuple[Ellipsoid, ...] = LESIONS
    order: Order = "ascending"
    enhanced: bool = False
    series_number: int = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A source Series on disk with its masks.

    Attributes:
        name: of the recipe.
        study_uid: Study Instance UID.
        recipe: how it was made.
        files: of the source Series.
        picture: what the source shows.
        masks: (slices, rows, columns) bool by segment, on the grid of the picture; all four segments.
    """

    name: str
    study_uid: str
    recipe: Recipe
    files: tuple[Path, ...]
    picture: Volume
    masks: Mapping[Segment, Mask]


def _oriented(
    row_cosines: tuple[float, float, float], column_cosines: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return (3, 3) unit steps of slice, row and column index for a pair of direction cosines."""
    return np.array([np.cross(row_cosines, column_cosines), column_cosines, row_cosines]).T


_SHAPE, _SPACING = (18, 96, 96), (6.0, 2.2, 2.2)
OBLIQUE = rigid((14.0, -9.0, 17.0), (0.0, 0.0, 0.0))[:3, :3] @ orientation_matrix("axial")
"""Steps of a stack that is turned about all three axes."""

RECIPES: dict[str, Recipe] = {
    "axial": Recipe(phantom_grid(_SHAPE, _SPACING)),
    "sagittal": Recipe(phantom_grid((20, 96, 96), (7.0, 2.2, 2.2), "sagittal")),
    "oblique": Recipe(phantom_grid(_SHAPE, _SPACING, OBLIQUE, (3.3, -7.1, 2.7))),
    "reversed-order": Recipe(phantom_grid(_SHAPE, _SPACING), order="descending"),
    "negative-cosines": Recipe(phantom_grid(_SHAPE, _SPACING, _oriented((-1, 0, 0), (0, 1, 0)))),
    "turned-cosines": Recipe(phantom_grid(_SHAPE, _SPACING, _oriented((0, -1, 0), (-1, 0, 0)))),
    "non-square-pixels": Recipe(phantom_grid((18, 96, 64), (6.0, 2.2, 3.3))),
    "enhanced": Recipe(phantom_grid(_SHAPE, _SPACING, OBLIQUE), order="descending", enhanced=True),
    "many-frames": Recipe(phantom_grid((104, 80, 80), (1.2, 2.5, 2.5)), COLUMNS),
    "without-lesions": Recipe(phantom_grid(_SHAPE, _SPACING), ()),
}


def _painted(grid: Grid, lesion: Ellipsoid) -> Mask:
    """Return the voxels whose centre lies in the lesion."""
    points = grid.to_lps(np.argwhere(np.ones(grid.shape, dtype=bool)))
    distance = ((points - np.array(lesion.centre_lps)) / np.array(lesion.half_axes_mm)) ** 2
    return np.asarray(distance.sum(axis=1) <= 1.0).reshape(grid.shape)


def painted_masks(grid: Grid, lesions: tuple[Ellipsoid, ...]) -> dict[Segment, Mask]:
    """Return one mask for each of the four segments."""
    masks = {segment: np.zeros(grid.shape, dtype=bool) for segment in Segment}
    for lesion in lesions:
        masks[lesion.segment] |= _painted(grid, lesion)
    return masks


def make_case(name: str, folder: Path) -> Case:
    """Write the source Series of a case and return it with its masks."""
    return make_series(name, RECIPES[name], folder, uid_from("viewer", name))


def make_series(
    name: str, recipe: Recipe, folder: Path, study_uid: str, pattern: HeaderPattern = SIEMENS_FLAIR_TSE
) -> Case:
    """Write one Series; those of one Study share a Frame of Reference.

    Args:
        name: of the case.
        recipe: what it shows.
        folder: for the files.
        study_uid: Study Instance UID.
        pattern: what the scanner says of the sequence.
    """
    masks = painted_masks(recipe.grid, recipe.lesions)
    signal = phantom_volume(PhantomKind.T1, recipe.grid, noise=4.0).array * TISSUE_SHARE
    signal[np.any(list(masks.values()), axis=0)] = LESION_SIGNAL
    picture = Volume(signal, recipe.grid)
    write: Callable[..., Path | list[Path]] = write_enhanced if recipe.enhanced else write_series
    written = write(
        picture,
        pattern,
        folder / "source.dcm" if recipe.enhanced else folder,
        study_uid=study_uid,
        frame_of_reference_uid=uid_from(study_uid, "frame of reference"),
        series_number=recipe.series_number,
        order=recipe.order,
        patient=replace(DEMO_PATIENT, patient_id=study_uid),
    )
    files = tuple(written) if isinstance(written, list) else (written,)
    return Case(name, study_uid, recipe, files, picture, masks)
