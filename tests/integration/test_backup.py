"""What docs/operations.md says of backup and restore brings back every Study and every delivery."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.evaluations import Evaluations, Result
from node.listing import StudyRow, study_rows
from node.store import Store
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.postgres import postgres_server

FOLDERS = ("studies", "results", "conflicts")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        (tmp_path / "root").mkdir()
        yield f"sqlite:///{tmp_path / 'root' / 'index.sqlite'}"
        return
    with postgres_server() as server:
        yield server


def back_up(url: str, root: Path, backup: Path) -> None:
    """First the index, then the files: what arrives meanwhile is in the files."""
    backup.mkdir()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(root / "index.sqlite")) as source:
            source.execute("VACUUM INTO ?", (str(backup / "index.sqlite"),))
    else:
        command = [_program("pg_dump"), "--format=custom", f"--file={backup / 'index.dump'}", url]
        subprocess.run(command, check=True)
    for folder in FOLDERS:
        shutil.copytree(root / folder, backup / folder)


def destroy(url: str, root: Path) -> None:
    if not url.startswith("sqlite"):
        drop = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        subprocess.run([_program("psql"), "--quiet", f"--command={drop}", url], check=True)
    shutil.rmtree(root)


def restore(url: str, root: Path, backup: Path) -> None:
    root.mkdir()
    for folder in FOLDERS:
        shutil.copytree(backup / folder, root / folder)
    if url.startswith("sqlite"):
        shutil.copy(backup / "index.sqlite", root / "index.sqlite")
    else:
        command = [_program("pg_restore"), "--clean", "--if-exists", f"--dbname={url}"]
        subprocess.run([*command, str(backup / "index.dump")], check=True)


def _program(name: str) -> str:
    return str(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1])


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
    evaluations.finish(name, at(30))
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
    back_up(url, root, backup)
    destroy(url, root)
    restore(url, root, backup)
    with closing(Database(url)) as database:
        assert listed(database) == before
        assert Deliveries(database).of_evaluation(evaluation_id) == sent
    assert len(before) == 2
    assert [each.state for each in sent].count(DeliveryState.DELIVERED) == 1
    assert Store(root).check()
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*.dcm")} == files
