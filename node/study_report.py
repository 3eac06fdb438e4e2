"""One Study for a terminal, and as values for JSON: where it is, and what each Series was taken for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from node.evaluations import Evaluation
from node.listing import StudyRow
from node.studies_report import render_studies, to_record
from node.study_view import StudyView


def render_study(view: StudyView) -> Text:
    """Show a Study as the list does, then its evaluations and its Series."""
    evaluations = "\n".join(_evaluation_line(one, view.row) for one in view.evaluations)
    parts = filter(None, (evaluations, "\n".join(_series_lines(view))))
    return Text("\n\n").join([render_studies([view.row]), *map(Text, parts)])


def study_record(view: StudyView) -> dict[str, object]:
    """Return what is known of a Study as values that JSON can hold; times in ISO 8601."""
    return {
        **to_record(view.row),
        "evaluations": [
            {"number": one.number, "run": one.run, "state": one.state.value, "reason": one.reason}
            for one in view.evaluations
        ],
        "series": [asdict(line) for line in view.series],
        "series_of_evaluation": view.series_of,
        "findings": view.findings and view.findings.model_dump(mode="json"),
    }


def _evaluation_line(evaluation: Evaluation, row: StudyRow) -> str:
    """Say how far an evaluation is, and why, unless the line of the list has just said it."""
    state = f"Evaluation {evaluation.number}, run {evaluation.run}: {evaluation.state.value}"
    said = evaluation.reason or evaluation.progress
    return state if said in ("", row.reason, row.progress) else f"{state}. {said}"


def _series_lines(view: StudyView) -> Iterator[str]:
    if view.series_of is None:
        yield "No evaluation got as far as to say what each Series is."
        return
    yield f"As evaluation {view.series_of} took the Series:"
    for line in view.series:
        number = "without number" if line.series_number is None else str(line.series_number)
        label = f" [{line.label}]" if line.label else ""
        yield f"Series {number}, {line.series_uid}{label}: {line.kind}, {line.outcome}. {line.reason}"
        yield f"    {line.slices} slices; {'; '.join(line.evidence)}"
