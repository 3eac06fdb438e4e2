"""Each Instance and each end of an association is in the index, once."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)
from sqlalchemy import text
from structlog.testing import capture_logs

from node.completeness import AssociationEnd
from node.database import Database
from node.errors import OutOfResourcesError, SopMismatchError, UnreadableDatasetError
from node.intake import StoreRequest
from node.store import PlacementKind
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import dataset_bytes, mr_dataset, write_instance


@pytest.fixture
def arrivals(tmp_path: Path, database: Database) -> Arrivals:
    return Arrivals(tmp_path, database)


def ends(database: Database) -> list[tuple[str, str]]:
    with database.reading() as connection:
        statement = text("SELECT calling_ae, ended FROM associations ORDER BY opened_at, association_id")
        return [(row.calling_ae, row.ended) for row in connection.execute(statement)]


def request_for(tmp_path: Path) -> StoreRequest:
    dataset = mr_dataset()
    content = dataset_bytes(write_instance(tmp_path / "made", dataset))
    return StoreRequest(
        MRImageStorage, dataset.SOPInstanceUID, MRImageStorage, ExplicitVRLittleEndian, content
    )


def test_instance_is_indexed_with_sender_and_time(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    assert arrivals.send("a", 3, mr_dataset()) is PlacementKind.NEW
    (entry,) = arrivals.index.instances(STUDY_UID)
    assert (entry.calling_ae, entry.received_at) == ("SCANNER1", at(3))
    assert arrivals.store.path(entry.path).is_file()
    assert entry.sop_class_uid == MRImageStorage


def test_association_is_open_until_it_ends_and_ends_once(arrivals: Arrivals, database: Database) -> None:
    arrivals.open("a", 0)
    arrivals.send_series("a", 1)
    assert ends(database) == [("SCANNER1", "open")]
    arrivals.release("a", 2)
    arrivals.abort("a", 3)
    assert ends(database) == [("SCANNER1", "released")]
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert (carriage.opened_at, carriage.last_instance_at, carriage.closed_at) == (at(0), at(1), at(2))


def test_association_that_carries_nothing_leaves_no_trace(arrivals: Arrivals, database: Database) -> None:
    arrivals.open("a", 0)
    assert ends(database) == [("SCANNER1", "open")]
    arrivals.release("a", 1)
    assert ends(database) == []


def test_end_of_an_association_leaves_others_that_carry_nothing_yet(
    arrivals: Arrivals, database: Database
) -> None:
    arrivals.open("a", 0)
    arrivals.open("b", 0, "SCANNER2")
    arrivals.send_series("a", 1)
    arrivals.release("a", 2)
    assert sorted(ends(database)) == [("SCANNER1", "released"), ("SCANNER2", "open")]


def test_association_of_duplicates_only_still_carries_the_series(arrivals: Arrivals) -> None:
    arrivals.whole("a", 0)
    arrivals.open("b", 10)
    assert arrivals.send_series("b", 11) == [PlacementKind.SAME] * 3
    arrivals.release("b", 12)
    (arrival,) = arrivals.index.open_studies()
    assert arrival.instance_count == 3
    assert sorted(carriage.opened_at for carriage in arrival.carriages) == [at(0), at(10)]


def test_silent_peer_was_last_heard_before_it_was_given_up(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    arrivals.send("a", 1, mr_dataset())
    arrivals.abort("a", 301, silent_for_s=300)
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert (carriage.end, carriage.closed_at) == (AssociationEnd.ABORTED, at(1))


def test_conflict_is_kept_apart_and_listed(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    arrivals.send("a", 0, mr_dataset())
    assert arrivals.send("a", 1, mr_dataset(pixels=2)) is PlacementKind.CONFLICT
    assert arrivals.send("a", 2, mr_dataset(pixels=2)) is PlacementKind.CONFLICT
    (conflict,) = arrivals.index.conflicts(STUDY_UID)
    (entry,) = arrivals.index.instances(STUDY_UID)
    assert conflict.sop_instance_uid == entry.sop_instance_uid
    assert conflict.sha256 != entry.sha256


def test_uid_that_another_study_has_is_a_conflict(arrivals: Arrivals) -> None:
    other = mr_dataset(study=2)
    other.SOPInstanceUID = mr_dataset().SOPInstanceUID
    arrivals.open("a", 0)
    arrivals.send("a", 0, mr_dataset())
    assert arrivals.send("a", 1, other) is PlacementKind.CONFLICT
    assert arrivals.index.instances(other.StudyInstanceUID) == []
    (conflict,) = arrivals.index.conflicts(other.StudyInstanceUID)
    assert dataset_bytes(arrivals.store.path(conflict.path))
    (first,) = arrivals.index.instances(STUDY_UID)
    assert first.study_uid == STUDY_UID


@pytest.mark.parametrize(
    "change",
    [
        {"sop_class_uid": EnhancedMRImageStorage},
        {"context_sop_class_uid": EnhancedMRImageStorage},
        {"sop_instance_uid": "1.2.3"},
    ],
)
def test_instance_that_is_not_what_the_request_says_is_refused(
    arrivals: Arrivals, tmp_path: Path, change: dict[str, str]
) -> None:
    arrivals.open("a", 0)
    with pytest.raises(SopMismatchError, match=f"Study {STUDY_UID}") as caught:
        arrivals.intake.take("a", replace(request_for(tmp_path), **change))
    assert caught.value.status == 0xA900
    assert arrivals.index.instances(STUDY_UID) == []


def test_garbage_is_refused(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.open("a", 0)
    with pytest.raises(UnreadableDatasetError):
        arrivals.intake.take("a", replace(request_for(tmp_path), dataset=b"\xff" * 100))


def test_refused_instance_leaves_the_series_marked(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.open("a", 0)
    arrivals.send("a", 0, mr_dataset(number=2))
    with pytest.raises(SopMismatchError):
        arrivals.intake.take("a", replace(request_for(tmp_path), sop_instance_uid="1.2.3"))
    arrivals.release("a", 1)
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert (carriage.refused, carriage.refused_because) == (
        1,
        "SOP Instance UID of data set and request differ",
    )


def test_study_waits_for_an_image_that_cannot_be_read(arrivals: Arrivals, tmp_path: Path) -> None:
    request, content = request_for(tmp_path), request_for(tmp_path).dataset
    cut_short = replace(request, dataset=content[:-1])
    arrivals.open("a", 0)
    arrivals.send("a", 0, mr_dataset(number=2))
    with pytest.raises(UnreadableDatasetError, match=f"Study {STUDY_UID}"):
        arrivals.intake.take("a", cut_short)
    arrivals.release("a", 1)
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert (carriage.refused, carriage.refused_because) == (1, "data set cannot be parsed")
    arrivals.open("b", 2)
    with pytest.raises(UnreadableDatasetError):
        arrivals.intake.take("b", cut_short)
    arrivals.intake.take("b", request)
    arrivals.release("b", 3)
    assert sorted(each.refused for each in arrivals.index.open_studies()[0].carriages) == [0, 1]


@pytest.mark.parametrize(
    ("sop_class", "kept_bytes"),
    [
        pytest.param(SecondaryCaptureImageStorage, -1, id="no-image-that-is-evaluated"),
        pytest.param(MRImageStorage, 100, id="breaks-off-before-it-names-its-study"),
    ],
)
def test_what_cannot_be_read_and_concerns_no_study_leaves_no_mark(
    arrivals: Arrivals, tmp_path: Path, sop_class: str, kept_bytes: int
) -> None:
    content = request_for(tmp_path).dataset[:kept_bytes]
    arrivals.open("a", 0)
    arrivals.send("a", 0, mr_dataset(number=2))
    with pytest.raises(UnreadableDatasetError):
        arrivals.intake.take("a", replace(request_for(tmp_path), sop_class_uid=sop_class, dataset=content))
    arrivals.release("a", 1)
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert carriage.refused == 0


def test_refused_instance_that_comes_again_leaves_no_mark(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.open("a", 0)
    with pytest.raises(SopMismatchError):
        arrivals.intake.take("a", replace(request_for(tmp_path), sop_instance_uid="1.2.3"))
    arrivals.send("a", 1, mr_dataset())
    arrivals.release("a", 2)
    (carriage,) = arrivals.index.open_studies()[0].carriages
    assert carriage.refused == 0


def test_instance_after_the_end_of_its_association_is_refused(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    arrivals.abort("a", 1)
    with pytest.raises(OutOfResourcesError, match="after its association had ended"):
        arrivals.send("a", 2, mr_dataset())


def test_lost_index_is_out_of_resources_and_the_next_time_is_fine(
    arrivals: Arrivals, database: Database
) -> None:
    arrivals.open("a", 0)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE carried RENAME TO lost"))
    with pytest.raises(OutOfResourcesError, match="send it again"):
        arrivals.send("a", 1, mr_dataset())
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE lost RENAME TO carried"))
    assert arrivals.send("a", 2, mr_dataset()) is PlacementKind.NEW
    assert len(arrivals.index.instances(STUDY_UID)) == 1


def test_ending_that_the_index_could_not_take_is_entered_later(
    arrivals: Arrivals, database: Database
) -> None:
    arrivals.open("a", 0)
    arrivals.send_series("a", 1)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE associations RENAME TO lost"))
    arrivals.release("a", 2)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE lost RENAME TO associations"))
    assert ends(database) == [("SCANNER1", "open")]
    arrivals.clock.second = 60
    arrivals.intake.enter_endings()
    arrivals.intake.enter_endings()
    assert ends(database) == [("SCANNER1", "released")]
    assert arrivals.index.open_studies()[0].carriages[0].closed_at == at(2)


def test_many_endings_that_wait_for_the_index_are_told_in_one_line(
    arrivals: Arrivals, database: Database
) -> None:
    for key in "abc":
        arrivals.open(key, 0)
        arrivals.send_series(key, 1, series=key)
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE associations RENAME TO lost"))
    with capture_logs() as logged:
        for key in "abc":
            arrivals.release(key, 2)
        for _ in range(5):
            arrivals.intake.enter_endings()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE lost RENAME TO associations"))
    events = [entry["event"] for entry in logged if entry["log_level"] == "error"]
    assert events == 3 * ["intake.ending_not_entered"] + ["intake.endings_not_entered"]
    assert logged[-1]["associations"] == 3
    arrivals.intake.enter_endings()
    assert ends(database) == 3 * [("SCANNER1", "released")]


def test_associations_of_a_dead_receiver_are_aborted(tmp_path: Path, database: Database) -> None:
    dead, other = Arrivals(tmp_path, database), Arrivals(tmp_path, database, receiver_id="OTHER")
    for arrivals, key in ((dead, "a"), (other, "b")):
        arrivals.open(key, 0)
        arrivals.send_series(key, 5, series=key)
    dead.open("c", 6)
    restarted = Arrivals(tmp_path, database)
    assert restarted.index.open_receivers() == {"CSVD", "OTHER"}
    assert restarted.index.abort_left_open("CSVD") == 1
    assert sorted(end for _, end in ends(database)) == ["aborted", "open"]
    carriages = restarted.index.open_studies()[0].carriages
    assert [carried.closed_at for carried in carriages if carried.end is AssociationEnd.ABORTED] == [at(5)]


def test_association_of_a_receiver_that_was_taken_for_dead_ends_as_it_saw(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    arrivals.send_series("a", 1, count=4)
    arrivals.index.abort_left_open("CSVD")
    (carried,) = arrivals.index.open_studies()[0].carriages
    assert carried.end is AssociationEnd.ABORTED
    arrivals.send_series("a", 20)
    arrivals.release("a", 21)
    (carried,) = arrivals.index.open_studies()[0].carriages
    assert (carried.end, carried.closed_at, carried.broke_because) == (AssociationEnd.RELEASED, at(21), "")


def test_parallel_associations_of_one_study_are_all_counted(arrivals: Arrivals) -> None:
    keys = [f"association {number}" for number in range(6)]
    for key in keys:
        arrivals.open(key, 0)
    threads = [threading.Thread(target=arrivals.send_series, args=(key, 1, key, 5)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (arrival,) = arrivals.index.open_studies()
    assert arrival.instance_count == 30
    assert arrival.revision == 30
    assert len(arrival.carriages) == 6
