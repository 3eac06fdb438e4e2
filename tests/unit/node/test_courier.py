"""What becomes of deliveries whose attempt breaks, or whose destination is gone."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node.commitment_desk import CommitmentDesk
from node.commitments import Commitments
from node.courier import RESTARTED_WITHIN_S, UNCONFIGURED, Courier
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.errors import NothingDeliveredError, UnknownStudyError
from node.evaluations import Evaluations, EvaluationState, Result
from node.observation import NOBODY
from node.outbound import DestinationSettings
from node.outcomes import Outcome, Outcomes
from node.removal import Removals
from node.results.forms import Form
from node.retrying import resend_study, retry_study
from node.settings import NodeSettings
from node.storage import FolderFiles
from node.store import Store
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import scripted_pacs

SEG = Result("1.2.3.1", "seg-WMH", "1.2.840.10008.5.1.4.1.1.66.4", "results/1.2/abc/wmh.dcm")
SR = Result("1.2.3.2", "sr", "1.2.840.10008.5.1.4.1.1.88.34", "results/1.2/abc/sr.dcm")
PACS = DestinationSettings(ae_title="PACS", host="127.0.0.1", port=104)


class Played:
    """An evaluation whose results wait for a courier.

    Attributes:
        arrivals: of its Study.
        evaluation_id: of it.
        arrivals: what came of its Study.
        deliveries: the book.
        store: of its files.
        pictures: draws what a fallback needs.
        clock: of the courier.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.arrivals = arrivals = Arrivals(folder, database)
        arrivals.whole("a", 0)
        self.evaluations, self.outcomes = Evaluations(database), Outcomes(database)
        evaluation = self.evaluations.begin(STUDY_UID, None, at(10))
        assert evaluation is not None
        self.evaluation_id, self.clock = evaluation.evaluation_id, arrivals.clock
        self.evaluations.start(self.evaluation_id, at(11))
        self.evaluations.add_results(self.evaluation_id, [SEG, SR])
        self.deliveries, self.store, self._folder = Deliveries(database), arrivals.store, folder
        self._database = database
        self.pictures: object = None

    def routed_to(self, *names: str) -> None:
        """Enter what the evaluation made, and where it goes."""
        instances = {SEG.kind: SEG.sop_instance_uid, SR.kind: SR.sop_instance_uid}
        routed = dict.fromkeys(names, "it is the only destination")
        made = Outcome(fingerprint="aa", choices=(), instances=instances, findings={}, destinations=routed)
        self.outcomes.record(self.evaluation_id, 1, made)

    def courier(self, *destinations: str, **peers: DestinationSettings) -> Courier:
        """Make a courier that knows these destinations."""
        known = {**dict.fromkeys(destinations, PACS), **peers}
        settings = NodeSettings(root=self._folder, destinations=known)
        books = self.store, self.evaluations, self.outcomes, self.deliveries
        desk = CommitmentDesk(settings, Commitments(self._database), self.clock)
        return Courier(settings, *books, self.pictures, desk, self.clock, NOBODY)  # type: ignore[arg-type]


@pytest.fixture
def played(tmp_path: Path, database: Database) -> Played:
    return Played(tmp_path, database)


def test_attempt_that_broke_has_a_reason_and_is_made_again_as_after_any_other(played: Played) -> None:
    played.routed_to("pacs")
    courier, played.clock.second = played.courier("pacs"), 100
    courier.queue(played.evaluation_id)
    seg, _ = played.deliveries.of_evaluation(played.evaluation_id)
    played.deliveries.record_attempt(seg, DeliveryState.DELIVERED, 0, "", at(100), None)
    courier.fail(played.evaluation_id, "pacs", "Internal error (ValueError); the log has the details.")
    seg, report = played.deliveries.of_evaluation(played.evaluation_id)
    assert seg.state is DeliveryState.DELIVERED, "what arrived before it broke is there"
    assert (report.state, report.attempts, report.next_attempt_at) == (DeliveryState.FAILED, 1, at(110))
    assert report.last_comment == "Internal error (ValueError); the log has the details."


class RemovedWhileDrawn:
    """Draws no picture: a person removes the Study meanwhile."""

    def __init__(self, remove: Callable[[], object]) -> None:
        self.draw = lambda *_: remove()


def test_study_that_is_removed_while_it_is_sent_breaks_no_attempt(
    played: Played, database: Database, tmp_path: Path
) -> None:
    played.routed_to("pacs")
    for result in (SEG, SR):
        (tmp_path / "root" / result.path).parent.mkdir(parents=True, exist_ok=True)
        write_instance(tmp_path, mr_dataset()).rename(tmp_path / "root" / result.path)
    removals = Removals(database, played.store, played.clock)
    played.pictures = RemovedWhileDrawn(partial(removals.remove, STUDY_UID, "a test", unfinished=True))
    with scripted_pacs(sop_classes=[]) as pacs:
        courier = played.courier(pacs=PACS.model_copy(update={"port": pacs.port}))
        courier.queue(played.evaluation_id)
        courier.attempt(played.evaluation_id, "pacs")
    assert played.deliveries.of_evaluation(played.evaluation_id) == []


