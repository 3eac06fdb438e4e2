"""Complete Studies and due results become work, once, however often one looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage

from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.dispatcher import HANDED_IN_AT_ONCE, REMIND_S, Dispatcher, attempt_key
from node.evaluations import Evaluations, Result
from node.listing import study_rows
from node.study_states import StudyState
from node.urgency import UrgentRule
from tests.support.arrivals import STUDY_UID, Arrivals, at, enter_receiver
from tests.support.instances import mr_dataset

SETTINGS = CompletenessSettings(series_quiet_s=5, abandoned_after_s=60)


class Queue:
    """Keeps what it is given, as a queue does that takes the same work once."""

    def __init__(self) -> None:
        self.evaluations: dict[tuple[str, int], None] = {}
        self.deliveries: dict[tuple[str, str, str], None] = {}
        self.urgent: set[str] = set()

    def evaluate(self, evaluation_id: str, run: int, *, is_urgent: bool) -> None:
        self.evaluations[evaluation_id, run] = None

    def deliver(self, evaluation_id: str, destination: str, attempt: str, *, is_urgent: bool) -> None:
        self.deliveries[evaluation_id, destination, attempt] = None
        self.urgent |= {evaluation_id} if is_urgent else set()


class Node:
    """The parts around a dispatcher."""

    def __init__(self, arrivals: Arrivals, database: Database, remind_s: float = REMIND_S) -> None:
        self.arrivals, self.database, self.queue = arrivals, database, Queue()
        self.evaluations, self.deliveries = Evaluations(database), Deliveries(database)
        self.dispatcher = Dispatcher(
            arrivals.index,
            self.evaluations,
            self.deliveries,
            SETTINGS,
            self.queue,
            arrivals.clock,
            remind_s=remind_s,
        )

    def look(self, second: float) -> None:
        self.arrivals.clock.second = second
        self.dispatcher.dispatch()


@pytest.fixture
def node(tmp_path: Path, database: Database) -> Node:
    return Node(Arrivals(tmp_path, database), database)


def send_study(arrivals: Arrivals) -> None:
    arrivals.open("a", 0)
    arrivals.send("a", 1, mr_dataset())
    arrivals.release("a", 2)


def test_study_is_queued_once_when_it_is_quiet(node: Node) -> None:
    send_study(node.arrivals)
    node.look(6)
    assert not node.queue.evaluations, "4 s after the release it may still go on"
    node.look(7.5)
    node.look(8)
    ((evaluation_id, run),) = node.queue.evaluations
    assert run == 1
    assert node.evaluations.get(evaluation_id).study_uid == STUDY_UID


def test_silence_counts_from_when_senders_can_reach_the_node_and_the_list_says_the_same(node: Node) -> None:
    send_study(node.arrivals)
    enter_receiver(node.database, "CSVD", at(100))
    node.look(104)
    assert not node.queue.evaluations, "the sender may go on now that it can"
    (row,) = study_rows(node.database, at(104), SETTINGS)
    assert (row.state, row.reason) == (
        StudyState.RECEIVING,
        "Waits for more Instances until 2024-01-15 09:01:45 UTC.",
    )
    assert study_rows(node.database, at(105), SETTINGS)[0].state is StudyState.WAITING
    node.look(105)
    assert len(node.queue.evaluations) == 1


def test_aborted_study_is_given_up_with_a_reason(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send("a", 1, mr_dataset())
    node.arrivals.abort("a", 2)
    node.look(30)
    assert study_rows(node.database, at(30), SETTINGS)[0].state is StudyState.HELD
    node.look(63)
    (row,) = study_rows(node.database, at(63), SETTINGS)
    assert row.state is StudyState.FAILED
    assert "csvd-node retry" in row.reason
    assert not node.queue.evaluations


@pytest.mark.parametrize(
    "remind_s",
    [pytest.param(REMIND_S, id="quick-queue"), pytest.param(0.0, id="reminded-of-all-in-every-round")],
)
def test_long_backlog_is_handed_in_part_by_part(tmp_path: Path, database: Database, remind_s: float) -> None:
    """So that a Study is found complete meanwhile, when a destination comes back after days."""
    node = Node(Arrivals(tmp_path, database), database, remind_s)
    send_study(node.arrivals)
    node.look(8)
    ((evaluation_id, _),) = node.queue.evaluations
    names = [f"pacs{number}" for number in range(HANDED_IN_AT_ONCE + 5)]
    node.evaluations.add_results(evaluation_id, [Result("1.2.3", "sr", "1.2", "results/1")])
    for name in names:
        node.deliveries.queue(evaluation_id, name, ["1.2.3"], at(9))
    node.evaluations.finish(evaluation_id, "", at(9))
    node.look(10)
    assert len(node.queue.deliveries) == HANDED_IN_AT_ONCE
    node.look(11)
    assert sorted(destination for _, destination, _ in node.queue.deliveries) == sorted(names)


def test_results_that_come_back_make_no_new_work(node: Node) -> None:
    send_study(node.arrivals)
    node.look(8)
    ((evaluation_id, _),) = node.queue.evaluations
    node.evaluations.start(evaluation_id, at(9))
    node.evaluations.finish(evaluation_id, "", at(10))
    node.arrivals.open("b", 20, "PACS")
    node.arrivals.send("b", 21, mr_dataset(series=9, sop_class=SegmentationStorage))
    node.arrivals.release("b", 22)
    node.look(23)
    node.look(30)
    assert list(node.queue.evaluations) == [(evaluation_id, 1)]
    assert node.arrivals.index.open_studies() == []


def test_study_without_an_mr_image_is_kept_until_one_comes(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send("a", 1, mr_dataset(series=9, sop_class=SecondaryCaptureImageStorage))
    node.arrivals.release("a", 2)
    node.look(8)
    (row,) = study_rows(node.database, at(8), SETTINGS)
    assert (row.state, node.arrivals.index.open_studies()) == (StudyState.KEPT, [])
    node.arrivals.open("b", 20)
    node.arrivals.send("b", 21, mr_dataset())
    node.arrivals.release("b", 22)
    node.look(30)
    assert len(node.queue.evaluations) == 1


def test_evaluation_waits_for_an_earlier_one_at_work_whose_report_it_has_to_name(node: Node) -> None:
    send_study(node.arrivals)
    node.look(8)
    ((first, _),) = node.queue.evaluations
    node.evaluations.start(first, at(9))
    node.arrivals.open("b", 10)
    node.arrivals.send("b", 11, mr_dataset(number=2))
    node.arrivals.release("b", 12)
    node.look(18)
    assert len(node.evaluations.of_study(STUDY_UID)) == 2
    assert list(node.queue.evaluations) == [(first, 1)], "another worker would take the second one at once"
    node.evaluations.finish(first, "", at(20))
    node.look(21)
    second = node.evaluations.of_study(STUDY_UID)[1]
    assert (second.supersedes, list(node.queue.evaluations)) == (
        first,
        [(first, 1), (second.evaluation_id, 1)],
    )


def test_due_results_are_one_parcel_for_each_destination_and_a_retry_is_another(node: Node) -> None:
    send_study(node.arrivals)
    node.look(8)
    ((evaluation_id, _),) = node.queue.evaluations
    node.evaluations.start(evaluation_id, at(9))
    node.evaluations.add_results(
        evaluation_id, [Result(f"1.2.{n}", "sr", "1.2.840.10008.5.1.4.1.1.88.34", f"r{n}") for n in (1, 2)]
    )
    for destination in ("pacs", "research"):
        node.deliveries.queue(evaluation_id, destination, ["1.2.1", "1.2.2"], at(10))
    node.evaluations.finish(evaluation_id, "", at(10))
    node.look(11)
    node.look(11.5)
    assert sorted((who, where) for who, where, _ in node.queue.deliveries) == [
        (evaluation_id, "pacs"),
        (evaluation_id, "research"),
    ]
    for delivery in node.deliveries.due(at(11)):
        node.deliveries.record_attempt(delivery, DeliveryState.FAILED, 0xA700, "full", at(12), at(20))
    node.look(15)
    assert len(node.queue.deliveries) == 2, "nothing is due before its time"
    node.look(21)
    assert len(node.queue.deliveries) == 4


def test_results_of_an_urgent_study_are_handed_in_as_urgent(tmp_path: Path, database: Database) -> None:
    node = Node(Arrivals(tmp_path, database, urgent=(UrgentRule(calling_ae="ER1"),)), database)
    for number, sender in enumerate(("MR1", "ER1"), 1):
        node.arrivals.open(sender, 0, sender)
        node.arrivals.send(sender, 1, mr_dataset(study=number))
        node.arrivals.release(sender, 2)
    node.look(8)
    by_study = {each.study_uid: each.evaluation_id for each in node.evaluations.unfinished()}
    for number, evaluation_id in enumerate(by_study.values()):
        sr = Result(f"1.2.{number}", "sr", "1.2.840.10008.5.1.4.1.1.88.34", f"r{number}")
        node.evaluations.add_results(evaluation_id, [sr])
        node.deliveries.queue(evaluation_id, "pacs", [sr.sop_instance_uid], at(9))
    node.look(10)
    assert len(node.queue.deliveries) == 2
    assert node.queue.urgent == {by_study[mr_dataset(study=2).StudyInstanceUID]}


def test_urgent_work_is_handed_in_before_an_older_backlog(tmp_path: Path, database: Database) -> None:
    node = Node(Arrivals(tmp_path, database, urgent=(UrgentRule(calling_ae="ER1"),)), database)
    for number, sender in enumerate(("MR1", "ER1"), 1):
        node.arrivals.open(sender, 10 * number, sender)
        node.arrivals.send(sender, 10 * number + 1, mr_dataset(study=number))
        node.arrivals.release(sender, 10 * number + 2)
        node.look(10 * number + 8)
    ordinary, urgent = node.queue.evaluations
    restarted = Node(node.arrivals, database)
    restarted.look(40)
    assert list(restarted.queue.evaluations) == [urgent, ordinary]


def test_attempt_is_named_by_what_is_due_and_not_by_its_order(node: Node) -> None:
    test_due_results_are_one_parcel_for_each_destination_and_a_retry_is_another(node)
    due = node.deliveries.due(at(30))
    assert attempt_key(due) == attempt_key(due[::-1])
    assert attempt_key(due) != attempt_key(due[:1])
