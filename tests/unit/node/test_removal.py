"""Studies go whole, only when nothing happens with them, and nothing is acknowledged whose file goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian
from sqlalchemy import func, select, update

from node.completeness import AssociationEnd, CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.errors import (
    OutOfResourcesError,
    StoreUnusableError,
    StudyAtWorkError,
    UnknownStudyError,
)
from node.evaluations import Evaluations, Result
from node.intake import Intake, StoreRequest
from node.listing import study_rows
from node.rebuilding import rebuild
from node.removal import SETTLING, Removals
from node.retention import AT_A_TIME, Retention, RetentionSettings
from node.storage import FolderFiles
from node.store import Placement, PlacementKind, ReceivedInstance, Store
from node.study_states import StudyState
from node.tables import metadata, processes, removals, schema_version, studies
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import dataset_bytes, mr_dataset, write_instance

DAY = 86400.0


class Played:
    """A Study that was evaluated and delivered, with a conflict, and the books on it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database, self.arrivals = database, Arrivals(folder, database)
        self.store, self.clock = self.arrivals.store, self.arrivals.clock
        self.evaluations, self.deliveries = Evaluations(database), Deliveries(database)
        self.removals = Removals(database, self.store, self.clock)

    def arrive(self, study: int = 1, second: float = 0) -> str:
        """Send a Study, one Instance of it again with other bytes."""
        key = f"association {study} {second}"
        self.arrivals.open(key, second)
        self.arrivals.send_series(key, second, study=study)
        self.arrivals.send(key, second, mr_dataset(study, pixels=9))
        self.arrivals.release(key, second)
        return str(mr_dataset(study).StudyInstanceUID)

    def deliver(self, study: int = 1, second: float = 0) -> str:
        """Send, evaluate and deliver a Study, and return its UID."""
        study_uid = self.arrive(study, second)
        evaluation = self.evaluations.begin(study_uid, None, at(second))
        assert evaluation is not None
        path = self.store.put_result(study_uid, evaluation.evaluation_id, "sr.dcm", b"report")
        result = Result(f"1.2.3.{study}", "sr", Comprehensive3DSRStorage, path)
        self.evaluations.add_results(evaluation.evaluation_id, [result])
        self.evaluations.finish(evaluation.evaluation_id, at(second))
        self.deliveries.queue(evaluation.evaluation_id, "PACS", [result.sop_instance_uid], at(second))
        (due,) = self.deliveries.due(at(second))
        self.deliveries.record_attempt(due, DeliveryState.DELIVERED, 0, "", at(second), None)
        return study_uid

    def files(self) -> list[str]:
        """List all files of the store."""
        root = self.store.root
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def rows(self) -> dict[str, int]:
        """Count the rows of all tables that are about Studies."""
        with self.database.reading() as connection:
            tables = [table for table in metadata.sorted_tables if table not in (processes, schema_version)]
            counts = {
                table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables
            }
        return {name: count for name, count in counts.items() if count}

    def listed(self) -> list[str]:
        """List the Studies that are there."""
        return sorted(
            row.study_uid for row in study_rows(self.database, self.clock(), CompletenessSettings())
        )


@pytest.fixture
def played(tmp_path: Path, database: Database) -> Played:
    return Played(tmp_path, database)


def test_study_goes_with_all_that_was_made_of_it_and_no_other_does(played: Played) -> None:
    played.deliver(study=2)
    before, rows = played.files(), played.rows()
    study_uid = played.deliver(study=1, second=5)
    assert played.removals.remove(study_uid) == 5, "three Instances, a conflict and a result"
    assert played.files() == before
    assert not (played.store.root / "studies" / study_uid).exists(), "no empty folder bears its UID"
    assert played.rows() == {**rows, "removals": 1}
    with pytest.raises(UnknownStudyError):
        played.removals.remove(study_uid)


def receiving(played: Played) -> None:
    played.arrivals.open("a", 0)
    played.arrivals.send_series("a", 1)


def evaluating(played: Played) -> None:
    evaluation = played.evaluations.begin(played.arrive(), None, at(1))
    assert evaluation is not None
    played.evaluations.start(evaluation.evaluation_id, at(2))


def waiting_again(played: Played) -> None:
    played.evaluations.retry(played.deliver(), at(10))


def to_be_sent_again(played: Played) -> None:
    study_uid = played.deliver()
    (evaluation,) = played.evaluations.of_study(study_uid)
    played.deliveries.queue(evaluation.evaluation_id, "RESEARCH", ["1.2.3.1"], at(10))


@pytest.mark.parametrize(
    "play",
    [receiving, evaluating, waiting_again, to_be_sent_again],
    ids=lambda play: play.__name__,
)
def test_study_with_which_something_happens_stays(played: Played, play: Callable[[Played], None]) -> None:
    play(played)
    files, rows = played.files(), played.rows()
    with pytest.raises(StudyAtWorkError, match=STUDY_UID):
        played.removals.remove(STUDY_UID)
    assert (played.files(), played.rows()) == (files, rows)


def test_what_comes_while_the_files_go_is_refused_and_is_taken_when_they_are_gone(played: Played) -> None:
    played.removals.remove(played.deliver())
    played.arrivals.open("b", 20)
    with pytest.raises(OutOfResourcesError, match="being removed"):
        played.arrivals.send("b", 21, mr_dataset())
    played.arrivals.release("b", 22)
    played.removals.finish()
    assert played.arrivals.index.instances(STUDY_UID) == []
    later = SETTLING.total_seconds() + 23
    played.clock.second = later
    played.removals.finish()
    assert played.files() == [], "what lay in the store without an entry goes, too"
    played.arrivals.open("c", later)
    assert played.arrivals.send("c", later, mr_dataset()) is PlacementKind.NEW
    played.removals.finish()
    assert len(played.files()) == len(played.arrivals.index.instances(STUDY_UID)) == 1


