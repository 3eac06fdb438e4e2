"""What a person reads in a terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from engines.findings import NotAssessed, StudyFindings
from engines.segments import Segment
from node.findings_report import render_findings


def shown(findings: StudyFindings) -> str:
    text = StringIO()
    Console(file=text, width=80, color_system=None).print(render_findings(findings))
    return text.getvalue()


def test_not_assessed_is_said_with_its_reason_and_never_as_zero() -> None:
    absent = tuple(NotAssessed(segment, f"no Series for {segment}") for segment in Segment)
    said = shown(StudyFindings((), absent))
    assert said.count("not assessed:") == 4
    assert "no Series for LACUNE" in said
    rows = [line for line in said.splitlines() if line.startswith("│")]
    assert len(rows) == 4
    assert all("not assessed" in row and "0" not in row for row in rows)
