"""What goes beside the DICOM results: choice of Series, summary and pictures, for people and programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from rich.console import Console

from node.assessment import Assessment
from node.findings_record import record_findings
from node.findings_report import render_findings
from node.results.pictures import overlay_sheet
from node.selection import Selection

KEPT = "findings.npz"
"""What pictures can be drawn of later."""

SELECTION = "selection.json"
"""What each Series was taken for, and why."""

SUMMARY_WIDTH = 120
"""Columns of the summary: wide enough that no cell of its table is broken."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A file without DICOM in it."""

    name: str
    content: bytes


def result_name(fingerprint: str, name: str) -> str:
    """Name a file of a run; one with other models writes beside what the one before made and sent."""
    return f"{fingerprint[:8]}-{name}"


def is_of_run(path: str, fingerprint: str) -> bool:
    """Tell whether a run with this fingerprint wrote a file of its evaluation."""
    return path.rpartition("/")[2].startswith(result_name(fingerprint, ""))


def selection_name(run: int) -> str:
    """Name the choice of Series of a run, which may fail before it has a result to lie beside."""
    return f"{run}-{SELECTION}"


def selection_content(selection: Selection) -> bytes:
    """Take down what each Series was taken for."""
    return json.dumps(selection.to_record(), indent=2).encode()


def companions(assessment: Assessment) -> Iterator[Companion]:
    """Make summary and record of the findings, and a picture of overlays."""
    yield Companion("findings.txt", _summary(assessment).encode())
    yield Companion("findings.json", record_findings(assessment.findings).model_dump_json(indent=2).encode())
    yield Companion("overlays.png", overlay_sheet(assessment.findings, assessment.sources))


def _summary(assessment: Assessment) -> str:
    text = StringIO()
    console = Console(file=text, width=SUMMARY_WIDTH, color_system=None, legacy_windows=False)
    console.print(render_findings(assessment.findings))
    return text.getvalue()
