"""What a person reads in a terminal."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
from rich.console import Console

from engines.findings import (
    ExclusionRecord,
    Lesion,
    NotAssessed,
    RegistrationRecord,
    SizeClass,
    StudyFindings,
)
from engines.segments import Segment, SeriesType
from engines.volume import Grid
from node.findings_record import record_findings
from node.findings_report import render_findings, size_counts
from node.results.texts import counted
from tests.support.result_studies import RULE, finding


def shown(findings: StudyFindings, width: int = 100) -> str:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(render_findings(findings))
    return text.getvalue()


def test_not_assessed_is_said_with_its_reason_and_never_as_zero() -> None:
    absent = tuple(NotAssessed(segment, f"no Series for {segment}") for segment in Segment)
    said = shown(StudyFindings((), absent))
    assert said.count("not assessed:") == 4
    assert "no Series for LACUNE" in said
    rows = [line for line in said.splitlines() if line.startswith("│")]
    assert len(rows) == 4
    assert all("not assessed" in row and "0" not in row for row in rows)


def test_table_shows_every_size_in_a_terminal_of_80_columns() -> None:
    grid = Grid((4, 40, 40), np.diag([5.0, 3.0, 3.0, 1.0]))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[1, :2, :2] = mask[1, 10:20, 10:20] = mask[1, 25:40, 5:40] = True
    found = finding(Segment.WMH, SeriesType.T2_FLAIR, mask, grid)
    assert len(size_counts(found.lesions)) > 1
    said = shown(StudyFindings((found,), (NotAssessed(Segment.INFARCT, "no DWI"),)), 80)
    assert "…" not in said
    for size in size_counts(found.lesions):
        assert size in said


def test_size_classes_ascend_whatever_the_order_of_the_lesions() -> None:
    sizes = (SizeClass.LARGE, SizeClass.SMALL, SizeClass.MEDIUM, SizeClass.SMALL)
    lesions = [
        Lesion(number, 9, 0.1, 9.0, 8.0, 40.0, (0.0, 0.0, 0.0), size, within_limits=True)
        for number, size in enumerate(sizes, 1)
    ]
    assert list(size_counts(lesions).items()) == [("small", 2), ("medium", 1), ("large", 1)]


def test_every_series_that_a_network_saw_is_said_and_recorded() -> None:
    grid = Grid((2, 2, 2), np.eye(4))
    nothing = np.zeros(grid.shape, dtype=bool)
    alone = finding(Segment.LACUNE, SeriesType.T1, nothing, grid)
    beside = replace(alone, other_inputs=(SeriesType.T2_FLAIR,))
    said = shown(StudyFindings((alone,), ()))
    assert "Lacune on T1 by" in said
    assert "none found" in said
    assert "Lacune on T1 and T2-FLAIR by" in shown(StudyFindings((beside,), ()))
    assert "a lesion: probability from 0.2" in said
    (record,) = record_findings(StudyFindings((beside,), ())).segments
    assert (record.least_lesion_ml, record.counted) == (0.025, counted(RULE))
    assert (record.series_type, record.other_inputs) == ("T1", ("T2_FLAIR",))


def test_registration_and_exclusion_are_said_with_names_for_people() -> None:
    registration = RegistrationRecord(
        SeriesType.T2_FLAIR,
        SeriesType.DWI_B1000,
        np.eye(4),
        1.25,
        2.5,
        True,
        "moved by 1.2 degrees and 2.5 mm",
    )
    exclusion = ExclusionRecord(Segment.WMH, Segment.INFARCT, True, 12, 0.23)
    said = shown(StudyFindings((), (), registrations=(registration,), exclusions=(exclusion,)))
    assert "DWI b1000 brought onto T2-FLAIR: moved by 1.2 degrees and 2.5 mm" in said
    assert "White matter hyperintensity minus recent small subcortical infarct: 0.23 ml removed" in said
