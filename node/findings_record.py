"""The findings of a Study as values that JSON can hold: kept beside the results, shown on the pages."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment
from node.findings_report import size_counts
from node.results.texts import counted


class SegmentRecord(BaseModel):
    """What was found of one segment; without numbers, and with a reason, if it was not assessed.

    Attributes:
        segment: which.
        name: for people.
        not_assessed: why there is no finding; None if there is one.
        lesions: how many, None if not assessed: that is not zero.
        volume_ml: of all of them, ml.
        largest_mm: largest 3D diameter, mm; None without a lesion.
        sizes: lesions by size class.
        outside_limits: lesions outside the method's limits of size.
        series_type: which Series it was looked for on.
        other_inputs: which Series the model saw beside that one.
        model: who looked, and what ran it.
        counted: what that model counts as a lesion, for people.
        least_lesion_ml: the smallest lesion that it counts, ml; None where that was not kept.
    """

    model_config = ConfigDict(frozen=True)

    segment: Segment
    name: str
    not_assessed: str | None = None
    lesions: int | None = None
    volume_ml: float | None = None
    largest_mm: float | None = None
    sizes: dict[str, int] = {}
    outside_limits: int = 0
    series_type: str = ""
    other_inputs: tuple[str, ...] = ()
    model: str = ""
    counted: str = ""
    least_lesion_ml: float | None = None


class FindingsRecord(BaseModel):
    """All findings of a Study."""

    model_config = ConfigDict(frozen=True)

    segments: tuple[SegmentRecord, ...]
    remarks: tuple[str, ...] = ()


def record_findings(findings: StudyFindings) -> FindingsRecord:
    """Take down the findings, one record for each segment, in the order of ``Segment``."""
    reasons = {absent.segment: absent.reason for absent in findings.not_assessed}
    return FindingsRecord(segments=tuple(_segments(findings, reasons)), remarks=findings.remarks)


def _segments(findings: StudyFindings, reasons: dict[Segment, str]) -> Iterator[SegmentRecord]:
    for segment in Segment:
        found = findings.of(segment)
        if found is not None:
            yield _assessed(found)
        elif segment in reasons:
            yield SegmentRecord(segment=segment, name=segment.label, not_assessed=reasons[segment])


def _assessed(found: SegmentFinding) -> SegmentRecord:
    return SegmentRecord(
        segment=found.segment,
        name=found.segment.label,
        lesions=len(found.lesions),
        volume_ml=found.volume_ml,
        largest_mm=max((lesion.max_diameter_mm for lesion in found.lesions), default=None),
        sizes=size_counts(found.lesions),
        outside_limits=sum(not lesion.within_limits for lesion in found.lesions),
        series_type=found.series_type.value,
        other_inputs=tuple(kind.value for kind in found.other_inputs),
        model=f"{found.model.name} {found.model.version} ({found.model.runner})",
        counted=counted(found.rule) if found.rule else "",
        least_lesion_ml=found.rule.min_lesion_ml if found.rule else None,
    )
