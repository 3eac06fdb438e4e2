"""The book of commitments keeps to what was asked of what was sent last, whatever comes late or twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily

from node.commitment_desk import CommitmentDesk
from node.commitment_report import CommitmentReport
from node.commitments import CommitmentRequest, Commitments
from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.errors import RefusedReportError, StudyAtWorkError
from node.evaluations import Evaluations, Result
from node.gauges import IndexCollector
from node.listing import study_rows
from node.outbound import DestinationSettings
from node.removal import Removals
from node.retention import Retention, RetentionSettings
from node.retrying import resend_study, retry_study
from node.settings import NodeSettings
from node.study_states import StudyState
from tests.support.arrivals import STUDY_UID, Arrivals, at

SEG = Result("1.2.3.1", "seg-WMH", "1.2.840.10008.5.1.4.1.1.66.4", "results/1.2/abc/wmh.dcm")
SR = Result("1.2.3.2", "sr", "1.2.840.10008.5.1.4.1.1.88.34", "results/1.2/abc/sr.dcm")
BOTH = frozenset({SEG.sop_instance_uid, SR.sop_instance_uid})
ARCHIVE = DestinationSettings(ae_title="ARCHIVE", host="127.0.0.1", port=104, commitment=True)
DAY = 86400.0


class Played:
    """Two results that an archive has, and was not asked for yet.

    Attributes:
        deliveries: the book of deliveries.
        book: the book of commitments.
        desk: takes reports.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self.arrivals, self.database = Arrivals(folder, database), database
        self.arrivals.whole("a", 0)
        self.clock, evaluations = self.arrivals.clock, Evaluations(database)
        evaluation = evaluations.begin(STUDY_UID, None, at(10))
        assert evaluation is not None
        self.evaluation_id = evaluation.evaluation_id
        evaluations.add_results(self.evaluation_id, [SEG, SR])
        evaluations.finish(self.evaluation_id, "", at(20))
        self.deliveries, self.book = Deliveries(database), Commitments(database)
        self.deliveries.queue(self.evaluation_id, "archive", sorted(BOTH), at(20))
        settings = NodeSettings(root=folder, destinations={"archive": ARCHIVE})
        self.desk = CommitmentDesk(settings, self.book, self.clock)
        self.send(30)

    def send(self, second: float, status: int = 0x0000) -> None:
        """Let the archive answer C-STORE of what is due with success."""
        self.clock.second = second
        for each in self.listed():
            if each.is_due(at(second)):
                self.deliveries.record_attempt(each, DeliveryState.SENT, status, "", at(second), at(second))

    def ask(self, transaction_uid: str, second: float) -> None:
        """Ask for both; the next time follows an hour later."""
        self.clock.second = second
        request = CommitmentRequest(transaction_uid, self.evaluation_id, "archive", BOTH, at(second))
        self.book.enter(request)
        for each in self.listed():
            self.book.record_request(each, "", at(second), at(second + 3600))

    def report(self, transaction_uid: str, second: float, refused: frozenset[str] = frozenset()) -> None:
        """Let the archive commit to all but some."""
        self.clock.second = second
        report = CommitmentReport(transaction_uid, BOTH - refused, dict.fromkeys(refused, 0x0112))
        self.desk.take("ARCHIVE", report)

    def listed(self) -> list[Delivery]:
        return self.deliveries.of_evaluation(self.evaluation_id)

    def states(self) -> list[DeliveryState]:
        return [each.state for each in self.listed()]

    def state(self) -> StudyState:
        (row,) = study_rows(self.database, self.clock(), CompletenessSettings())
        return row.state


@pytest.fixture
def played(tmp_path: Path, database: Database) -> Played:
    return Played(tmp_path, database)


def test_answer_that_is_there_before_its_request_was_seen_to_arrive_stays(played: Played) -> None:
    request = CommitmentRequest("1.9", played.evaluation_id, "archive", BOTH, at(31))
    played.book.enter(request)
    before = played.listed()
    played.report("1.9", 32)
    for each in before:
        played.book.record_request(each, "", at(33), at(3633))
    assert played.states() == [DeliveryState.DELIVERED] * 2
    assert {(each.next_attempt_at, each.committed_at) for each in played.listed()} == {(None, at(32))}


def test_commitment_of_one_archive_is_none_of_another(played: Played) -> None:
    played.deliveries.queue(played.evaluation_id, "other", sorted(BOTH), at(20))
    played.send(31)
    played.ask("1.9", 32)
    played.report("1.9", 40)
    assert [(each.destination, each.state) for each in played.listed()] == [
        ("archive", DeliveryState.DELIVERED),
        ("archive", DeliveryState.DELIVERED),
        ("other", DeliveryState.SENT),
        ("other", DeliveryState.SENT),
    ]


def test_node_that_died_after_it_entered_a_request_asks_again_at_once(played: Played) -> None:
    played.book.enter(CommitmentRequest("1.9", played.evaluation_id, "archive", BOTH, at(31)))
    assert len(played.deliveries.due(at(31))) == 2
    assert played.state() is StudyState.DELIVERING


def test_late_answer_to_an_earlier_request_counts(played: Played) -> None:
    played.ask("1.8", 31)
    played.ask("1.9", 3631)
    played.report("1.8", 3700)
    assert played.states() == [DeliveryState.DELIVERED] * 2
    played.report("1.9", 3800)
    assert {each.committed_at for each in played.listed()} == {at(3700)}