class OneMissing(FolderFiles):
    """A store that does not give one of its files, as a bucket that lost an object."""

    def local(self, path: str) -> Path:
        if path == SEG.path:
            raise FileNotFoundError(errno.ENOENT, "is not in the bucket")
        return super().local(path)


def test_result_that_the_store_does_not_give_holds_no_other_up(played: Played, tmp_path: Path) -> None:
    played.routed_to("pacs")
    root = tmp_path / "root"
    (root / SR.path).parent.mkdir(parents=True)
    write_instance(tmp_path, mr_dataset()).rename(root / SR.path)
    played.store = Store(root, OneMissing(root, "incoming"))
    with scripted_pacs() as pacs:
        courier = played.courier(pacs=PACS.model_copy(update={"port": pacs.port}))
        courier.queue(played.evaluation_id)
        courier.attempt(played.evaluation_id, "pacs")
    seg, report = played.deliveries.of_evaluation(played.evaluation_id)
    assert (seg.state, seg.last_comment) == (
        DeliveryState.FAILED,
        "cannot be read: is not in the bucket",
    )
    assert report.state is DeliveryState.DELIVERED


def test_destination_gets_what_it_wants_when_it_is_due_and_nothing_of_another(
    played: Played, tmp_path: Path
) -> None:
    played.routed_to("pacs", "archive")
    for result in (SEG, SR):
        (tmp_path / "root" / result.path).parent.mkdir(parents=True, exist_ok=True)
        write_instance(tmp_path, mr_dataset()).rename(tmp_path / "root" / result.path)

    def states() -> list[tuple[str, str, DeliveryState]]:
        listed = played.deliveries.of_evaluation(played.evaluation_id)
        return [(each.destination, each.kind, each.state) for each in listed]

    pending, delivered = DeliveryState.PENDING, DeliveryState.DELIVERED
    with scripted_pacs() as pacs, scripted_pacs() as archive:
        courier = played.courier(
            pacs=PACS.model_copy(update={"port": pacs.port, "forms": (Form.BINARY,)}),
            archive=PACS.model_copy(update={"port": archive.port}),
        )
        courier.queue(played.evaluation_id)
        before = [("archive", "seg-WMH", pending), ("archive", "sr", pending), ("pacs", "seg-WMH", pending)]
        assert states() == before
        played.clock.second = -1
        courier.attempt(played.evaluation_id, "pacs")
        assert states() == before, "not due yet"
        played.clock.second = 100
        courier.attempt(played.evaluation_id, "pacs")
        assert (len(pacs.received), len(archive.received)) == (1, 0)
        assert states() == [*before[:2], ("pacs", "seg-WMH", delivered)]


def test_results_of_an_evaluation_that_failed_meanwhile_are_not_queued(played: Played) -> None:
    played.routed_to("pacs")
    played.evaluations.fail(played.evaluation_id, "No.", at(20))
    played.courier("pacs").queue(played.evaluation_id)
    assert played.deliveries.of_evaluation(played.evaluation_id) == []
    assert played.evaluations.get(played.evaluation_id).state is EvaluationState.FAILED


def test_results_for_a_destination_that_was_renamed_meanwhile_are_not_forgotten(
    played: Played, database: Database
) -> None:
    played.routed_to("old")
    courier, played.clock.second = played.courier("new"), 100
    courier.queue(played.evaluation_id)
    courier.attempt(played.evaluation_id, "old")
    left = played.deliveries.of_evaluation(played.evaluation_id)
    assert [each.next_attempt_at for each in left] == [at(110)] * 2, "one restarted before this may know it"
    played.clock.second = 100 + RESTARTED_WITHIN_S
    courier.attempt(played.evaluation_id, "old")
    given_up = played.deliveries.of_evaluation(played.evaluation_id)
    assert [each.is_given_up for each in given_up] == [True, True]
    assert {each.last_comment for each in given_up} == {UNCONFIGURED}
    said = retry_study(database, STUDY_UID, ["new"], at(800))
    assert said == f"Evaluation {played.evaluation_id} waits for the node (run 2)."
    assert played.deliveries.of_evaluation(played.evaluation_id) == []


def test_retry_evaluates_what_came_later_and_broke_off_although_something_is_sent_again(
    played: Played, database: Database
) -> None:
    played.routed_to("pacs")
    courier, played.clock.second = played.courier("pacs"), 100
    courier.queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.FAILED, None, "", at(101), None)
    played.arrivals.open("b", 110)
    played.arrivals.send_series("b", 111, series=2)
    played.arrivals.abort("b", 112)
    (arrival,) = played.arrivals.index.open_studies()
    assert played.arrivals.index.give_up(STUDY_UID, arrival.revision, "It may be incomplete.")
    assert retry_study(database, STUDY_UID, ["pacs"], at(200)).endswith("waits for the node (run 1).")
    assert len(played.evaluations.of_study(STUDY_UID)) == 2
    assert len(played.deliveries.due(at(200))) == 2, "that is sent again, too"


