"""One Study for a terminal, and as values for JSON: where it is, and what each Series was taken for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from rich.text import Text

from node.evaluations import Evaluation
from node.studies_report import render_studies, to_record
from node.study_view import SeriesLine, StudyView


def render_study(view: StudyView) -> Text:
    """Show a Study as the list does, then its evaluations and its Series."""
    return Text("\n").join([render_studies([view.row]), *map(Text, _lines(view))])


def study_record(view: StudyView) -> dict[str, object]:
    """Return what is known of a Study as values that JSON can hold; times in ISO 8601."""
    return {
        **to_record(view.row),
        "evaluations": [
            {"number": one.number, "run": one.run, "state": one.state.value, "reason": one.reason}
            for one in view.evaluations
        ],
        "series": [asdict(line) for line in view.series],
        "findings": view.findings and view.findings.model_dump(mode="json"),
    }


def _lines(view: StudyView) -> Iterator[str]:
    yield from map(_evaluation_line, view.evaluations)
    for line in view.series:
        yield from _series_lines(line)
    if not view.series:
        yield "No evaluation has looked at its Series yet."


def _evaluation_line(evaluation: Evaluation) -> str:
    said = evaluation.reason or evaluation.progress
    return f"Evaluation {evaluation.number}, run {evaluation.run}: {evaluation.state.value}. {said}".rstrip()


def _series_lines(line: SeriesLine) -> Iterator[str]:
    number = "without number" if line.series_number is None else str(line.series_number)
    label = f" [{line.label}]" if line.label else ""
    yield f"Series {number}, {line.series_uid}{label}: {line.kind}, {line.outcome}. {line.reason}"
    yield f"    {line.slices} slices; {'; '.join(line.evidence)}"
