"""The index can be lost: the files are the truth."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import QueuePool
from structlog.testing import capture_logs

from node.database import Database
from node.errors import StoreUnusableError
from node.evaluations import Evaluations
from node.index import Index
from node.indexed_instances import IndexedInstance
from node.rebuilding import RebuildReport, is_lost, rebuild
from node.storage import FolderFiles
from node.store import Store
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset


@pytest.fixture
def arrivals(tmp_path: Path) -> Iterator[Arrivals]:
    """Two Series, one conflict, and one Instance whose UID another Study has."""
    lost = Database(f"sqlite:///{tmp_path}/lost.db")
    played = Arrivals(tmp_path, lost)
    played.whole("a", 0, series=1)
    played.whole("b", 10, series=2)
    played.open("c", 20)
    played.send("c", 20, mr_dataset(pixels=5))
    stray = mr_dataset(study=2)
    stray.SOPInstanceUID = mr_dataset().SOPInstanceUID
    played.send("c", 21, stray)
    yield played
    lost.close()


def without_times(entries: list[IndexedInstance]) -> list[IndexedInstance]:
    return [dataclasses.replace(entry, received_at=at(0)) for entry in entries]


def test_rebuilt_index_lists_the_same(arrivals: Arrivals, database: Database) -> None:
    assert rebuild(database, arrivals.store) == RebuildReport(added=6, removed=0, conflicts=2)
    rebuilt = Index(database)
    for study_uid in (STUDY_UID, str(mr_dataset(study=2).StudyInstanceUID)):
        assert without_times(rebuilt.instances(study_uid)) == without_times(
            arrivals.index.instances(study_uid)
        )
        assert without_times(rebuilt.conflicts(study_uid)) == without_times(
            arrivals.index.conflicts(study_uid)
        )
    written_at = rebuilt.instances(STUDY_UID)[0].received_at
    assert abs((datetime.now(UTC) - written_at).total_seconds()) < 600


def test_index_that_knows_nothing_of_a_full_store_is_lost(
    arrivals: Arrivals, database: Database, tmp_path: Path
) -> None:
    assert is_lost(database, arrivals.store)
    assert not is_lost(database, Store(tmp_path / "new")), "there is nothing yet"
    rebuild(database, arrivals.store)
    assert not is_lost(database, arrivals.store)


@pytest.mark.parametrize("without", ["studies", "conflicts"])
def test_index_is_lost_whatever_kind_of_file_there_is(
    arrivals: Arrivals, database: Database, without: str
) -> None:
    shutil.rmtree(arrivals.store.root / without)
    assert is_lost(database, arrivals.store)


def test_second_rebuild_changes_nothing(arrivals: Arrivals, database: Database) -> None:
    rebuild(database, arrivals.store)
    assert rebuild(database, arrivals.store).added == 0
    assert len(Index(database).instances(STUDY_UID)) == 6


class Away(FolderFiles):
    """Files of which the second that is asked for cannot be read, as where a bucket goes away."""

    def lent(self, path: str) -> AbstractContextManager[Path]:
        if path.endswith(f"{mr_dataset(series=2).SOPInstanceUID}.dcm"):
            raise OSError(errno.EIO, "the object store does not answer")
        return super().lent(path)


def test_store_that_goes_away_is_named_and_a_second_run_goes_on(
    arrivals: Arrivals, database: Database
) -> None:
    root = arrivals.store.root
    with pytest.raises(StoreUnusableError, match=f"{root}: the object store does not answer; run this again"):
        rebuild(database, Store(root, Away(root, "incoming")))
    assert rebuild(database, arrivals.store).conflicts == 2
    assert len(Index(database).instances(STUDY_UID)) == 6


def test_folder_that_can_not_be_read_is_not_taken_for_empty(arrivals: Arrivals, database: Database) -> None:
    """A file stands for it: what keeps other users out keeps out no root, who may run the tests."""
    rebuild(database, arrivals.store)
    unreadable = arrivals.store.root / "studies" / STUDY_UID
    unreadable.rename(unreadable.with_name("aside"))
    unreadable.touch()
    with pytest.raises(StoreUnusableError, match="Not a directory; run this again"):
        rebuild(database, arrivals.store)
    assert len(Index(database).instances(STUDY_UID)) == 6


def test_store_that_is_not_mounted_empties_no_index(
    arrivals: Arrivals, database: Database, tmp_path: Path
) -> None:
    rebuild(database, arrivals.store)
    with pytest.raises(StoreUnusableError, match="holds no Study, and the index knows some"):
        rebuild(database, Store(tmp_path / "elsewhere"))
    assert len(Index(database).instances(STUDY_UID)) == 6


def test_file_without_entry_is_added_and_entry_without_file_removed(
    arrivals: Arrivals, database: Database
) -> None:
    rebuild(database, arrivals.store)
    gone = Index(database).instances(STUDY_UID)[-1]
    arrivals.store.path(gone.path).unlink()
    arrivals.whole("d", 30, series=3, count=2)
    report = rebuild(database, arrivals.store)
    assert (report.added, report.removed) == (2, 1)
    paths = {entry.path for entry in Index(database).instances(STUDY_UID)}
    assert len(paths) == 7
    assert gone.path not in paths


def test_file_that_the_index_knows_is_not_opened(arrivals: Arrivals, database: Database) -> None:
    """An archive of terabytes would be read for hours after each restore."""
    rebuild(database, arrivals.store)
    for path in arrivals.store.root.rglob("*.dcm"):
        path.write_bytes(b"no longer DICOM")
    with capture_logs() as logged:
        assert rebuild(database, arrivals.store) == RebuildReport(added=0, removed=0, conflicts=2)
    assert [each["event"] for each in logged] == ["index.rebuilt"]


def test_study_whose_files_are_all_gone_loses_its_entries(arrivals: Arrivals, database: Database) -> None:
    rebuild(database, arrivals.store)
    shutil.rmtree(arrivals.store.root / "studies" / STUDY_UID)
    assert rebuild(database, arrivals.store).removed == 6
    assert Index(database).instances(STUDY_UID) == []


def test_what_is_read_is_told(arrivals: Arrivals, database: Database) -> None:
    told: list[tuple[int, int]] = []
    rebuild(database, arrivals.store, lambda done, of: told.append((done, of)))
    assert told == [(0, 2), (1, 2)]


class Watched(Store):
    """Notes how many transactions are open whenever it is asked for a file; a bucket takes a while."""

    def __init__(self, root: Path, database: Database) -> None:
        super().__init__(root)
        with database.reading() as connection:
            self._pool = connection.engine.pool
        self.open_transactions: list[int] = []

    def exists(self, relative: str) -> bool:
        """Note, and look for it."""
        assert isinstance(self._pool, QueuePool)
        self.open_transactions.append(self._pool.checkedout())
        return super().exists(relative)


def test_no_transaction_waits_for_the_store(arrivals: Arrivals, database: Database) -> None:
    rebuild(database, arrivals.store)
    store = Watched(arrivals.store.root, database)
    rebuild(database, store)
    assert store.open_transactions == [0, 0], "for each conflict"


def test_conflict_takes_the_place_of_an_instance_that_is_gone(arrivals: Arrivals, database: Database) -> None:
    rebuild(database, arrivals.store)
    rebuilt, stray_study = Index(database), str(mr_dataset(study=2).StudyInstanceUID)
    (stray,) = rebuilt.conflicts(stray_study)
    (first,) = (
        entry for entry in rebuilt.instances(STUDY_UID) if entry.sop_instance_uid == stray.sop_instance_uid
    )
    arrivals.store.path(first.path).unlink()
    rebuild(database, arrivals.store)
    assert rebuilt.conflicts(stray_study) == []
    assert [entry.path for entry in rebuilt.instances(stray_study)] == [stray.path]


def test_rebuilt_study_is_not_decided_upon_but_can_be_evaluated(
    arrivals: Arrivals, database: Database
) -> None:
    rebuild(database, arrivals.store)
    assert Index(database).open_studies() == []
    evaluation = Evaluations(database).retry(STUDY_UID, at(100))
    assert len(Evaluations(database).inputs(evaluation.evaluation_id)) == 6


def test_evaluations_survive_a_rebuild(arrivals: Arrivals, database: Database) -> None:
    rebuild(database, arrivals.store)
    before = Evaluations(database).retry(STUDY_UID, at(100))
    rebuild(database, arrivals.store)
    assert Evaluations(database).retry(STUDY_UID, at(200)) == before


def test_empty_store_makes_an_empty_index(tmp_path: Path, database: Database) -> None:
    assert rebuild(database, Store(tmp_path / "root")) == RebuildReport(0, 0, 0)
