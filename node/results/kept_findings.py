"""Findings as bytes, kept so that pictures can be drawn of them later without segmenting again.

What pictures do not show is not kept: probabilities, and the masks brought onto the T2-FLAIR. Of the labels
only the voxels that lie in a lesion are. Nothing of the patient is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from engines.findings import (
    ExclusionRecord,
    Lesion,
    ModelIdentity,
    NotAssessed,
    RegistrationRecord,
    SegmentFinding,
    StudyFindings,
)
from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.model import FrameReference, SourceVolume
from node.results.context import EvaluationContext
from node.results.errors import KeptFindingsError

_RECORD = "record"
_Rows = tuple[tuple[float, ...], ...]


class KeptSource(BaseModel):
    """Which frames a volume was read from, and where they lie."""

    model_config = ConfigDict(frozen=True)

    series_type: SeriesType
    series_uid: str
    frames: tuple[FrameReference, ...]
    shape: tuple[int, int, int]
    affine: _Rows

    def is_of(self, source: SourceVolume) -> bool:
        """Say whether a volume is the one that the findings lie on."""
        grid = source.volume.grid
        return self.frames == source.frames and self.shape == grid.shape and self.affine == _rows(grid.affine)


class KeptFinding(BaseModel):
    """A finding without its arrays."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    segment: Segment
    series_type: SeriesType
    lesions: tuple[Lesion, ...]
    model: ModelIdentity
    size_limits_mm: tuple[float, float] | None
    rule: PostprocessingSpec | None = None


class KeptRegistration(BaseModel):
    """A registration with its transform as plain numbers."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    fixed: SeriesType
    moving: SeriesType
    fixed_to_moving: _Rows
    rotation_deg: float
    translation_mm: float
    applied: bool
    reason: str
    refused: bool
    shares_frame: bool = True


class KeptRecord(BaseModel):
    """All that is kept beside the labels."""

    model_config = ConfigDict(frozen=True)

    context: EvaluationContext
    sources: tuple[KeptSource, ...]
    findings: tuple[KeptFinding, ...]
    not_assessed: tuple[NotAssessed, ...]
    registrations: tuple[KeptRegistration, ...]
    exclusions: tuple[ExclusionRecord, ...]
    remarks: tuple[str, ...]


class KeptFindings:
    """What was read back of one evaluation.

    Args:
        record: all but the labels.
        labels: by segment, (2, voxels): flat index into the volume and number of the lesion.
    """

    def __init__(self, record: KeptRecord, labels: Mapping[Segment, NDArray[np.int64]]) -> None:
        self.record, self._labels = record, labels

    def on(self, sources: Mapping[SeriesType, SourceVolume]) -> StudyFindings:
        """Return the findings on the volumes that they were made on, read again."""
        record = self.record
        grids = {kind: source.volume.grid for kind, source in sources.items()}
        return StudyFindings(
            findings=tuple(self._finding(one, grids[one.series_type]) for one in record.findings),
            not_assessed=record.not_assessed,
            registrations=tuple(
                RegistrationRecord(**{**dict(one), "fixed_to_moving": np.array(one.fixed_to_moving)})
                for one in record.registrations
            ),
            exclusions=record.exclusions,
            remarks=record.remarks,
        )

    def _finding(self, kept: KeptFinding, grid: Grid) -> SegmentFinding:
        labels = np.zeros(grid.shape, dtype=np.int32)
        at, numbers = self._labels[kept.segment]
        labels.flat[at] = numbers
        unknown = np.broadcast_to(np.float32(np.nan), grid.shape)
        return SegmentFinding(
            **dict(kept), labels=labels, mask=Volume(labels > 0, grid), probability=Volume(unknown, grid)
        )


def keep_findings(
    findings: StudyFindings, sources: Mapping[SeriesType, SourceVolume], context: EvaluationContext
) -> bytes:
    """Encode findings, the frames they lie on and what results say of their making; equal gives equal.

    Args:
        findings: of one Study.
        sources: what they lie on.
        context: of the evaluation.
    """
    record = KeptRecord(
        context=context,
        sources=tuple(_kept_source(kind, source) for kind, source in sources.items()),
        findings=tuple(
            KeptFinding(**{name: getattr(found, name) for name in KeptFinding.model_fields})
            for found in findings.findings
        ),
        not_assessed=findings.not_assessed,
        registrations=tuple(
            KeptRegistration(**{**asdict(one), "fixed_to_moving": _rows(one.fixed_to_moving)})
            for one in findings.registrations
        ),
        exclusions=findings.exclusions,
        remarks=findings.remarks,
    )
    buffer = BytesIO()
    text = np.frombuffer(record.model_dump_json().encode(), dtype=np.uint8)
    labels: dict[str, Any] = {found.segment.value: _sparse(found.labels) for found in findings.findings}
    np.savez_compressed(buffer, allow_pickle=False, **{_RECORD: text, **labels})
    return buffer.getvalue()


def read_kept_findings(content: bytes, study_uid: str) -> KeptFindings:
    """Read what ``keep_findings`` wrote.

    Args:
        content: the bytes.
        study_uid: Study Instance UID, for the error.

    Raises:
        KeptFindingsError: if it is something else, or damaged.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as kept:
            record = KeptRecord.model_validate_json(kept[_RECORD].tobytes())
            labels = {found.segment: kept[found.segment.value] for found in record.findings}
    except (BadZipFile, EOFError, KeyError, OSError, ValidationError, ValueError) as error:
        raise KeptFindingsError(study_uid, "", f"what was kept is damaged: {type(error).__name__}") from error
    return KeptFindings(record, labels)


def _kept_source(kind: SeriesType, source: SourceVolume) -> KeptSource:
    grid = source.volume.grid
    return KeptSource(
        series_type=kind,
        series_uid=source.series_uid,
        frames=source.frames,
        shape=grid.shape,
        affine=_rows(grid.affine),
    )


def _rows(matrix: NDArray[np.float64]) -> _Rows:
    return tuple(tuple(float(value) for value in row) for row in matrix)


def _sparse(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    at = np.flatnonzero(labels)
    return np.stack([at, labels.ravel()[at]])
