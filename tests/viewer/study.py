"""A whole Study as it lies in a PACS after the node: four Series on their own grids, and all results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engines.exclusion import disjoint
from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from node.model import SourceVolume
from node.results.build import build_results
from node.results.files import write_results
from node.results.result_object import ResultObject
from tests.support.phantoms import phantom_grid, uid_from
from tests.support.result_studies import PATTERN_OF, SEEN_BESIDE, SERIES_OF, context, finding, source_from
from tests.viewer.cases import (
    LESIONS,
    OBLIQUE,
    Case,
    Ellipsoid,
    Mask,
    Recipe,
    make_series,
    painted_masks,
)

OVERLAPPING = (
    Ellipsoid(Segment.INFARCT, (46.0, -20.0, 12.0), (8.0, 8.0, 9.0)),
    Ellipsoid(Segment.MICROBLEED, (30.0, -20.0, 12.0), (4.0, 4.0, 6.0)),
    Ellipsoid(Segment.LACUNE, (-34.0, -22.0, 20.0), (5.0, 5.0, 7.0)),
)
"""Lesions of the other Series that reach into those of the T2-FLAIR, once they are brought onto its grid."""

_FIRST_COME = (Segment.MICROBLEED, Segment.INFARCT, Segment.LACUNE, Segment.WMH)
"""Which segment a voxel of several belongs to (docs/method.md)."""

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
        series: by type; T2-FLAIR shows all lesions and those that overlap, the others their own segment's.
        sources: the volumes that the node read.
        findings: what perfect segmentors would find.
        results: what the node made of it.
        written: the files of the results.
    """

    study_uid: str
    series: Mapping[SeriesType, Case]
    sources: Mapping[SeriesType, SourceVolume]
    findings: StudyFindings
    results: tuple[ResultObject, ...]
    written: tuple[Path, ...]

    @property
    def files(self) -> list[Path]:
        """The files of the sources."""
        return [path for case in self.series.values() for path in case.files]

    def result(self, role: str) -> ResultObject:
        """Return the result of a role."""
        return next(made for made in self.results if made.role == role)


def _findings(sources: Mapping[SeriesType, SourceVolume]) -> StudyFindings:
    """Return what perfect segmentors would find."""
    found = []
    for segment, kind in SERIES_OF.items():
        grid = sources[kind].volume.grid
        own = finding(segment, kind, painted_masks(grid, LESIONS)[segment], grid)
        found.append(replace(own, other_inputs=SEEN_BESIDE.get(segment, ())))
    flair = sources[SeriesType.T2_FLAIR].volume.grid
    painted = painted_masks(flair, LESIONS + OVERLAPPING)
    combined = disjoint({segment: Volume(mask, flair) for segment, mask in painted.items()})
    return StudyFindings(tuple(found), (), combined=combined)


def _shared_out(masks: Mapping[Segment, Mask]) -> dict[Segment, Mask]:
    """Give each voxel to the first of the segments that claim it."""
    shared: dict[Segment, Mask] = {}
    for segment in _FIRST_COME:
        others = np.any(list(shared.values()), axis=0) if shared else np.zeros_like(masks[segment])
        shared[segment] = masks[segment] & ~others
    return {segment: shared[segment] for segment in Segment}


def make_study(folder: Path) -> FinishedStudy:
    """Write four Series and the node's results."""
    study_uid = uid_from("viewer", "study")
    series = {}
    for number, (segment, kind) in enumerate(SERIES_OF.items(), 1):
        own = tuple(part for part in LESIONS if part.segment is segment)
        if kind is SeriesType.T2_FLAIR:
            own = LESIONS + OVERLAPPING
        recipe = Recipe(GRIDS[kind], own, series_number=number)
        series[kind] = make_series(kind.value, recipe, folder / kind.value, study_uid, PATTERN_OF[kind])
    flair = series[SeriesType.T2_FLAIR]
    series[SeriesType.T2_FLAIR] = replace(flair, masks=_shared_out(flair.masks))
    sources = {kind: source_from(case.files) for kind, case in series.items()}
    findings = _findings(sources)
    results = build_results(findings, sources, context(study_uid=study_uid))
    written = write_results(results, folder / "results")
    return FinishedStudy(study_uid, series, sources, findings, results, written)