def test_answer_to_a_request_from_before_an_instance_was_sent_again_does_not_count(played: Played) -> None:
    played.ask("1.8", 31)
    lost = frozenset({SEG.sop_instance_uid})
    played.report("1.8", 40, lost)
    assert played.states() == [DeliveryState.FAILED, DeliveryState.DELIVERED]
    played.report("1.8", 41, lost)
    played.report("1.8", 42)
    assert played.states() == [DeliveryState.FAILED, DeliveryState.DELIVERED]
    (again, _) = played.listed()
    assert again.next_attempt_at is not None
    played.send((again.next_attempt_at - at(0)).total_seconds())
    played.report("1.8", 70, lost)
    assert played.states() == [DeliveryState.SENT, DeliveryState.DELIVERED]
    played.report("1.8", 71)
    assert played.states() == [DeliveryState.SENT, DeliveryState.DELIVERED]


@pytest.mark.parametrize("is_tried_again", [True, False], ids=["failed again", "to be sent again"])
def test_late_commitment_counts_for_what_was_taken_up_again_and_is_not_sent_anew(
    played: Played, *, is_tried_again: bool
) -> None:
    played.ask("1.8", 31)
    for each in played.listed():
        played.book.record_request(each, "", at(40), None)
    retry_study(played.database, STUDY_UID, ["archive"], at(50))
    before = played.listed()
    if is_tried_again:
        for each in before:
            played.deliveries.record_attempt(
                each, DeliveryState.FAILED, 0x0111, "0x0111 Duplicate SOP Instance", at(60), at(70)
            )
    played.report("1.8", 65)
    assert played.states() == [DeliveryState.DELIVERED] * 2
    assert {(each.last_status, each.last_comment, each.next_attempt_at) for each in played.listed()} == {
        (None, "", None)
    }
    for each in before:
        played.deliveries.record_attempt(each, DeliveryState.FAILED, 0xA700, "", at(66), at(76))
    assert played.states() == [DeliveryState.DELIVERED] * 2, "an attempt that was under way changes nothing"


def test_late_refusal_of_what_is_to_be_sent_again_changes_nothing(played: Played) -> None:
    played.ask("1.8", 31)
    for each in played.listed():
        played.book.record_request(each, "", at(40), None)
    retry_study(played.database, STUDY_UID, ["archive"], at(50))
    played.report("1.8", 65, BOTH)
    assert played.states() == [DeliveryState.PENDING] * 2


def test_what_the_archive_remarked_of_an_instance_outlives_requests_that_do_not_arrive(
    played: Played,
) -> None:
    def other() -> Delivery:
        (found,) = [each for each in played.listed() if each.destination == "old"]
        return found

    said = "0xB000 Coercion of Data Elements: Series Description shortened"
    played.deliveries.queue(played.evaluation_id, "old", [SR.sop_instance_uid], at(40))
    played.deliveries.record_attempt(other(), DeliveryState.SENT, 0xB000, said, at(41), at(41))
    played.book.record_request(other(), "cannot be reached", at(42), at(50))
    assert other().last_comment == "cannot be reached"
    played.book.settle_unasked(other())
    settled = other()
    assert (settled.state, settled.committed_at, settled.next_attempt_at) == (
        DeliveryState.WARNING,
        None,
        None,
    )
    assert settled.last_comment == said


def test_retry_sends_again_what_was_never_committed_to(played: Played) -> None:
    for each in played.listed():
        played.book.record_request(each, "reported nothing", at(31), None)
    assert played.state() is StudyState.FAILED
    said = retry_study(played.database, STUDY_UID, ["archive"], at(50))
    assert said == "2 Instances are sent again."
    assert [(each.state, each.next_attempt_at) for each in played.listed()] == [
        (DeliveryState.PENDING, at(50))
    ] * 2


def test_what_is_sent_again_has_to_be_committed_to_again(played: Played) -> None:
    played.ask("1.8", 31)
    played.report("1.8", 40)
    resend_study(played.database, STUDY_UID, ["archive"], at(50))
    assert {(each.state, each.sent_at, each.committed_at) for each in played.listed()} == {
        (DeliveryState.PENDING, None, None)
    }
    played.report("1.8", 51)
    assert played.states() == [DeliveryState.PENDING] * 2, "it may be the report of what was lost since"


def test_study_is_kept_until_the_archive_committed(played: Played) -> None:
    removals = Removals(played.database, played.arrivals.store, played.clock)
    retention = Retention(played.database, removals, RetentionSettings(days=30), played.clock)

    def is_here() -> bool:
        return bool(study_rows(played.database, played.clock(), CompletenessSettings()))

    played.ask("1.9", 31)
    with pytest.raises(StudyAtWorkError):
        removals.remove(STUDY_UID, "a test")
    played.clock.second = 100 * DAY
    retention.look()
    assert is_here()
    played.report("1.9", 101 * DAY)
    retention.look()
    assert is_here(), "time counts from the commitment"
    played.clock.second = 132 * DAY
    retention.look()
    assert not is_here()
    with pytest.raises(RefusedReportError, match="or the Study was removed since"):
        played.report("1.9", 133 * DAY)


def test_what_waits_for_a_commitment_is_measured_apart(played: Played) -> None:
    def measured() -> dict[str, float]:
        collector = IndexCollector(played.database, CompletenessSettings(), ("archive",), played.clock)
        families: list[GaugeMetricFamily] = list(collector.collect())
        return {
            family.name: family.samples[0].value
            for family in families
            if family.samples and "destination" in family.samples[0].labels
        }

    played.clock.second = 90
    assert measured() == {
        "csvd_deliveries_waiting": 0,
        "csvd_delivery_oldest_age_seconds": 0,
        "csvd_commitments_waiting": 2,
        "csvd_commitment_oldest_age_seconds": 60,
    }
