"""A whole Study as it lies in a PACS after the node: four Series on their own grids, and all results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.findings import SegmentFinding, StudyFindings
from engines.lesions import METHOD_LIMITS_MM, measure
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from node.model import SourceVolume
from node.results.build import ResultObject, build_results
from node.results.files import write_results
from tests.support.header_patterns import (
    SIEMENS_EP2D_TRACEW_B1000,
    SIEMENS_FLAIR_TSE,
    SIEMENS_T1_SE,
    SIEMENS_T2STAR_FL2D,
    HeaderPattern,
)
from tests.support.phantoms import phantom_grid, uid_from
from tests.viewer.cases import LESIONS, OBLIQUE, Case, Recipe, make_series, painted_masks
from tests.viewer.segmentations import MODEL, evaluation_of, read_source

SERIES_OF = {
    Segment.WMH: SeriesType.T2_FLAIR,
    Segment.LACUNE: SeriesType.T1,
    Segment.INFARCT: SeriesType.DWI_B1000,
    Segment.MICROBLEED: SeriesType.T2_STAR,
}

PATTERNS: Mapping[SeriesType, HeaderPattern] = {
    SeriesType.T2_FLAIR: SIEMENS_FLAIR_TSE,
    SeriesType.T1: SIEMENS_T1_SE,
    SeriesType.DWI_B1000: SIEMENS_EP2D_TRACEW_B1000,
    SeriesType.T2_STAR: SIEMENS_T2STAR_FL2D,
}

GRIDS = {
    SeriesType.T2_FLAIR: phantom_grid((18, 96, 96), (6.0, 2.2, 2.2)),
    SeriesType.T1: phantom_grid((20, 96, 96), (7.0, 2.2, 2.2), "sagittal"),
    SeriesType.DWI_B1000: phantom_grid((16, 72, 72), (7.0, 3.0, 3.0)),
    SeriesType.T2_STAR: phantom_grid((18, 96, 96), (6.0, 2.2, 2.2), OBLIQUE, (3.3, -7.1, 2.7)),
}


@dataclass(frozen=True, slots=True)
class FinishedStudy:
    """A Study with its results.

    Attributes:
        study_uid: Study Instance UID.
        series: by type; T2-FLAIR shows all lesions, the others those of their own segment.
        sources: the volumes that the node read.
        results: what the node made of it.
        files: of sources and results.
    """

    study_uid: str
    series: Mapping[SeriesType, Case]
    sources: Mapping[SeriesType, SourceVolume]
    results: tuple[ResultObject, ...]
    files: tuple[Path, ...]

    def result(self, role: str) -> ResultObject:
        """Return the result of a role."""
        return next(made for made in self.results if made.role == role)


def _findings(sources: Mapping[SeriesType, SourceVolume]) -> StudyFindings:
    """Return what perfect segmentors would find."""
    found = []
    for segment, kind in SERIES_OF.items():
        grid = sources[kind].volume.grid
        mask = Volume(painted_masks(grid, LESIONS)[segment], grid)
        measured = measure(mask)
        probability = mask.with_array(mask.array.astype(np.float32))
        limits = METHOD_LIMITS_MM.get(segment)
        found.append(
            SegmentFinding(segment, kind, mask, probability, measured.labels, measured.lesions, MODEL, limits)
        )
    flair = sources[SeriesType.T2_FLAIR].volume.grid
    combined = {segment: Volume(mask, flair) for segment, mask in painted_masks(flair, LESIONS).items()}
    return StudyFindings(tuple(found), (), combined=combined)


def make_study(folder: Path) -> FinishedStudy:
    """Write four Series and the node's results."""
    study_uid = uid_from("viewer", "study")
    series = {}
    for number, (segment, kind) in enumerate(SERIES_OF.items(), 1):
        own = tuple(part for part in LESIONS if kind is SeriesType.T2_FLAIR or part.segment is segment)
        recipe = Recipe(GRIDS[kind], own, series_number=number)
        series[kind] = make_series(kind.value, recipe, folder / kind.value, study_uid, PATTERNS[kind])
    sources = {kind: read_source(case) for kind, case in series.items()}
    results = build_results(_findings(sources), sources, evaluation_of(study_uid))
    written = write_results(results, folder / "results")
    files = tuple(path for case in series.values() for path in case.files)
    return FinishedStudy(study_uid, series, sources, results, (*files, *written))
