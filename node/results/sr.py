"""The findings of a Study as one Comprehensive 3D SR with a Measurement Report (TID 1500) as its content.

Verification Flag is UNVERIFIED and Preliminary Flag PRELIMINARY: no person has looked at it. Completion Flag
is PARTIAL if any segment was not assessed.

Source: PS3.3 A.35.13 (Comprehensive 3D SR IOD), C.17; PS3.16 TID 1500, TID 1600, TID 1001, TID 1004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from node.model import FrameReference, SourceVolume
from node.results import codes, texts
from node.results.content_items import (
    HAS_ACQ_CONTEXT,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    ContentItem,
    code,
    container,
    document,
    image,
    number,
    text,
    uid_reference,
)
from node.results.context import PRODUCT_NAME, EvaluationContext, SupersededReport
from node.results.equipment import private_scheme, stamp
from node.results.explicit_vr import encoded_sequence
from node.results.measurement_groups import lesion_group, summary_group
from node.results.references import SegmentReference, by_series, frame_numbers, instances_of, study_item
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.source_header import SourceHeader
from node.results.texts import ascii_text
from node.results.uids import node_device_uid, result_instance_uid, result_series_uid

SERIES_NUMBER = 9010
MEASUREMENT_REPORT_TEMPLATE = "1500"
_PREDECESSORS, _EVIDENCE = 0x0040A360, 0x0040A375
"""Predecessor Documents Sequence, Current Requested Procedure Evidence Sequence."""

ON_ONE_GRID = (
    "Numbers were measured on the masks of each Series; the segments referred to are these masks brought "
    "onto the T2-FLAIR, whose voxels give other numbers"
)
"""Said where the readers have the combined masks only."""

WITHOUT_MASKS = "This report goes without segmentations: the masks are kept where they were measured"
"""Said where the readers have no masks."""


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """Which masks the readers of a report have; it refers to those and to no others.

    Attributes:
        role: distinguishes it from the other results of its evaluation.
        segments: where the mask of each assessed segment lies; empty if the readers have no masks.
        others: further Segmentations of this evaluation, named as evidence.
        is_on_one_grid: whether ``segments`` are those that were brought onto the T2-FLAIR.
    """

    role: str
    segments: Mapping[Segment, SegmentReference]
    others: Sequence[SegmentReference] = ()
    is_on_one_grid: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of this report must know about its masks."""
        if self.is_on_one_grid:
            return (ON_ONE_GRID,)
        return () if self.segments else (WITHOUT_MASKS,)


def build_report(
    findings: StudyFindings,
    sources: Mapping[SeriesType, SourceVolume],
    plan: ReportPlan,
    header: SourceHeader,
    context: EvaluationContext,
) -> Dataset:
    """Write the report.

    Args:
        findings: what was found.
        sources: what it was found on.
        plan: which masks it refers to.
        header: what is taken over from a source.
        context: of the evaluation.
    """
    report = document(
        codes.MEASUREMENT_REPORT,
        [
            code(codes.LANGUAGE, codes.ENGLISH, HAS_CONCEPT_MOD),
            *_observer(context),
            code(codes.PROCEDURE_REPORTED, codes.MR_BRAIN, HAS_CONCEPT_MOD),
            _image_library(sources),
            *_measurements(findings, sources, plan, context),
            _statements(findings, plan, context),
        ],
        MEASUREMENT_REPORT_TEMPLATE,
    )
    _set_document(report, findings, plan, context)
    evidence = _evidence(sources, [*plan.segments.values(), *plan.others], context)
    report[_EVIDENCE] = encoded_sequence(_EVIDENCE, [evidence])
    report.CodingSchemeIdentificationSequence = [private_scheme(context)]
    superseded = context.superseded_by(plan.role)
    if superseded:
        report[_PREDECESSORS] = encoded_sequence(_PREDECESSORS, [_predecessors(superseded, context)])
    stamp(report, header, context, dict.fromkeys(found.model for found in findings.findings))
    return report


def _observer(context: EvaluationContext) -> list[ContentItem]:
    named = (
        (codes.DEVICE_OBSERVER_NAME, context.ae_title),
        (codes.DEVICE_OBSERVER_MANUFACTURER, context.manufacturer),
        (codes.DEVICE_OBSERVER_MODEL, f"{PRODUCT_NAME} {context.software_version}"),
        (codes.DEVICE_OBSERVER_SERIAL_NUMBER, context.station_name),
    )
    return [
        code(codes.OBSERVER_TYPE, codes.DEVICE, HAS_OBS_CONTEXT),
        uid_reference(codes.DEVICE_OBSERVER_UID, node_device_uid(context), HAS_OBS_CONTEXT),
        *(text(name, ascii_text(value), HAS_OBS_CONTEXT) for name, value in named),
    ]


def _image_library(sources: Mapping[SeriesType, SourceVolume]) -> ContentItem:
    """Return the library with one group a Series; what a Series has in common stands once in its group."""
    groups = [_library_group(sources[kind]) for kind in SeriesType if kind in sources]
    return container(codes.IMAGE_LIBRARY, groups)