class SomeStay(FolderFiles):
    """A folder that does not let files of results be deleted, for a while."""

    lets = False

    def delete(self, path: str) -> None:
        """Delete, or refuse to."""
        if path.startswith("results") and not self.lets:
            raise OSError(30, "Read-only file system")
        super().delete(path)


def test_removal_that_was_interrupted_is_finished(played: Played, tmp_path: Path) -> None:
    study_uid = played.deliver()
    files = SomeStay(tmp_path / "root", "incoming")
    interrupted = Removals(played.database, Store(tmp_path / "root", files), played.clock)
    with pytest.raises(StoreUnusableError, match="Read-only"):
        interrupted.remove(study_uid)
    assert played.listed() == []
    assert len(played.files()) == 2, "the result, and the conflict, whose path only the index knows"
    assert rebuild(played.database, played.store).added == 0, "it does not come back"
    played.clock.second = SETTLING.total_seconds() + 1
    interrupted.finish()
    assert played.rows()["removals"] == 1, "it is tried again"
    files.lets = True
    interrupted.finish()
    assert played.files() == []
    assert played.rows() == {}


class RemovedAmid(Store):
    """A store whose Study is removed when an Instance lies in it and the index does not have it yet."""

    removals: Removals

    def put(self, received: ReceivedInstance) -> Placement:
        """Put, and remove the Study at the worst of moments."""
        placement = super().put(received)
        self.removals.remove(received.header.study_uid)
        return placement


def test_no_instance_is_acknowledged_whose_file_goes(played: Played, tmp_path: Path) -> None:
    played.deliver()
    store = RemovedAmid(tmp_path / "root")
    store.removals = played.removals
    intake = Intake(store, played.arrivals.index, "CSVD", played.clock)
    intake.open("b", "SCANNER1", "CSVD")
    dataset = mr_dataset()
    request = StoreRequest(
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
        dataset.SOPClassUID,
        ExplicitVRLittleEndian,
        dataset_bytes(write_instance(tmp_path / "made", dataset)),
    )
    with pytest.raises(OutOfResourcesError, match="being removed"):
        intake.take("b", request)
    intake.end("b", AssociationEnd.RELEASED)
    (row,) = study_rows(played.database, played.clock(), CompletenessSettings())
    assert (row.state, row.instance_count) == (StudyState.HELD, 0), "its sender must send it again"


def test_study_is_not_removed_while_something_of_it_is_being_entered(played: Played) -> None:
    study_uid = played.deliver()
    with ThreadPoolExecutor(1) as pool:
        with played.database.writing() as connection:
            arrived = {"is_open": True, "revision": studies.c.revision + 1}
            connection.execute(update(studies).values(arrived))
            removing = pool.submit(played.removals.remove, study_uid)
            with pytest.raises(TimeoutError):
                removing.result(0.3)
        with pytest.raises(StudyAtWorkError):
            removing.result(30)
    assert len(played.files()) == 5


def retention(played: Played, **settings: float) -> Retention:
    limits = RetentionSettings.model_validate(settings)
    return Retention(played.database, played.removals, limits, played.clock)


def test_nothing_is_removed_unless_it_is_told(played: Played) -> None:
    played.deliver()
    played.clock.second = 10_000 * DAY
    retention(played).look()
    assert played.listed() == [STUDY_UID]


def test_delivered_study_is_kept_as_long_as_it_is_told(played: Played) -> None:
    played.deliver()
    played.clock.second = 30 * DAY - 1
    retention(played, days=30).look()
    assert played.listed() == [STUDY_UID]
    played.clock.second = 30 * DAY + 1
    retention(played, unfinished_days=1).look()
    assert played.listed() == [STUDY_UID], "it waits for nobody"
    retention(played, days=30).look()
    assert played.listed() == []


def test_failed_study_is_kept_as_long_as_is_told_for_those(played: Played) -> None:
    study_uid = played.arrive()
    evaluation = played.evaluations.begin(study_uid, None, at(1))
    assert evaluation is not None
    played.evaluations.fail(evaluation.evaluation_id, "Two slices at one position.", at(2))
    played.clock.second = 100 * DAY
    retention(played, days=30).look()
    assert played.listed() == [STUDY_UID]
    retention(played, unfinished_days=90).look()
    assert played.listed() == []


def test_time_counts_from_the_last_that_happened(played: Played) -> None:
    study_uid = played.deliver()
    (evaluation,) = played.evaluations.of_study(study_uid)
    played.deliveries.queue(evaluation.evaluation_id, "RESEARCH", ["1.2.3.1"], at(0))
    (due,) = played.deliveries.due(at(1))
    played.deliveries.record_attempt(due, DeliveryState.DELIVERED, 0, "", at(20 * DAY), None)
    played.clock.second = 45 * DAY
    retention(played, days=30).look()
    assert played.listed() == [STUDY_UID]
    played.clock.second = 51 * DAY
    retention(played, days=30).look()
    assert played.listed() == []


def test_study_at_work_is_passed_over_and_the_oldest_go_first(played: Played) -> None:
    uids = [played.deliver(study, second=study) for study in range(1, AT_A_TIME + 3)]
    played.evaluations.retry(uids[0], at(50))
    played.clock.second = 60 * DAY
    retention(played, days=30).look()
    assert played.listed() == sorted([uids[0], uids[-1]])
    with played.database.reading() as connection:
        assert set(connection.scalars(select(removals.c.study_uid))) == set(uids[1:-1])
