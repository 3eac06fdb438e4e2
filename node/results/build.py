"""From findings to finished result objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydicom import Dataset

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.results.errors import InvalidContextError, MissingSourceError
from node.results.one_patient import one_patient
from node.results.references import SegmentReference
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation, mask_on_source
from node.results.segment_concepts import SEGMENT_CONCEPTS, SERIES_NAMES
from node.results.source_header import SourceHeader, read_source_header
from node.results.sr import ROLE as REPORT_ROLE
from node.results.sr import build_report
from node.results.texts import NOT_REVIEWED

COMBINED_ROLE = "seg-combined"
_FIRST_SERIES_NUMBER, _COMBINED_SERIES_NUMBER = 9001, 9005
"""High enough not to mix with the Series of a scanner."""


@dataclass(frozen=True, slots=True)
class ResultObject:
    """A result, ready to be written.

    Attributes:
        role: what it is within its evaluation: "seg-WMH", "seg-combined", "sr"; usable as a file name.
        dataset: with file meta information; Explicit VR Little Endian.
    """

    role: str
    dataset: Dataset

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID."""
        return str(self.dataset.SOPClassUID)

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return str(self.dataset.SeriesInstanceUID)


def build_results(
    findings: StudyFindings, sources: Mapping[SeriesType, SourceVolume], context: EvaluationContext
) -> tuple[ResultObject, ...]:
    """Encode findings as one Segmentation a segment, one with all of them, and a report.

    Args:
        findings: masks on the grids of their Series; ``combined`` on that of the T2-FLAIR.
        sources: the volumes they were found on; their files must still be there.
        context: of the evaluation; equal arguments give equal bytes.

    Returns: the Segmentations, in the order of ``Segment``, then the combined one if there is a T2-FLAIR,
        then the report, so that nothing refers to what comes after it.

    Raises:
        ResultError: of the class that names what is wrong with context, sources or masks.
    """
    if not sources:
        raise InvalidContextError(context.study_uid, "there is no source Series")
    headers, remarks = one_patient(
        {kind: read_source_header(source, context.study_uid) for kind, source in sources.items()},
        context.study_uid,
    )
    findings = replace(findings, remarks=(*findings.remarks, *remarks))
    objects: list[ResultObject] = []
    segments: dict[Segment, SegmentReference] = {}
    for finding in findings.findings:
        made = _segmentation_of(finding, sources, headers, context)
        objects.append(made)
        segments[finding.segment] = _reference(made)
    combined = _combined(findings, sources, headers, context)
    objects += combined
    first = next(kind for kind in SeriesType if kind in sources)
    others = [_reference(made) for made in combined]
    report = build_report(findings, sources, segments, others, headers[first], context)
    return (*objects, ResultObject(REPORT_ROLE, report))


def _reference(made: ResultObject) -> SegmentReference:
    return SegmentReference(made.sop_class_uid, made.sop_instance_uid, made.series_uid, 1)


def _segmentation_of(
    finding: SegmentFinding,
    sources: Mapping[SeriesType, SourceVolume],
    headers: Mapping[SeriesType, SourceHeader],
    context: EvaluationContext,
) -> ResultObject:
    if finding.series_type not in sources:
        raise MissingSourceError(context.study_uid, finding.segment.value, finding.series_type.value)
    source, concept = sources[finding.series_type], SEGMENT_CONCEPTS[finding.segment]
    mask = mask_on_source(finding.segment, finding.mask.array, finding.mask.grid, source)
    plan = SegmentationPlan(
        f"seg-{finding.segment.value}",
        _FIRST_SERIES_NUMBER + list(Segment).index(finding.segment),
        f"{concept.label} ({NOT_REVIEWED})",
        concept.content_label,
        (SegmentMask(finding.segment, mask, finding.model),),
    )
    return ResultObject(plan.role, build_segmentation(plan, source, headers[finding.series_type], context))


def _combined(
    findings: StudyFindings,
    sources: Mapping[SeriesType, SourceVolume],
    headers: Mapping[SeriesType, SourceHeader],
    context: EvaluationContext,
) -> list[ResultObject]:
    """Return the Segmentation of all segments on the T2-FLAIR, or nothing without one."""
    masks = [
        (finding, findings.combined[finding.segment])
        for finding in findings.findings
        if finding.segment in findings.combined
    ]
    if not masks:
        return []
    if SeriesType.T2_FLAIR not in sources:
        raise MissingSourceError(context.study_uid, "the combined mask", SeriesType.T2_FLAIR.value)
    source = sources[SeriesType.T2_FLAIR]
    plan = SegmentationPlan(
        COMBINED_ROLE,
        _COMBINED_SERIES_NUMBER,
        f"All on {SERIES_NAMES[SeriesType.T2_FLAIR]} ({NOT_REVIEWED})",
        "CSVD_COMBINED",
        tuple(
            SegmentMask(
                finding.segment,
                mask_on_source(finding.segment, mask.array, mask.grid, source),
                finding.model,
            )
            for finding, mask in masks
        ),
    )
    return [ResultObject(plan.role, build_segmentation(plan, source, headers[SeriesType.T2_FLAIR], context))]
