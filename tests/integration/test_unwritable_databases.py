"""Databases that cannot be written for a while, as on a full disk, cost time and no Study."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.peers import needs_dcmtk, scripted_pacs, wait_until
from tests.support.running_node import RunningNode
from tests.support.small_study import ENDED, all_of, push, study_of, write_study

FULL = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"


def execute(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database, timeout=30)
    with connection:
        connection.execute(statement)
    connection.close()


@needs_dcmtk
@pytest.mark.slow
def test_study_whose_end_could_not_be_written_goes_on_once_it_can(tmp_path: Path) -> None:
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        index, workflows = node.root / "index.sqlite", node.root / "workflows.sqlite"
        execute(
            index, f"CREATE TRIGGER full BEFORE UPDATE ON evaluations WHEN NEW.state != 'evaluating' {FULL}"
        )
        execute(
            workflows,
            f"CREATE TRIGGER full BEFORE UPDATE ON workflow_status WHEN NEW.status != 'PENDING' {FULL}",
        )
        # Work that is begun is PENDING; how it ends cannot be written, here as well as there.
        push(node, all_of(write_study(tmp_path, "one")))
        broke = '"Exception encountered in background workflow:"'
        wait_until(lambda: broke in node.log(), 120, f"the work breaks off\n{node.log()[-3000:]}")
        row = node.study(study_of("one"))
        assert row is not None
        assert row["state"] == "evaluating"
        execute(workflows, "DROP TRIGGER full")
        execute(index, "DROP TRIGGER full")
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert "strays.given_back" in node.log()