def _library_group(source: SourceVolume) -> ContentItem:
    _, rows, columns = source.volume.grid.shape
    return container(
        codes.IMAGE_LIBRARY_GROUP,
        [
            code(codes.MODALITY, codes.MAGNETIC_RESONANCE, HAS_ACQ_CONTEXT),
            code(codes.TARGET_REGION, codes.HEAD, HAS_ACQ_CONTEXT),
            uid_reference(codes.FRAME_OF_REFERENCE_UID, source.frame_of_reference_uid, HAS_ACQ_CONTEXT),
            number(codes.PIXEL_DATA_ROWS, rows, codes.PIXELS, relationship=HAS_ACQ_CONTEXT),
            number(codes.PIXEL_DATA_COLUMNS, columns, codes.PIXELS, relationship=HAS_ACQ_CONTEXT),
            *(
                image(
                    codes.SOURCE,
                    instance.sop_class_uid,
                    instance.sop_instance_uid,
                    frame_numbers(source, instance.sop_instance_uid),
                )
                for instance in instances_of(source)
            ),
        ],
    )


def _measurements(
    findings: StudyFindings,
    sources: Mapping[SeriesType, SourceVolume],
    plan: ReportPlan,
    context: EvaluationContext,
) -> list[ContentItem]:
    """Return the container of all measurement groups, or nothing if no segment was assessed."""
    groups: list[ContentItem] = []
    for finding in findings.findings:
        reference = plan.segments.get(finding.segment)
        groups.append(summary_group(finding, reference, sources, context))
        groups += [lesion_group(finding, lesion, reference, sources, context) for lesion in finding.lesions]
    return [container(codes.IMAGING_MEASUREMENTS, groups)] if groups else []


def _statements(findings: StudyFindings, plan: ReportPlan, context: EvaluationContext) -> ContentItem:
    """Return what a reader must know beside the numbers: what was not assessed, and sentences.

    A segment that was not assessed has no measurement group: it would have no region and no number to hold.
    """
    not_evaluated = [
        code(SEGMENT_CONCEPTS[one.segment].finding, codes.NOT_EVALUATED) for one in findings.not_assessed
    ]
    said = [
        (codes.REVIEW_STATUS, f"{texts.NOT_REVIEWED}. Not for diagnosis without a radiologist's review."),
        *((codes.SUPERSEDED, texts.superseded(one)) for one in context.superseded_by(plan.role)),
        *((codes.SERIES_SELECTION, texts.statement(sentence)) for sentence in context.selection),
        *((codes.REGISTRATION_APPLIED, texts.registration(one)) for one in findings.registrations),
        *((codes.EXCLUSION_APPLIED, texts.exclusion(one)) for one in findings.exclusions),
        *((codes.NOT_ASSESSED, texts.not_assessed(one.segment, one.reason)) for one in findings.not_assessed),
        *((codes.REMARK, sentence) for sentence in (*texts.remarks(findings), *plan.remarks)),
    ]
    sentences = [text(name, sentence) for name, sentence in said]
    return container(codes.QUALITATIVE_EVALUATIONS, [*not_evaluated, *sentences])


def _set_document(
    report: Dataset, findings: StudyFindings, plan: ReportPlan, context: EvaluationContext
) -> None:
    report.SOPClassUID = Comprehensive3DSRStorage
    report.SOPInstanceUID = result_instance_uid(context, plan.role)
    report.StudyInstanceUID = context.study_uid
    report.SeriesInstanceUID = result_series_uid(context, plan.role)
    report.Modality, report.SeriesNumber, report.InstanceNumber = "SR", SERIES_NUMBER, 1
    absent = len(findings.not_assessed)
    # Viewers that show only what has a place in an image say of these segments nothing else.
    incomplete = f", {absent} of {len(Segment)} not assessed" if absent else ""
    report.SeriesDescription = f"CSVD findings{incomplete} ({texts.NOT_REVIEWED})"
    report.CompletionFlag = "PARTIAL" if absent else "COMPLETE"
    if absent:
        report.CompletionFlagDescription = "Some segments were not assessed"
    report.VerificationFlag, report.PreliminaryFlag = "UNVERIFIED", "PRELIMINARY"
    report.PerformedProcedureCodeSequence = []
    report.ReferencedPerformedProcedureStepSequence = []


def _evidence(
    sources: Mapping[SeriesType, SourceVolume],
    segmentations: Sequence[SegmentReference],
    context: EvaluationContext,
) -> bytes:
    """List every Instance that the report refers to or that was made with it."""
    made = {reference.series_uid: [reference.instance] for reference in segmentations}
    return study_item(context.study_uid, by_series(sources.values()) | made)


def _predecessors(superseded: Sequence[SupersededReport], context: EvaluationContext) -> bytes:
    earlier: dict[str, list[FrameReference]] = {}
    for old in superseded:
        reference = FrameReference(old.sop_class_uid, old.sop_instance_uid, None)
        earlier.setdefault(old.series_uid, []).append(reference)
    return study_item(context.study_uid, earlier)
