"""What goes beside the DICOM results: summary, choice of Series and pictures, for people and programs."""

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

KEPT = "findings.npz"
"""What pictures can be drawn of later."""

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


def companions(assessment: Assessment) -> Iterator[Companion]:
    """Make summary and record of the findings, the record of the chosen Series, and a picture of overlays."""
    yield Companion("findings.txt", _summary(assessment).encode())
    yield Companion("findings.json", record_findings(assessment.findings).model_dump_json(indent=2).encode())
    record = json.dumps(assessment.selection.to_record(), indent=2)
    yield Companion("selection.json", record.encode())
    yield Companion("overlays.png", overlay_sheet(assessment.findings, assessment.sources))


def _summary(assessment: Assessment) -> str:
    text = StringIO()
    console = Console(file=text, width=SUMMARY_WIDTH, color_system=None, legacy_windows=False)
    console.print(render_findings(assessment.findings))
    return text.getvalue()
