"""Studies with findings to make results of: files written, read back as sources, masks painted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.findings import (
    ExclusionRecord,
    ModelIdentity,
    NotAssessed,
    RegistrationRecord,
    SegmentFinding,
    StudyFindings,
)
from engines.lesions import METHOD_LIMITS_MM, measure
from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.header_reader import read_image_header
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.stacks import split_stacks
from node.volume_reader import read_volume
from tests.support import header_patterns as patterns
from tests.support.phantoms import DEMO_PATIENT, Patient, PhantomKind, phantom_grid, phantom_volume, uid_from
from tests.support.series_files import write_series

STUDY_UID = str(uid_from("results study"))
FRAME_OF_REFERENCE_UID = str(uid_from("results study", "frame of reference"))
FINGERPRINT = "5f" * 32
SERIES_OF = {segment: segment.series_type for segment in Segment}
SEEN_BESIDE = {Segment.LACUNE: (SeriesType.T2_FLAIR,)}
"""What a network saw beside the Series that its mask lies on, where the Study has one."""

PATTERN_OF = {
    SeriesType.T2_FLAIR: patterns.SIEMENS_FLAIR_TSE,
    SeriesType.T1: patterns.SIEMENS_T1_SE,
    SeriesType.DWI_B1000: patterns.SIEMENS_EP2D_TRACEW_B1000,
    SeriesType.T2_STAR: patterns.SIEMENS_T2STAR_FL2D,
}

SPACING_MM = {
    SeriesType.T2_FLAIR: (6.0, 1.8, 1.8),
    SeriesType.T1: (5.0, 2.0, 1.6),
    SeriesType.DWI_B1000: (6.5, 2.4, 2.4),
    SeriesType.T2_STAR: (5.5, 1.7, 1.9),
}
"""Of the Series of ``four_series``, along (slices, rows, columns)."""


def context(**changes: object) -> EvaluationContext:
    """Return a context whose values are known."""
    values: dict[str, object] = {
        "study_uid": STUDY_UID,
        "fingerprint": FINGERPRINT,
        "created_at": datetime(2026, 11, 21, 10, 30, 15, tzinfo=UTC),
        "software_version": "0.1.0",
        "ae_title": "CSVD",
        "station_name": "reading-room-1",
        "manufacturer": "csvd-node",
    }
    return EvaluationContext(**{**values, **changes})  # type: ignore[arg-type]


RULE = PostprocessingSpec(threshold=0.2, min_lesion_ml=0.025, min_peak=0.95)
"""What counts as a lesion in every finding here."""


def model_of(segment: Segment) -> ModelIdentity:
    """Return a model of its own for each segment."""
    return ModelIdentity(
        f"{segment.value.lower()}-unet", "1.2.0", f"{len(segment.value):064x}", "onnxruntime"
    )


def source_from(paths: Sequence[Path], label: str = "") -> SourceVolume:
    """Read files of one Series as the node does; ``label`` picks the stack whose label contains it."""
    headers = [read_image_header(path) for path in paths]
    stack = next(stack for stack in split_stacks(headers) if label in stack.label)
    by_instance = {header.sop_instance_uid: path for header, path in zip(headers, paths, strict=True)}
    return read_volume(stack, by_instance)


def finding(segment: Segment, series_type: SeriesType, mask: NDArray[np.bool_], grid: Grid) -> SegmentFinding:
    """Return the finding of a mask."""
    limits = METHOD_LIMITS_MM.get(segment)
    measured = measure(Volume(mask, grid), limits)
    return SegmentFinding(
        segment=segment,
        series_type=series_type,
        mask=Volume(mask, grid),
        probability=Volume(mask.astype(np.float32), grid),
        labels=measured.labels,
        lesions=measured.lesions,
        model=model_of(segment),
        size_limits_mm=limits,
        rule=RULE,
    )


def ball(grid: Grid, centre_lps: Sequence[float], diameter_mm: float) -> NDArray[np.bool_]:
    """Return the voxels whose centres lie in a ball."""
    indices = np.indices(grid.shape).reshape(3, -1).T
    distance = np.linalg.norm(grid.to_lps(indices) - np.asarray(centre_lps), axis=1)
    return np.asarray(distance <= diameter_mm / 2).reshape(grid.shape)


BALLS: Mapping[Segment, tuple[tuple[tuple[float, float, float], float], ...]] = {
    Segment.WMH: (((30.0, 20.0, 10.0), 18.0), ((-35.0, 10.0, 20.0), 14.0), ((25.0, -40.0, 15.0), 13.0)),
    Segment.LACUNE: (((18.0, 5.0, 2.0), 13.0),),
    Segment.INFARCT: (((-22.0, 12.0, 8.0), 26.0),),
    Segment.MICROBLEED: (((40.0, -20.0, 5.0), 13.0), ((-38.0, -25.0, 25.0), 13.0)),
}
"""Where the lesions of ``four_series`` lie: centre in LPS mm and diameter in mm."""


@dataclass(frozen=True)
class ResultStudy:
    """What results are made of."""

    findings: StudyFindings
    sources: Mapping[SeriesType, SourceVolume]
    paths: Mapping[SeriesType, Sequence[Path]] = field(default_factory=dict)


def four_series(
    folder: Path,
    *,
    patient: Patient = DEMO_PATIENT,
    lesions: Mapping[Segment, Sequence[tuple[tuple[float, float, float], float]]] = BALLS,
    left_out: Sequence[SeriesType] = (),
) -> ResultStudy:
    """Write four axial classic Series on four grids and paint lesions into their masks."""
    sources, paths = {}, {}
    for number, kind in enumerate(SeriesType, 1):
        if kind in left_out:
            continue
        shape = (20, 96 + 4 * number, 104)
        volume = phantom_volume(
            PhantomKind(kind.value), phantom_grid(shape, SPACING_MM[kind], centre_lps=(1.0, 3.0, 5.0))
        )
        paths[kind] = write_series(
            volume, PATTERN_OF[kind], folder, study_uid=STUDY_UID,
            frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=number, order="shuffled",
            seed=number, patient=patient,
        )  # fmt: skip
        sources[kind] = source_from(paths[kind])
    return ResultStudy(findings_on(sources, lesions), sources, paths)


def findings_on(
    sources: Mapping[SeriesType, SourceVolume],
    lesions: Mapping[Segment, Sequence[tuple[tuple[float, float, float], float]]] = BALLS,
) -> StudyFindings:
    """Return balls as findings on the sources there are, and on the T2-FLAIR together."""
    found, combined = [], {}
    for segment, kind in SERIES_OF.items():
        if kind not in sources:
            continue
        grid = sources[kind].volume.grid
        painted = finding(segment, kind, _balls(grid, lesions.get(segment, ())), grid)
        seen = tuple(other for other in SEEN_BESIDE.get(segment, ()) if other in sources)
        found.append(replace(painted, other_inputs=seen))
        if SeriesType.T2_FLAIR in sources:
            flair = sources[SeriesType.T2_FLAIR].volume.grid
            combined[segment] = Volume(_balls(flair, lesions.get(segment, ())), flair)
    absent = [segment for segment, kind in SERIES_OF.items() if kind not in sources]
    return StudyFindings(
        findings=tuple(found),
        not_assessed=tuple(
            NotAssessed(segment, f"No Series was recognised as {SERIES_OF[segment].value}.")
            for segment in absent
        ),
        registrations=(
            RegistrationRecord(
                SeriesType.T2_FLAIR, SeriesType.T1, np.eye(4), 1.25, 2.5, True, "Mutual information rose."
            ),
            RegistrationRecord(
                SeriesType.T2_FLAIR,
                SeriesType.DWI_B1000,
                np.eye(4),
                31.0,
                4.0,
                False,
                "Rotation of 31° is implausible.",
            ),
        ),
        exclusions=(
            ExclusionRecord(Segment.WMH, Segment.INFARCT, True, 12, 0.23),
            ExclusionRecord(Segment.LACUNE, Segment.INFARCT, False, 0, 0.0, "Infarcts were not assessed."),
        ),
        combined=combined,
        remarks=("The T1 covers less of the head than the T2-FLAIR.",),
    )


def _balls(grid: Grid, balls: Sequence[tuple[tuple[float, float, float], float]]) -> NDArray[np.bool_]:
    mask = np.zeros(grid.shape, dtype=bool)
    for centre, diameter in balls:
        mask |= ball(grid, centre, diameter)
    return mask