def test_retry_serves_both_who_is_there_and_who_is_gone(played: Played, database: Database) -> None:
    played.routed_to("pacs", "old")
    courier, played.clock.second = played.courier("pacs"), 100
    courier.queue(played.evaluation_id)
    played.clock.second += RESTARTED_WITHIN_S
    courier.attempt(played.evaluation_id, "old")
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        if each.destination == "pacs":
            played.deliveries.record_attempt(each, DeliveryState.FAILED, None, "", at(101), None)
    assert retry_study(database, STUDY_UID, ["pacs"], at(200)).endswith("waits for the node (run 2).")
    left = played.deliveries.of_evaluation(played.evaluation_id)
    assert [(each.destination, each.next_attempt_at) for each in left] == [("pacs", at(200))] * 2


def test_what_an_archive_lost_is_sent_again_to_it_alone(played: Played, database: Database) -> None:
    played.routed_to("pacs", "archive")
    played.courier("pacs", "archive").queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.WARNING, 0xB000, "coerced", at(100), None)
    assert resend_study(database, STUDY_UID, ["pacs"], at(200)) == "2 Instances are sent again."
    listed = played.deliveries.of_evaluation(played.evaluation_id)
    assert [(each.destination, each.state, each.attempts, each.last_comment) for each in listed] == [
        ("archive", DeliveryState.WARNING, 1, "coerced"),
        ("archive", DeliveryState.WARNING, 1, "coerced"),
        ("pacs", DeliveryState.PENDING, 0, ""),
        ("pacs", DeliveryState.PENDING, 0, ""),
    ]
    assert {each.destination for each in played.deliveries.due(at(200))} == {"pacs"}


def test_what_is_sent_again_is_not_ended_by_who_was_at_it_before(played: Played, database: Database) -> None:
    played.routed_to("pacs")
    played.courier("pacs").queue(played.evaluation_id)
    before = played.deliveries.of_evaluation(played.evaluation_id)
    for each in before:
        played.deliveries.record_attempt(each, DeliveryState.DELIVERED, 0, "", at(100), None)
    resend_study(database, STUDY_UID, ["pacs"], at(200))
    for each in before:
        played.deliveries.record_attempt(each, DeliveryState.DELIVERED, 0, "", at(201), None)
    assert len(played.deliveries.due(at(200))) == 2


def test_that_results_of_an_earlier_evaluation_are_sent_again_is_said(
    played: Played, database: Database
) -> None:
    played.routed_to("pacs")
    played.courier("pacs").queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.DELIVERED, 0, "", at(100), None)
    played.arrivals.whole("b", 150, series=2)
    assert played.evaluations.begin(STUDY_UID, None, at(160)) is not None
    assert resend_study(database, STUDY_UID, ["pacs"], at(200)) == (
        f"2 Instances are sent again of evaluation {played.evaluation_id}, "
        "as none of a later one was delivered."
    )


def test_of_other_evaluations_nothing_is_sent_again(played: Played) -> None:
    played.routed_to("pacs")
    played.courier("pacs").queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.DELIVERED, 0, "", at(100), None)
    assert played.deliveries.queue_arrived("another", ["pacs"], at(200)) == 0
    assert played.deliveries.due(at(200)) == []


def test_what_was_never_delivered_can_not_be_sent_again(played: Played, database: Database) -> None:
    played.routed_to("pacs")
    played.courier("pacs").queue(played.evaluation_id)
    with pytest.raises(NothingDeliveredError, match="nothing of it was delivered to pacs"):
        resend_study(database, STUDY_UID, ["pacs"], at(200))
    with pytest.raises(UnknownStudyError, match="not in the index"):
        resend_study(database, "1.2.99", ["pacs"], at(200))


def test_request_for_commitment_that_broke_is_made_again_and_nothing_is_sent_again(played: Played) -> None:
    played.routed_to("pacs")
    courier, played.clock.second = played.courier("pacs"), 100
    courier.queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.SENT, 0, "", at(100), at(100))
    courier.fail(played.evaluation_id, "pacs", "Internal error (ValueError); the log has the details.")
    asked = played.deliveries.of_evaluation(played.evaluation_id)
    assert {(each.state, each.next_attempt_at) for each in asked} == {(DeliveryState.SENT, at(120))}


def test_destination_that_is_no_longer_asked_for_commitment_has_what_it_took(played: Played) -> None:
    played.routed_to("pacs")
    courier, played.clock.second = played.courier("pacs"), 100
    courier.queue(played.evaluation_id)
    for each in played.deliveries.of_evaluation(played.evaluation_id):
        played.deliveries.record_attempt(each, DeliveryState.SENT, 0, "", at(100), at(100))
    courier.attempt(played.evaluation_id, "pacs")
    taken = played.deliveries.of_evaluation(played.evaluation_id)
    assert {(each.state, each.next_attempt_at) for each in taken} == {(DeliveryState.DELIVERED, None)}
