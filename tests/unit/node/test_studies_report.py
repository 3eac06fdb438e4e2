"""The list of Studies can be read, searched and copied from in any terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console
from typer.testing import CliRunner

from node.cli import app
from node.database import Database
from node.listing import StudyRow
from node.studies_report import render_studies
from node.study_states import StudyState
from tests.support.arrivals import Arrivals, at
from tests.support.instances import mr_dataset

UID = "1.2.826.0.1.3680043.8.498.18403358509791266926043099430233459345"
ROW = StudyRow(
    study_uid=UID,
    state=StudyState.DELIVERING,
    reason="pacs: cannot be reached",
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
        "pacs: cannot be reached",
        "2 Instances came again with other content under the same UID; kept apart.",
        "To pacs: it is the only destination",
    ]


def test_study_without_an_evaluation_has_no_line_about_it() -> None:
    arriving = replace(ROW, evaluated_at=None, reason="", conflict_count=0, destinations={}, delivery_count=0)
    assert len(shown(arriving)) == 2


def test_empty_list_says_so() -> None:
    assert shown() == ["No Study has arrived yet."]


def told_of(folder: Path, *arguments: str) -> str:
    """Run `csvd-node studies`, and return what it prints."""
    told = CliRunner().invoke(app, ["studies", "--config", str(folder / "node.yaml"), *arguments])
    assert told.exit_code == 0, told.output
    return told.stdout


def test_command_lists_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(f"root: {tmp_path}")
    database = Database(f"sqlite:///{tmp_path}/index.sqlite")
    arrivals = Arrivals(tmp_path, database)
    for study in (1, 2):
        arrivals.open(f"association {study}", study)
        arrivals.send(f"association {study}", study, mr_dataset(study=study))
        arrivals.index.give_up(str(mr_dataset(study=study).StudyInstanceUID), 1, "It may be :ok:")
    database.close()
    latest = str(mr_dataset(study=2).StudyInstanceUID)
    assert [each["study_uid"] for each in json.loads(told_of(tmp_path, "--limit", "1", "--json"))] == [latest]
    failed = json.loads(told_of(tmp_path, "--state", "failed", "--json"))
    assert [each["reason"] for each in failed] == ["It may be :ok:"] * 2
    assert json.loads(told_of(tmp_path, "--state", "kept", "--json")) == []
    assert told_of(tmp_path, "--state", "kept") == "No Study is kept.\n"
    both = told_of(tmp_path).split("\n\n")
    assert both[0].split()[:2] == [latest, "failed"]
    assert len(both) == 2
