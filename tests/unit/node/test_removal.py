"""Studies go whole, only when nothing happens with them, and nothing is acknowledged whose file goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from sqlalchemy import delete, func, select, update
from structlog.testing import capture_logs

from node.commitments import CommitmentRequest, Commitments
from node.completeness import AssociationEnd, CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.errors import (
    FilesLeftError,
    OutOfResourcesError,
    StudyAtWorkError,
    UnknownEvaluationError,
    UnknownStudyError,
)
from node.evaluations import Evaluations, Result
from node.intake import Intake, StoreRequest
from node.listing import study_rows
from node.rebuilding import rebuild
from node.removal import SETTLING, Removals
from node.removed import REMEMBERED
from node.retention import AT_A_TIME, Retention, RetentionSettings
from node.storage import FolderFiles
from node.store import Placement, PlacementKind, ReceivedInstance, Store
from node.study_states import StudyState
from node.study_view import StudyViews
from node.tables import metadata, processes, removals, removed_studies, schema_version, studies
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
        self.evaluations.finish(evaluation.evaluation_id, "", at(second))
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
            apart = (processes, schema_version, removed_studies)
            tables = [table for table in metadata.sorted_tables if table not in apart]
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
    assert played.removals.remove(study_uid, "a test") == 5, "three Instances, a conflict and a result"
    assert played.files() == before
    assert not (played.store.root / "studies" / study_uid).exists(), "no empty folder bears its UID"
    assert played.rows() == {**rows, "removals": 1}
    with pytest.raises(UnknownStudyError):
        played.removals.remove(study_uid, "a test")


def test_removal_is_remembered_for_a_while_with_who_did_it(played: Played) -> None:
    study_uid, never = played.deliver(), "1.2.3.4"
    views = StudyViews(played.database, played.store, CompletenessSettings(), played.clock)
    played.clock.second = 40 * DAY
    assert retention(played, days=30).look() is False
    said = "it was removed at 2024-02-24 09:00:00 UTC by retention.days, which is 30"
    assert (views.why_absent(study_uid), views.why_absent(never)) == (said, "")
    for ask in (views.study, lambda uid: played.evaluations.retry(uid, at(0))):
        with pytest.raises(
            UnknownStudyError, match=f"Study {study_uid}: not in the index, since {said}; send"
        ):
            ask(study_uid)
        with pytest.raises(UnknownStudyError, match="since it never came or was removed; send"):
            ask(never)
    played.clock.second = 40 * DAY + REMEMBERED.total_seconds() + 1
    played.removals.finish()
    assert views.why_absent(study_uid) == ""


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
        played.removals.remove(STUDY_UID, "a test")
    assert (played.files(), played.rows()) == (files, rows)


def test_what_happens_with_other_studies_holds_no_removal_up(played: Played) -> None:
    """The others arrive, are evaluated, wait for a worker and are still to be sent."""
    study_uid = played.deliver()
    played.arrivals.open("a", 0)
    played.arrivals.send_series("a", 1, study=2)
    for study in (3, 4):
        evaluation = played.evaluations.begin(played.arrive(study), None, at(1))
        assert evaluation is not None
        if study == 3:
            played.evaluations.start(evaluation.evaluation_id, at(2))
    (evaluation,) = played.evaluations.of_study(played.deliver(5))
    played.deliveries.queue(evaluation.evaluation_id, "RESEARCH", ["1.2.3.5"], at(10))
    others = set(played.listed()) - {study_uid}
    played.removals.remove(study_uid, "a test")
    assert set(played.listed()) == others
    assert len(others) == 4


def test_study_that_came_over_the_same_association_stays_as_it_is_known(played: Played) -> None:
    played.arrivals.open("a", 0)
    for study in (1, 2):
        played.arrivals.send_series("a", 1, study=study)
    played.arrivals.abort("a", 2)
    other = str(mr_dataset(2).StudyInstanceUID)
    before = played.arrivals.index.arrival(other)
    played.removals.remove(STUDY_UID, "a test", unfinished=True)
    assert before is not None
    assert [carriage.end for carriage in before.carriages] == [AssociationEnd.ABORTED]
    assert played.arrivals.index.arrival(other) == before


def settle(played: Played, times: int = 1) -> None:
    """Let the next steps of a removal come."""
    for _ in range(times):
        played.clock.second += SETTLING.total_seconds() + 1
        played.removals.finish()


def test_what_comes_while_the_files_go_is_refused_and_is_taken_when_they_are_gone(played: Played) -> None:
    played.removals.remove(played.deliver(), "a test")
    for key in ("b", "c"):
        played.arrivals.open(key, played.clock.second)
        with pytest.raises(OutOfResourcesError, match="being removed"):
            played.arrivals.send(key, played.clock.second, mr_dataset())
        played.arrivals.release(key, played.clock.second)
        assert played.arrivals.index.instances(STUDY_UID) == []
        settle(played)
    assert played.files() == []
    played.arrivals.open("d", played.clock.second)
    assert played.arrivals.send("d", played.clock.second, mr_dataset()) is PlacementKind.NEW
    settle(played, 2)
    assert len(played.files()) == len(played.arrivals.index.instances(STUDY_UID)) == 1


class SomeStay(FolderFiles):
    """A folder that does not let files of results be deleted, for a while."""

    lets = False

    def delete(self, paths: Sequence[str]) -> None:
        """Delete, or refuse to."""
        results = [path for path in paths if path.startswith("results")]
        super().delete([path for path in paths if self.lets or path not in results])
        if results and not self.lets:
            raise OSError(30, "Read-only file system")


def test_removal_that_was_interrupted_is_finished(played: Played, tmp_path: Path) -> None:
    study_uid = played.deliver()
    files = SomeStay(tmp_path / "root", "incoming")
    interrupted = Removals(played.database, Store(tmp_path / "root", files), played.clock)
    with pytest.raises(FilesLeftError, match="Read-only"):
        interrupted.remove(study_uid, "a test")
    assert played.listed() == []
    assert len(played.files()) == 1, "the result"
    assert rebuild(played.database, played.store).added == 0, "it does not come back"
    played.removals = interrupted
    settle(played, 3)
    assert played.rows()["removals"] == 1, "it is tried again"
    files.lets = True
    settle(played, 2)
    assert (played.files(), played.rows()) == ([], {})


def test_what_a_process_left_that_died_as_it_wrote_goes_while_the_others_run_on(played: Played) -> None:
    left, written = (played.store.root / "incoming" / name for name in ("left", "written"))
    for path in (left, written):
        path.write_bytes(b"half a file")
    os.utime(left, (0, 0))
    retention = Retention(played.database, played.removals, RetentionSettings(), played.clock)
    assert not retention.look()
    assert (left.exists(), written.exists()) == (False, True)
    shutil.rmtree(left.parent)
    with capture_logs() as logged:
        retention.look()
    assert [(entry["event"], entry["reason"]) for entry in logged] == [
        ("store.not_cleared", "No such file or directory")
    ]


class Amid(Store):
    """A store that something happens to when an Instance lies in it and the index does not have it yet."""

    happens: Callable[[], object]

    def put(self, received: ReceivedInstance) -> Placement:
        """Put, and let it happen at the worst of moments."""
        placement = super().put(received)
        self.happens()
        return placement


@pytest.mark.parametrize("when", ["removed", "swept", "over"])
def test_no_instance_is_acknowledged_whose_file_goes(played: Played, tmp_path: Path, when: str) -> None:
    study_uid = played.deliver()
    store = Amid(tmp_path / "root")
    if when == "removed":
        store.happens = lambda: played.removals.remove(study_uid, "a test")
    else:
        store.happens = lambda: settle(played)
        played.removals.remove(study_uid, "a test")
        # What was admitted before is not asked again.
        played.arrivals.index.check_not_removed = lambda study_uid: None  # type: ignore[method-assign]
    if when == "over":
        settle(played)
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
    if when == "over":
        assert intake.take("b", request) is PlacementKind.NEW
    else:
        with pytest.raises(OutOfResourcesError, match="being removed"):
            intake.take("b", request)
    intake.end("b", AssociationEnd.RELEASED)
    entered = [entry.path for entry in played.arrivals.index.instances(study_uid)]
    assert len(entered) == (when == "over")
    assert set(entered) <= set(played.files())
    (row,) = study_rows(played.database, played.clock(), CompletenessSettings())
    assert row.state is (StudyState.RECEIVING if when == "over" else StudyState.HELD)


def held(played: Played) -> None:
    receiving(played)
    played.arrivals.abort("a", 2)


def to_be_evaluated(played: Played) -> None:
    played.evaluations.begin(played.arrive(), None, at(1))


@pytest.mark.parametrize(
    "play", [held, to_be_evaluated, waiting_again, to_be_sent_again], ids=lambda play: play.__name__
)
def test_person_may_remove_what_is_unfinished(played: Played, play: Callable[[Played], None]) -> None:
    play(played)
    played.removals.remove(STUDY_UID, "a test", unfinished=True)
    assert (played.files(), played.rows()) == ([], {"removals": 1})


@pytest.mark.parametrize("play", [receiving, evaluating], ids=lambda play: play.__name__)
def test_nobody_may_remove_what_arrives_or_is_evaluated(
    played: Played, play: Callable[[Played], None]
) -> None:
    play(played)
    with pytest.raises(StudyAtWorkError, match=STUDY_UID):
        played.removals.remove(STUDY_UID, "a test", unfinished=True)


def test_instance_whose_uid_another_study_had_is_taken_when_that_one_is_gone(played: Played) -> None:
    study_uid = played.deliver()
    same_uid = mr_dataset(study=2)
    same_uid.SOPInstanceUID = mr_dataset().SOPInstanceUID
    for turn in range(2):
        second = played.clock.second
        played.arrivals.open(f"b{turn}", second)
        kind = played.arrivals.send(f"b{turn}", second, same_uid)
        played.arrivals.release(f"b{turn}", second)
        assert kind is (PlacementKind.NEW if turn else PlacementKind.CONFLICT)
        if not turn:
            played.removals.remove(study_uid, "a test")
            settle(played, 2)
    (row,) = study_rows(played.database, played.clock(), CompletenessSettings())
    assert (row.instance_count, row.conflict_count) == (1, 0)


def test_study_is_not_removed_while_something_of_it_is_being_entered(played: Played) -> None:
    study_uid = played.deliver()
    with ThreadPoolExecutor(1) as pool:
        with played.database.writing() as connection:
            arrived = {"is_open": True, "revision": studies.c.revision + 1}
            connection.execute(update(studies).values(arrived))
            removing = pool.submit(played.removals.remove, study_uid, "a test")
            with pytest.raises(TimeoutError):
                removing.result(0.3)
        with pytest.raises(StudyAtWorkError):
            removing.result(30)
    assert len(played.files()) == 5


def add_results(played: Played, delivery: Delivery) -> None:
    result = Result("1.2.3.9", "key-images", SecondaryCaptureImageStorage, "results/1/2.dcm")
    played.evaluations.add_results(delivery.evaluation_id, [result])


def queue(played: Played, delivery: Delivery) -> None:
    played.deliveries.queue(delivery.evaluation_id, "PACS", ["1.2.3.9"], at(10))


def replace_refused(played: Played, delivery: Delivery) -> None:
    played.deliveries.replace(delivery, "no presentation context accepted", ["1.2.3.9"], at(10))


def ask_for_commitment(played: Played, delivery: Delivery) -> None:
    uids = frozenset({delivery.sop_instance_uid})
    request = CommitmentRequest("1.2.4", delivery.evaluation_id, delivery.destination, uids, at(10))
    Commitments(played.database).enter(request)


@pytest.mark.parametrize(
    "enter", [add_results, queue, replace_refused, ask_for_commitment], ids=lambda enter: enter.__name__
)
def test_delivery_of_a_study_that_is_removed_leaves_nothing_behind(
    played: Played, enter: Callable[[Played, Delivery], None]
) -> None:
    study_uid = played.deliver()
    (evaluation,) = played.evaluations.of_study(study_uid)
    (delivery,) = played.deliveries.of_evaluation(evaluation.evaluation_id)
    played.removals.remove(study_uid, "a test")
    with pytest.raises(UnknownEvaluationError):
        enter(played, delivery)
    assert played.rows() == {"removals": 1}


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
    retention(played, failed_days=1).look()
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
    retention(played, failed_days=90).look()
    assert played.listed() == []


def test_rebuilt_study_is_not_removed_for_its_age(played: Played) -> None:
    """When the index was lost, the times of the files are all that is known."""
    played.deliver()
    with played.database.writing() as connection:
        for table in metadata.sorted_tables:
            if table is not processes:
                connection.execute(delete(table))
    rebuild(played.database, played.store)
    played.clock.second = 10_000 * DAY
    retention(played, days=1, failed_days=1).look()
    assert played.listed() == [STUDY_UID]


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


def test_time_counts_from_the_end_of_the_last_evaluation(played: Played) -> None:
    evaluation = played.evaluations.begin(played.arrive(), None, at(1))
    assert evaluation is not None
    played.evaluations.finish(evaluation.evaluation_id, "", at(20 * DAY))
    for day, is_here in ((45, True), (51, False)):
        played.clock.second = day * DAY
        retention(played, days=30).look()
        assert bool(played.listed()) is is_here


def test_study_at_work_is_passed_over_and_the_oldest_go_first(played: Played) -> None:
    uids = [played.deliver(study, second=study) for study in range(1, AT_A_TIME + 3)]
    played.evaluations.retry(uids[0], at(50))
    played.clock.second = 60 * DAY
    assert retention(played, days=30).look(), "there may be more"
    assert played.listed() == sorted([uids[0], uids[-1]])
    with played.database.reading() as connection:
        assert set(connection.scalars(select(removals.c.study_uid))) == set(uids[1:-1])
    assert not retention(played, days=30).look()
    assert played.listed() == [uids[0]]


def test_retention_does_not_hurry_while_the_store_lets_no_file_go(played: Played, tmp_path: Path) -> None:
    for study in range(1, AT_A_TIME + 3):
        played.deliver(study, second=study)
    store = Store(tmp_path / "root", SomeStay(tmp_path / "root", "incoming"))
    played.removals = Removals(played.database, store, played.clock)
    played.clock.second = 60 * DAY
    assert not retention(played, days=30).look()
    assert len(played.listed()) == 2, "some go from the index, and their files later"
