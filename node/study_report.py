"""One Study for a terminal, and as values for JSON: where it is, and what each Series was taken for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from node.deliveries import Delivery
from node.evaluations import Evaluation, EvaluationState
from node.findings_record import SegmentRecord
from node.studies_report import render_studies, to_record
from node.study_view import StudyView
from node.words import delivered_form, delivery_state, next_attempt, number, series_name, volume


def render_study(view: StudyView) -> Text:
    """Show a Study as the list does, then its evaluations, findings, deliveries and Series."""
    evaluations = (_evaluation_line(one, view) for one in view.evaluations)
    blocks = (evaluations, _findings_lines(view), _delivery_lines(view), _series_lines(view))
    parts = filter(None, map("\n".join, blocks))
    return Text("\n\n").join([render_studies([view.row]), *map(Text, parts)])


def study_record(view: StudyView) -> dict[str, object]:
    """Return what is known of a Study as values that JSON can hold; times in ISO 8601."""
    return {
        **to_record(view.row),
        "senders": list(view.senders),
        "evaluations": [
            {"number": one.number, "run": one.run, "state": one.state.value, "reason": one.reason}
            for one in view.evaluations
        ],
        "series": [asdict(line) for line in view.series],
        "series_of_evaluation": view.series_of,
        "findings": view.findings and view.findings.model_dump(mode="json"),
        "deliveries": [_delivery_record(one) for one in view.deliveries],
    }


def _delivery_record(delivery: Delivery) -> dict[str, object]:
    times = {
        name: getattr(delivery, name)
        for name in ("first_queued_at", "last_attempt_at", "next_attempt_at", "sent_at", "committed_at")
    }
    return {
        "destination": delivery.destination,
        "sop_instance_uid": delivery.sop_instance_uid,
        "kind": delivery.kind,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_comment": delivery.last_comment,
        **{name: time and time.isoformat() for name, time in times.items()},
    }


def _evaluation_line(evaluation: Evaluation, view: StudyView) -> str:
    """Say how far an evaluation is, and why, unless the line of the list has just said it."""
    state = f"Evaluation {evaluation.number}, run {evaluation.run}: {evaluation.state.value}"
    return ". ".join(filter(None, (state, view.why(evaluation))))


def _findings_lines(view: StudyView) -> Iterator[str]:
    if view.findings is None:
        return
    earlier = view.evaluations[-1].state is not EvaluationState.EVALUATED
    yield f"Findings{' of an earlier evaluation' if earlier else ''} (AI result, not reviewed):"
    yield from map(_segment_line, view.findings.segments)
    yield from view.findings.remarks


def _segment_line(segment: SegmentRecord) -> str:
    if segment.not_assessed is not None:
        return f"{segment.name}: not assessed. {segment.not_assessed}"
    largest = f", largest {number(segment.largest_mm, 1)} mm in 3D" if segment.largest_mm else ""
    sizes = ", ".join(f"{count} {size}" for size, count in segment.sizes.items())
    outside = f"; {segment.outside_limits} outside the method's limits" if segment.outside_limits else ""
    seen = " and ".join(map(series_name, (segment.series_type, *segment.other_inputs)))
    by = f" by {segment.model}" if segment.model else ""
    rule = f"; a lesion: {segment.counted}" if segment.counted else ""
    lesions = "1 lesion" if segment.lesions == 1 else f"{segment.lesions} lesions"
    return (
        f"{segment.name}: {lesions}, {volume(segment.volume_ml)} ml{largest}"
        f"{f' ({sizes}{outside})' if sizes else ''}, on {seen}{by}{rule}"
    )


def _delivery_lines(view: StudyView) -> Iterator[str]:
    """Say what became of the deliveries, those together that came to the same."""
    if not view.deliveries:
        return
    came_to: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in view.deliveries:
        came_to[one.destination, _outcome(one)].append(delivered_form(one))
    yield "Deliveries:"
    for (destination, outcome), forms in came_to.items():
        counted = (f"{forms.count(form)} x {form}" for form in dict.fromkeys(forms))
        yield f"{destination}: {', '.join(counted)}: {outcome}"


def _outcome(delivery: Delivery) -> str:
    said = ". ".join(filter(None, (delivery_state(delivery), delivery.last_comment)))
    if delivery.attempts and delivery.next_attempt_at is not None:
        return f"{said} ({next_attempt(delivery.state, delivery.attempts, delivery.next_attempt_at)})"
    return said


def _series_lines(view: StudyView) -> Iterator[str]:
    if view.series_of is None:
        yield "No evaluation got as far as to say what each Series is."
        return
    yield f"As evaluation {view.series_of} took the Series:"
    for line in view.series:
        which = "without number" if line.series_number is None else str(line.series_number)
        label = f" [{line.label}]" if line.label else ""
        yield f"Series {which}, {line.series_uid}{label}: {line.kind}, {line.outcome}. {line.reason}"
        yield f"    {line.slices} slices; {'; '.join(line.evidence)}"
