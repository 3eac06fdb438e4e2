"""From findings to finished result objects, in the forms that somebody wants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.results.encapsulated_pdf import encapsulated_pdf
from node.results.errors import InvalidContextError
from node.results.forms import DEFAULT_CHOICE, ENCODINGS, Form, FormChoice, Masks
from node.results.key_images import key_images
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
) -> tuple[ResultObject, ...]:
    """Encode findings in every form that any of the choices wants, and in no other.

    Args:
        findings: masks on the grids of their Series; ``combined`` on that of the T2-FLAIR.
        sources: the volumes they were found on; their files must still be there.
        context: of the evaluation; equal arguments give equal bytes.
        choices: what is wanted; a form that several want is made once.
        headers: of ``headers_of_one_patient``; read if None, which opens every file of the sources.

    Returns: for each encoding the Segmentations in the order of ``Segment``, then the combined one; then the
        reports, presentation states, key images and the PDF: nothing refers to what comes after it.

    Raises:
        ResultError: of the class that names what is wrong with context, sources or masks.
    """
    if not sources:
        raise InvalidContextError(context.study_uid, "there is no source Series")
    if headers is None:
        headers, _ = headers_of_one_patient(sources, context.study_uid)
    series = SourceSeries(sources, headers)
    masks = {encoding: _segmentations(findings, encoding, choices, series, context) for encoding in ENCODINGS}
    segmentations = [made for of_encoding in masks.values() for made in of_encoding.values()]
    reports = _reports(findings, masks, choices, series, context)
    return (*segmentations, *reports, *_pictures(findings, choices, series, context))


def _segmentations(
    findings: StudyFindings,
    encoding: Form,
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
) -> SegmentationsBySegment:
    wanted = {choice.masks_of(bool(findings.combined)) for choice in choices if choice.encoding is encoding}
    made: dict[Segment | None, ResultObject] = {}
    if wanted & {Masks.PER_SERIES, Masks.BOTH}:
        for found in findings.findings:
            made[found.segment] = segmentation_of(found, encoding, series, context)
    if wanted & {Masks.COMBINED, Masks.BOTH} and findings.combined:
        made[None] = combined_segmentation(findings, encoding, series, context)
    return made


def _reports(
    findings: StudyFindings,
    masks: Mapping[Form, SegmentationsBySegment],
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
) -> Iterator[ResultObject]:
    first = next(kind for kind in SeriesType if kind in series.volumes)
    wanted = {choice.report_role: choice for choice in choices if Form.REPORT in choice.forms}
    for role, choice in sorted(wanted.items()):
        made = {} if choice.encoding is None else masks[choice.encoding]
        plan = _plan(role, choice.masks_of(bool(findings.combined)), findings, made)
        yield ResultObject(role, build_report(findings, series.volumes, plan, series.headers[first], context))


def _pictures(
    findings: StudyFindings,
    choices: Collection[FormChoice],
    series: SourceSeries,
    context: EvaluationContext,
) -> Iterator[ResultObject]:
    wanted = {form for choice in choices for form in choice.forms}
    if Form.PRESENTATION_STATE in wanted:
        yield from presentation_states(findings, series, context)
    if Form.KEY_IMAGES in wanted:
        yield from key_images(findings, series, context)
    if Form.PDF in wanted:
        yield encapsulated_pdf(findings, series, context)


def _plan(role: str, masks: Masks, findings: StudyFindings, made: SegmentationsBySegment) -> ReportPlan:
    """Say where a report finds each segment, and which further Segmentations its readers have."""
    combined = made.get(None)
    if masks is Masks.COMBINED and combined is not None:
        return ReportPlan(role, combined_references(findings, combined), is_on_one_grid=True)
    segments = {segment: one.segment(1) for segment, one in made.items() if segment is not None}
    others = [combined.segment(1)] if combined is not None and masks is Masks.BOTH else []
    return ReportPlan(role, segments, others)
