"""The list of Studies says where each one is, and why it goes no further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from node.completeness import ArrivalState, CompletenessSettings, is_complete
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.evaluations import Evaluations, Result
from node.listing import StudyChoice, StudyRow, each_study, study_page, study_rows
from node.outcomes import Outcome, Outcomes
from node.part10 import read_header
from node.rebuilding import rebuild
from node.round_trip_instance import NOT_EVALUATED, round_trip_instance
from node.round_trip_instance import STUDY_UID as ROUND_TRIP_UID
from node.store import ReceivedInstance
from node.study_states import StudyState, count_states
from node.study_view import StudyViews
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import dataset_bytes, mr_dataset, write_instance
from tests.support.series_files import uid_from
from tests.support.statements import statements

SETTINGS = CompletenessSettings()


class Played:
    """A Study, by its number, and the books on it."""

    def __init__(self, folder: Path, database: Database, study: int = 1) -> None:
        self.database, self.study = database, study
        self.uid = str(mr_dataset(study).StudyInstanceUID)
        self.arrivals = Arrivals(folder, database)
        self.evaluations, self.deliveries = Evaluations(database), Deliveries(database)

    def row(self, second: float = 1000) -> StudyRow:
        (row,) = [row for row in study_rows(self.database, at(second), SETTINGS) if row.study_uid == self.uid]
        return row

    def arrive(self, series: int = 1, second: float = 0) -> None:
        """Send a Series of it."""
        self.arrivals.whole(self.key(series), second, series, study=self.study)

    def key(self, series: int = 1) -> str:
        """Name the association that brings a Series."""
        return f"association {self.study} {series}"

    def send_other(self, second: float, series: int = 9) -> None:
        """Send what is no MR image of it, as a PACS that sends results back."""
        self.arrivals.open(self.key(series), second - 1, "PACS")
        self.arrivals.send(
            self.key(series), second, mr_dataset(self.study, series, sop_class=SegmentationStorage)
        )

    def begin(self) -> str:
        self.arrive()
        evaluation = self.evaluations.begin(self.uid, None, at(10))
        assert evaluation is not None
        return evaluation.evaluation_id

    def queue(self, *states: tuple[DeliveryState, float | None]) -> None:
        """Evaluate, queue, and enter for the first results what their attempt came to."""
        evaluation_id = self.begin()
        made = [
            Result(
                f"1.2.{self.study}.{number}", f"seg.{number}", SegmentationStorage, f"results/{number}.dcm"
            )
            for number in (1, 2)
        ]
        self.evaluations.add_results(evaluation_id, made)
        self.evaluations.finish(evaluation_id, "", at(20))
        self.deliveries.queue(evaluation_id, "PACS", [one.sop_instance_uid for one in made], at(20))
        for delivery, (state, again) in zip(
            self.deliveries.of_evaluation(evaluation_id), states, strict=False
        ):
            self.deliveries.record_attempt(
                delivery,
                state,
                None,
                "cannot be reached",
                at(21),
                None if again is None else at(again),
            )


@pytest.fixture
def played(tmp_path: Path, database: Database) -> Played:
    return Played(tmp_path, database)


def receiving(played: Played) -> None:
    played.arrivals.open(played.key(), 0)
    played.arrivals.send_series(played.key(), 1, study=played.study)


def held(played: Played) -> None:
    receiving(played)
    played.arrivals.abort(played.key(), 2)


def complete(played: Played) -> None:
    played.arrive()


def given_up(played: Played) -> None:
    held(played)
    assert played.arrivals.index.give_up(played.uid, 3, "It may be incomplete.")


def waiting(played: Played) -> None:
    played.begin()


def waiting_for_another(played: Played) -> None:
    evaluating(played)
    played.arrive(2, 20)
    assert played.evaluations.begin(played.uid, None, at(30)) is not None


def evaluating(played: Played) -> None:
    evaluation_id = played.begin()
    played.evaluations.start(evaluation_id, at(11))
    played.evaluations.report_progress(evaluation_id, "Segments T1")


def failed(played: Played) -> None:
    played.evaluations.fail(played.begin(), "Two slices at one position.", at(12))


def without_destination(played: Played) -> None:
    played.evaluations.finish(played.begin(), "", at(20))


def queued(played: Played) -> None:
    played.queue()


def one_to_come(played: Played) -> None:
    played.queue((DeliveryState.DELIVERED, None), (DeliveryState.FAILED, 31))


def all_delivered(played: Played) -> None:
    played.queue((DeliveryState.DELIVERED, None), (DeliveryState.WARNING, None))


def one_replaced(played: Played) -> None:
    played.queue((DeliveryState.DELIVERED, None), (DeliveryState.REPLACED, None))


def one_given_up(played: Played) -> None:
    played.queue((DeliveryState.DELIVERED, None), (DeliveryState.REFUSED, None))


def one_given_up_one_to_come(played: Played) -> None:
    played.queue((DeliveryState.REFUSED, None), (DeliveryState.FAILED, 31))


def without_image(played: Played) -> None:
    played.send_other(1)
    played.arrivals.release(played.key(9), 2)


def without_image_decided(played: Played) -> None:
    without_image(played)
    assert played.arrivals.index.keep(played.uid, 1)


def results_come_back(played: Played) -> None:
    """A PACS sends the results on to whoever sent the images; the index decides on them as the first time."""
    all_delivered(played)
    played.send_other(901)
    played.arrivals.release(played.key(9), 902)
    assert played.evaluations.begin(played.uid, None, at(910)) is not None


def results_break_off(played: Played) -> None:
    """A PACS sends results back, and breaks off: nothing of the images can be missing."""
    all_delivered(played)
    played.send_other(901)
    played.arrivals.abort(played.key(9), 902)
    (arrival,) = [each for each in played.arrivals.index.open_studies() if each.study_uid == played.uid]
    assert is_complete(arrival, at(910), SETTINGS).state is ArrivalState.COMPLETE
    assert played.evaluations.begin(played.uid, arrival.revision, at(910)) is not None


def others_break_off_before_results(played: Played) -> None:
    played.arrive()
    played.send_other(901)
    played.arrivals.abort(played.key(9), 902)


def others_break_off_after_more_images(played: Played) -> None:
    all_delivered(played)
    played.arrive(2, 850)
    played.send_other(901)
    played.arrivals.abort(played.key(9), 902)


def late_instance_after_delivery(played: Played) -> None:
    all_delivered(played)
    played.arrivals.open(played.key(2), 900)
    played.arrivals.send(played.key(2), 999, mr_dataset(played.study, 2, 1))


def rebuilt(played: Played, **changes: Any) -> None:
    """An Instance lies in the store that the index does not know, as after a backup of an earlier day."""
    content = dataset_bytes(
        write_instance(played.arrivals.store.root / "made", mr_dataset(played.study, 3, **changes))
    )
    header = read_header(content, ExplicitVRLittleEndian)
    played.arrivals.store.put(ReceivedInstance(header, "SCANNER1", "CSVD", content))
    assert rebuild(played.database, played.arrivals.store).added == 1


def image_rebuilt_after_delivery(played: Played) -> None:
    all_delivered(played)
    rebuilt(played)


def image_rebuilt_after_failure(played: Played) -> None:
    failed(played)
    rebuilt(played)


def image_rebuilt_while_evaluating(played: Played) -> None:
    evaluating(played)
    rebuilt(played)


def image_rebuilt_and_evaluated(played: Played) -> None:
    image_rebuilt_after_delivery(played)
    assert len(played.evaluations.inputs(played.evaluations.retry(played.uid, at(40)).evaluation_id)) == 4


def other_rebuilt_after_delivery(played: Played) -> None:
    all_delivered(played)
    rebuilt(played, sop_class=SegmentationStorage)


PLAYS: list[tuple[Callable[[Played], None], StudyState, str]] = [
    (receiving, StudyState.RECEIVING, "Association of SCANNER1 is still open."),
    (held, StudyState.HELD, "SCANNER1 aborted its association"),
    (complete, StudyState.WAITING, "3 Instances in 1 Series, quiet since"),
    (given_up, StudyState.FAILED, "It may be incomplete."),
    (waiting, StudyState.WAITING, "Waits for a worker."),
    (waiting_for_another, StudyState.WAITING, "Waits until an earlier evaluation of it has ended."),
    (evaluating, StudyState.EVALUATING, ""),
    (failed, StudyState.FAILED, "Two slices at one position."),
    (without_destination, StudyState.EVALUATED, "The results go to no destination"),
    (queued, StudyState.DELIVERING, ""),
    (
        one_to_come,
        StudyState.DELIVERING,
        "PACS: cannot be reached (attempt 1; next at 2024-01-15 09:00:31",
    ),
    (all_delivered, StudyState.DELIVERED, ""),
    (one_replaced, StudyState.FALLBACK, "PACS: cannot be reached"),
    (one_given_up, StudyState.FAILED, "PACS: cannot be reached (given up after 1 attempt)"),
    (one_given_up_one_to_come, StudyState.DELIVERING, "PACS: cannot be reached (given up after 1"),
    (without_image, StudyState.KEPT, "It holds no MR image"),
    (without_image_decided, StudyState.KEPT, "It holds no MR image"),
    (results_come_back, StudyState.DELIVERED, ""),
    (results_break_off, StudyState.DELIVERED, ""),
    (others_break_off_before_results, StudyState.HELD, "PACS aborted its association"),
    (others_break_off_after_more_images, StudyState.HELD, "PACS aborted its association"),
    (late_instance_after_delivery, StudyState.RECEIVING, "Association of SCANNER1 is still open."),
    (image_rebuilt_after_delivery, StudyState.HELD, "Rebuilt from the files"),
    (image_rebuilt_after_failure, StudyState.HELD, "Rebuilt from the files"),
    (image_rebuilt_while_evaluating, StudyState.EVALUATING, ""),
    (image_rebuilt_and_evaluated, StudyState.WAITING, "Waits for a worker."),
    (other_rebuilt_after_delivery, StudyState.DELIVERED, ""),
]
"""What happens to a Study, where it is then, and how the reason begins."""


@pytest.mark.parametrize(
    ("play", "state", "reason"), PLAYS, ids=lambda value: value.__name__ if callable(value) else ""
)
def test_row_says_where_a_study_is(
    played: Played, play: Callable[[Played], None], state: StudyState, reason: str
) -> None:
    play(played)
    row = played.row()
    assert row.state is state
    assert row.reason.startswith(reason)
    assert bool(row.reason) == bool(reason)
    with played.database.reading() as connection:
        counts = count_states(connection, at(1000), SETTINGS)
    assert {each for each, count in counts.items() if count} == {state}, "the database counts the same"
    assert counts[state] == 1
    found = {
        each: study_page(played.database, at(1000), SETTINGS, StudyChoice(each)).total for each in StudyState
    }
    assert found == dict(counts), "each is found by its state, and by no other"


def test_where_a_study_is_does_not_depend_on_others(tmp_path: Path, database: Database) -> None:
    each = [Played(tmp_path, database, study) for study in range(1, len(PLAYS) + 1)]
    for played, (play, _, _) in zip(each, PLAYS, strict=True):
        play(played)
    rows = [played.row() for played in each]
    assert [row.state for row in rows] == [state for _, state, _ in PLAYS]
    for row, (_, _, reason) in zip(rows, PLAYS, strict=True):
        assert row.reason.startswith(reason)
        assert (row.delivery_count <= 2, row.instance_count <= 7, row.series_count <= 3) == (True,) * 3
    with database.reading() as connection:
        counts = count_states(connection, at(1000), SETTINGS)
    for state in StudyState:
        wanted = {row.study_uid for row in rows if row.state is state}
        page = study_page(database, at(1000), SETTINGS, StudyChoice(state))
        assert {row.study_uid for row in page.rows} == wanted
        assert counts[state] == page.total == len(wanted)


def test_row_counts_what_is_there(played: Played) -> None:
    one_to_come(played)
    played.arrivals.open("b", 50)
    played.arrivals.send("b", 51, mr_dataset(1, 2, 1))
    played.arrivals.send("b", 52, mr_dataset(1, 2, 1, pixels=7))
    played.arrivals.release("b", 53)
    row = played.row()
    assert (row.study_uid, row.series_count, row.instance_count, row.conflict_count) == (STUDY_UID, 2, 4, 1)
    assert (row.first_at, row.last_at, row.evaluated_at) == (at(0), at(52), at(20))
    assert (row.delivered_count, row.delivery_count) == (1, 2)


def test_extent_tells_what_is_not_for_evaluation(played: Played) -> None:
    results_come_back(played)
    assert played.row().extent == "4 Instances in 2 Series, 1 of them no MR image"
    assert len(played.evaluations.of_study(STUDY_UID)) == 1


def test_progress_is_shown(played: Played) -> None:
    evaluating(played)
    assert played.row().progress == "Segments T1"


def test_latest_study_comes_first(played: Played) -> None:
    for second, study in ((0, 1), (50, 2), (20, 3)):
        played.arrivals.whole(f"association {study}", second, study=study)
    rows = study_rows(played.database, at(100), SETTINGS)
    assert [row.last_at for row in rows] == [at(50), at(20), at(0)]


def test_studies_are_listed_by_state_and_number(played: Played) -> None:
    for second, study in ((0, 1), (50, 2), (20, 3)):
        played.arrivals.whole(f"association {study}", second, study=study)
    played.evaluations.fail(played.begin(), "Two slices at one position.", at(12))
    now = (played.database, at(100), SETTINGS)
    assert [row.last_at for row in each_study(*now, limit=2)] == [at(50), at(20)]
    assert [row.state for row in each_study(*now, StudyState.FAILED)] == [StudyState.FAILED]
    assert list(each_study(*now, StudyState.DELIVERED)) == []


def test_delivered_studies_are_paged_and_the_others_worked_out_once(played: Played) -> None:
    """Nearly all of a large index are delivered: to work out twice where each is takes seconds."""
    for study in range(1, 7):
        played.arrivals.whole(f"association {study}", 10 * study, study=study)
        evaluation = played.evaluations.begin(str(uid_from("study", study)), None, at(100))
        assert evaluation is not None
        name = evaluation.evaluation_id
        if study == 6:
            continue
        if study == 3:
            played.evaluations.fail(name, "Two slices at one position.", at(101))
            continue
        result = Result(f"1.2.{study}", "sr", SegmentationStorage, "results/1.2/abc/sr.dcm")
        played.evaluations.add_results(name, [result])
        played.evaluations.finish(name, "", at(101))
        played.deliveries.queue(name, "PACS", [result.sop_instance_uid], at(102))
    for one in played.deliveries.due(at(103)):
        played.deliveries.record_attempt(one, DeliveryState.DELIVERED, 0x0000, "", at(104), None)

    def listed(**choice: Any) -> tuple[list[str], int]:
        page = study_page(played.database, at(1000), SETTINGS, StudyChoice(StudyState.DELIVERED, **choice))
        return [row.study_uid for row in page.rows], page.total

    delivered = [str(uid_from("study", study)) for study in (5, 4, 2, 1)]
    with statements(played.database) as made:
        assert listed() == (delivered, 4)
    assert sum("MATERIALIZED" in text for text, _ in made) == 1
    every = each_study(played.database, at(1000), SETTINGS, StudyState.DELIVERED)
    assert [row.study_uid for row in every] == delivered
    assert listed(size=3) == (delivered[:3], 4)
    assert listed(size=3, number=2) == (delivered[3:], 4)
    assert listed(size=3, number=3) == ([], 4)
    assert listed(uid=delivered[1][3:-1]) == ([delivered[1]], 1)
    assert listed(uid=delivered[1], exactly=True) == ([delivered[1]], 1)
    assert listed(uid=str(uid_from("study", 3)), exactly=True) == ([], 0)


def test_what_is_read_of_open_studies_needs_no_more_statements_for_more(played: Played) -> None:
    counts = []
    for study in range(1, 5):
        played.arrivals.whole(f"association {study}", study, study=study)
        with statements(played.database) as made:
            assert len(played.arrivals.index.open_studies()) == study
        counts.append(len(made))
    assert len(set(counts)) == 1


def test_rebuilt_study_waits_for_a_person(played: Played, tmp_path: Path) -> None:
    complete(played)
    other = Database(f"sqlite:///{tmp_path}/new.db")
    rebuild(other, played.arrivals.store)
    (row,) = study_rows(other, at(1000), SETTINGS)
    assert (row.state, row.instance_count) == (StudyState.HELD, 3)
    assert "`csvd-node retry` evaluates it" in row.reason
    other.close()


def test_the_test_instance_of_a_check_needs_nobody(played: Played) -> None:
    """It ends well though nothing of it can be assessed, so that a check raises no alarm."""
    played.arrivals.open("a", 0)
    played.arrivals.send("a", 1, round_trip_instance())
    played.arrivals.release("a", 2)
    evaluation = played.evaluations.begin(ROUND_TRIP_UID, None, at(10))
    assert evaluation is not None
    played.evaluations.finish(evaluation.evaluation_id, "", at(20))
    (row,) = study_rows(played.database, at(1000), SETTINGS)
    assert (row.state, row.reason) == (StudyState.EVALUATED, NOT_EVALUATED)


def test_what_the_last_run_made_is_shown(played: Played) -> None:
    """A run with newer models has results of its own beside the older ones, under UIDs in any order."""
    evaluation_id = played.begin()
    store = played.arrivals.store
    for run, (mark, uid) in enumerate((("first", "1.2.9"), ("second", "1.2.3")), 1):
        path = store.put_result(STUDY_UID, evaluation_id, f"{mark}-sr.dcm", b"report")
        store.put_result(STUDY_UID, evaluation_id, f"{mark}-overlays.png", mark.encode())
        played.evaluations.add_results(evaluation_id, [Result(uid, "sr", SegmentationStorage, path)])
        made = Outcome(fingerprint=mark, choices=(), instances={"sr": uid}, findings={}, destinations={})
        Outcomes(played.database).record(evaluation_id, run, made)
        views = StudyViews(played.database, store, SETTINGS, lambda: at(100))
        assert views.picture(STUDY_UID) == mark.encode()
