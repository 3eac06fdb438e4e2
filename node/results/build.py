"""From findings to finished result objects, in the forms that somebody wants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.results.encapsulated_pdf import encapsulated_pdf
from node.results.errors import InvalidContextError
from node.results.forms import (
    DEFAULT_CHOICE,
    ENCODINGS,
    Form,
    FormChoice,
    Masks,
    mask_role,
    name_of,
)
from node.results.key_images import key_images
from node.results.making import Making, NotMade
from node.results.one_patient import headers_of_one_patient
from node.results.presentation_states import presentation_states
from node.results.result_object import ResultObject
from node.results.segmentations import (
    SourceSeries,
    combined_references,
    combined_segmentation,
    segmentation_of,
)
from node.results.source_header import SourceHeader
from node.results.sr import ReportPlan, build_report

SegmentationsBySegment = Mapping[Segment | None, ResultObject]
"""The Segmentations of one encoding; None stands for the combined one."""


def build_results(
    findings: StudyFindings,
    sources: Mapping[SeriesType, SourceVolume],
    context: EvaluationContext,
    choices: Collection[FormChoice] = (DEFAULT_CHOICE,),
    headers: Mapping[SeriesType, SourceHeader] | None = None,
    not_made: list[NotMade] | None = None,
) -> tuple[ResultObject, ...]:
    """Encode findings in every form that any of the choices wants, and in no other.

    Args:
        findings: masks on the grids of their Series; ``combined`` on that of the T2-FLAIR.
        sources: the volumes they were found on; their files must still be there.
        context: of the evaluation; equal arguments give equal bytes.
        choices: what is wanted; a form that several want is made once.
        headers: of ``headers_of_one_patient``; read if None, which opens every file of the sources.
        not_made: gets what cannot be made; the results made after it say so, and none refers to it. Without
            it the first such fault is raised.

    Returns: for each encoding the Segmentations in the order of ``Segment``, then the combined one; then the
        reports, presentation states, key images and the PDF: nothing refers to what comes after it.

    Raises:
        ResultError: of the class that names what is wrong with context, sources or masks, if that may pass by
            itself, or nothing could be made at all.
    """
    if not sources:
        raise InvalidContextError(context.study_uid, "there is no source Series")
    if headers is None:
        headers, _ = headers_of_one_patient(sources, context.study_uid)
    series = SourceSeries(sources, headers)
    making = Making(context.study_uid, not_made)
    masks = {
        encoding: _segmentations(findings, encoding, choices, series, context, making)
        for encoding in ENCODINGS
    }
    findings = replace(findings, remarks=(*findings.remarks, *making.remarks))
    _make_reports(findings, masks, choices, series, context, making)
    _make_pictures(findings, choices, series, context, making)
    if not_made and not making.made:
        raise not_made[0].error
    return tuple(making.made)


def _segmentations(
    findings: StudyFindings,
    encoding: Form,
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
    making: Making,
) -> SegmentationsBySegment:
    wanted = {choice.masks_of(bool(findings.combined)) for choice in choices if choice.encoding is encoding}
    made: dict[Segment | None, ResultObject] = {}

    def make(segment: Segment | None, build: Callable[[], ResultObject]) -> None:
        name = name_of(mask_role(encoding, segment))
        made.update((segment, one) for one in making.make(encoding, lambda: [build()], name))

    if wanted & {Masks.PER_SERIES, Masks.BOTH}:
        for found in findings.findings:
            make(found.segment, partial(segmentation_of, found, encoding, series, context))
    if wanted & {Masks.COMBINED, Masks.BOTH} and findings.combined:
        make(None, partial(combined_segmentation, findings, encoding, series, context))
    return made


def _make_reports(
    findings: StudyFindings,
    masks: Mapping[Form, SegmentationsBySegment],
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
    making: Making,
) -> None:
    first = next(kind for kind in SeriesType if kind in series.volumes)
    wanted = {choice.report_role: choice for choice in choices if Form.REPORT in choice.forms}

    def report(role: str, choice: FormChoice) -> list[ResultObject]:
        made = {} if choice.encoding is None else masks[choice.encoding]
        plan = _plan(role, choice.masks_of(bool(findings.combined)), findings, made)
        dataset = build_report(findings, series.volumes, plan, series.headers[first], context)
        return [ResultObject(role, dataset)]

    for role, choice in sorted(wanted.items()):
        making.make(Form.REPORT, partial(report, role, choice))


def _make_pictures(
    findings: StudyFindings,
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
    making: Making,
) -> None:
    wanted = {form for choice in choices for form in choice.forms}
    if Form.PRESENTATION_STATE in wanted:
        making.make(Form.PRESENTATION_STATE, lambda: presentation_states(findings, series, context))
    if Form.KEY_IMAGES in wanted:
        making.make(Form.KEY_IMAGES, lambda: key_images(findings, series, context))
    if Form.PDF in wanted:
        making.make(Form.PDF, lambda: [encapsulated_pdf(findings, series, context)])


def _plan(role: str, masks: Masks, findings: StudyFindings, made: SegmentationsBySegment) -> ReportPlan:
    """Say where a report finds each segment, and which further Segmentations its readers have."""
    combined = made.get(None)
    if masks is Masks.COMBINED:
        references = combined_references(findings, combined) if combined else {}
        return ReportPlan(role, references, is_on_one_grid=combined is not None)
    segments = {segment: one.segment(1) for segment, one in made.items() if segment is not None}
    others = [combined.segment(1)] if combined is not None and masks is Masks.BOTH else []
    return ReportPlan(role, segments, others)
