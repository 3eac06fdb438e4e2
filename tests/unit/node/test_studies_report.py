"""The list of Studies can be read, searched and copied from in any terminal."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from node.listing import StudyRow
from node.studies_report import render_studies
from node.study_states import StudyState
from tests.support.arrivals import at

UID = "1.2.826.0.1.3680043.8.498.18403358509791266926043099430233459345"
ROW = StudyRow(
    study_uid=UID,
    state=StudyState.DELIVERING,
    reason="pacs: can not be reached",
    progress="",
    first_at=at(0),
    last_at=at(60),
    evaluated_at=at(90),
    series_count=6,
    instance_count=141,
    mr_image_count=138,
    conflict_count=2,
    evaluation_id="e",
    delivered_count=0,
    delivery_count=6,
    destinations={"pacs": "it is the only destination"},
)


def shown(*rows: StudyRow) -> list[str]:
    """Print the list as to a pipe, which is 80 columns wide to rich."""
    text = StringIO()
    Console(file=text, width=80).print(render_studies(rows), soft_wrap=True)
    return text.getvalue().splitlines()


def test_uid_and_state_stand_in_one_piece_on_one_line() -> None:
    lines = shown(ROW, replace(ROW, study_uid="1.2.3"))
    assert f"{UID}  delivering" in lines
    assert "1.2.3  delivering" in lines


def test_times_extent_and_every_reason_are_told() -> None:
    first, last, evaluated = (f"{at(seconds):%Y-%m-%d %H:%M:%S} UTC" for seconds in (0, 60, 90))
    assert [line.strip() for line in shown(ROW)[1:]] == [
        f"141 Instances in 6 Series, 3 of them no MR images; arrived from {first} to {last}",
        f"evaluated at {evaluated}, 0 of 6 delivered",
        "pacs: can not be reached",
        "2 Instances came again with other content under the same UID; kept apart.",
        "To pacs: it is the only destination",
    ]


def test_study_without_an_evaluation_has_no_line_about_it() -> None:
    arriving = replace(ROW, evaluated_at=None, reason="", conflict_count=0, destinations={}, delivery_count=0)
    assert len(shown(arriving)) == 2


def test_empty_list_says_so() -> None:
    assert shown() == ["No Study has arrived yet."]
