"""What docs/operations.md says of backup and restore brings back every Study and every delivery."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from pydicom.uid import Comprehensive3DSRStorage

from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.evaluations import Evaluations, Result
from node.listing import StudyRow, study_rows
from node.store import Store
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.operations import blocks, section
from tests.support.postgres import postgres_server
from tests.support.running_node import COMMAND


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        (tmp_path / "root").mkdir()
        yield f"sqlite:///{tmp_path / 'root' / 'index.sqlite'}"
        return
    with postgres_server() as server:
        yield server


def run_as_told(which: int, url: str, folder: Path) -> None:
    """Run the commands for backing up (0) or restoring (1) as they stand in the document."""
    kind = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    script = blocks(section("operations.md", "Backup and restore", kind))[which]
    for told, here in {
        # The tests' files belong to whoever runs them.
        "runuser -u csvd -- ": "",
        "/opt/csvd-node/.venv/bin/csvd-node": COMMAND,
        "/etc/csvd-node": str(folder),
        "/var/lib/csvd-node": str(folder / "root"),
        "/backup": str(folder / "backup"),
    }.items():
        script = script.replace(told, here)
    done = subprocess.run(
        ["bash", "-euc", script], env={**os.environ, "URL": url}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def configure(url: str, folder: Path) -> None:
    database = {} if url.startswith("sqlite") else {"database_url": url.replace("sql:", "sql+psycopg:")}
    (folder / "node.yaml").write_text(yaml.safe_dump({"root": str(folder / "root"), **database}))


def destroy(url: str, root: Path) -> None:
    if not url.startswith("sqlite"):
        drop = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        subprocess.run(["psql", "--quiet", f"--command={drop}", url], check=True)
    shutil.rmtree(root)
    root.mkdir()


def fill(folder: Path, database: Database) -> None:
    """Let two Studies arrive, one of which is evaluated and delivered to one of two destinations."""
    arrivals = Arrivals(folder, database)
    arrivals.whole("one", 0, study=1)
    arrivals.whole("two", 10, study=2)
    evaluations, deliveries = Evaluations(database), Deliveries(database)
    evaluation = evaluations.begin(STUDY_UID, None, at(20))
    assert evaluation is not None
    name = evaluation.evaluation_id
    path = arrivals.store.put_result(STUDY_UID, name, "abc-sr.dcm", b"report")
    evaluations.add_results(name, [Result("1.2.3", "sr", Comprehensive3DSRStorage, path)])
    evaluations.finish(name, "", at(30))
    for destination in ("pacs", "research"):
        queue(deliveries, name, destination)
    first = next(each for each in deliveries.due(at(30)) if each.destination == "pacs")
    deliveries.record_attempt(first, DeliveryState.DELIVERED, 0, "", at(31), None)


def queue(deliveries: Deliveries, evaluation_id: str, destination: str) -> None:
    deliveries.queue(evaluation_id, destination, ("1.2.3",), at(30))


def listed(database: Database) -> list[StudyRow]:
    return study_rows(database, at(1000), CompletenessSettings())


def test_backup_brings_back_every_study_and_delivery(tmp_path: Path, url: str) -> None:
    root, backup = tmp_path / "root", tmp_path / "backup"
    with closing(Database(url)) as database:
        fill(tmp_path, database)
        before = listed(database)
        evaluation_id = Evaluations(database).of_study(STUDY_UID)[0].evaluation_id
        sent = Deliveries(database).of_evaluation(evaluation_id)
        files = {path.relative_to(root): path.read_bytes() for path in root.rglob("*.dcm")}
    configure(url, tmp_path)
    backup.mkdir()
    run_as_told(0, url, tmp_path)
    destroy(url, root)
    run_as_told(1, url, tmp_path)
    with closing(Database(url)) as database:
        assert listed(database) == before
        assert Deliveries(database).of_evaluation(evaluation_id) == sent
    assert len(before) == 2
    assert [each.state for each in sent].count(DeliveryState.DELIVERED) == 1
    assert Store(root).check()
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*.dcm")} == files
