"""What is asked again and again is found by an index, however many Studies there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries
from node.evaluations import Evaluations
from node.gauges import IndexCollector
from node.index import Index
from node.listing import StudyChoice, study_page
from node.removal import Removals
from node.retention import Retention, RetentionSettings
from node.store import Store
from node.study_states import StudyState
from tests.support.arrivals import Arrivals, at
from tests.support.statements import scans, statements

SETTINGS = CompletenessSettings()
LARGE = {"instances", "carried", "evaluation_inputs", "results", "outcomes", "deliveries"}
"""Tables with several rows for each Study."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/index.sqlite")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("ask", "may_scan"),
    [
        pytest.param(lambda database: Index(database).open_studies(), {"processes"}, id="open-studies"),
        pytest.param(lambda database: Evaluations(database).unfinished(), set(), id="unfinished"),
        pytest.param(lambda database: Deliveries(database).due(at(0)), set(), id="due"),
    ],
)
def test_no_round_reads_a_whole_table(
    tmp_path: Path, database: Database, ask: Callable[[Database], object], may_scan: set[str]
) -> None:
    arrivals = Arrivals(tmp_path, database)
    arrivals.open("a", 0)
    arrivals.send_series("a", 1)
    with statements(database) as made:
        ask(database)
    assert made
    assert scans(database, made) <= may_scan


def test_retention_reads_the_oldest_studies_alone(database: Database, tmp_path: Path) -> None:
    removals = Removals(database, Store(tmp_path / "root"), lambda: at(0))
    settings = RetentionSettings(days=1, failed_days=1)
    with statements(database) as made:
        Retention(database, removals, settings, lambda: at(0)).look()
    assert scans(database, made) <= {"removals"}


def test_metrics_and_pages_read_no_table_with_several_rows_for_each_study(database: Database) -> None:
    with statements(database) as made:
        IndexCollector(database, SETTINGS, ("pacs",), lambda: at(0)).collect()
        for state in StudyState:
            study_page(database, at(0), SETTINGS, StudyChoice(state))
    assert len(made) > len(StudyState)
    assert not scans(database, made) & LARGE
