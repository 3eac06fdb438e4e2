"""However a Study comes in, it ends in exactly one right evaluation, or in a sentence that says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.completeness import ArrivalState, CompletenessSettings, is_complete
from node.database import Database
from node.evaluations import Evaluation, Evaluations, EvaluationState
from node.listing import study_rows
from node.study_states import StudyState
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset

SETTINGS = CompletenessSettings(series_quiet_s=5, abandoned_after_s=100)


@dataclass
class Node:
    """A receiver and the decision that is taken each second."""

    arrivals: Arrivals
    evaluations: Evaluations
    now: int = 0

    def look_until(self, second: int) -> None:
        """Decide at every second until the given one."""
        while self.now < second:
            self.now += 1
            self.look()

    def look(self) -> None:
        for arrival in self.arrivals.index.open_studies():
            verdict = is_complete(arrival, at(self.now), SETTINGS)
            if verdict.state is ArrivalState.COMPLETE:
                self.evaluations.begin(arrival.study_uid, arrival.revision, at(self.now))
            elif verdict.state is ArrivalState.ABANDONED:
                self.arrivals.index.give_up(arrival.study_uid, arrival.revision, verdict.reason)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """SQLite alone: the rules are the same on PostgreSQL, and many seconds are played."""
    opened = Database(f"sqlite:///{tmp_path}/index.db")
    yield opened
    opened.close()


@pytest.fixture
def node(tmp_path: Path, database: Database) -> Node:
    return Node(Arrivals(tmp_path, database), Evaluations(database))


def one_association(node: Node) -> None:
    node.arrivals.whole("a", 0, series=1, count=6)


def one_association_per_series(node: Node) -> None:
    for start, series in enumerate((1, 2)):
        node.look_until(start * 3)
        node.arrivals.whole(f"association {series}", start * 3, series)


def two_associations_at_once(node: Node) -> None:
    """The first Instance of the second takes long, as one of many frames does."""
    node.arrivals.open("a", 0)
    node.arrivals.open("b", 1)
    node.arrivals.send_series("a", 2, series=1)
    node.arrivals.release("a", 3)
    node.look_until(30)
    node.arrivals.send_series("b", 30, series=2)
    node.arrivals.release("b", 31)


def interleaved_series(node: Node) -> None:
    node.arrivals.open("a", 0)
    for number in range(1, 4):
        for series in (1, 2):
            node.look_until(number * 10 + series)
            node.arrivals.send("a", number * 10 + series, mr_dataset(1, series, number))
    node.arrivals.release("a", 40)


def slow_association(node: Node) -> None:
    node.arrivals.open("a", 0)
    for number in range(1, 7):
        node.look_until(number * 60)
        node.arrivals.send("a", number * 60, mr_dataset(1, 1, number))
    node.arrivals.release("a", 400)


def aborted_then_all_sent_again(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 1, count=4)
    node.arrivals.abort("a", 2)
    node.look_until(60)
    node.arrivals.whole("b", 60, count=6)


def aborted_then_the_rest_sent(node: Node) -> None:
    node.arrivals.whole("a", 0, series=1)
    node.arrivals.open("b", 2)
    node.arrivals.send("b", 3, mr_dataset(1, 2, 1))
    node.arrivals.abort("b", 4)
    node.look_until(60)
    node.arrivals.open("c", 60)
    for number in (2, 3):
        node.arrivals.send("c", 61, mr_dataset(1, 2, number))
    node.arrivals.release("c", 62)


def aborted_at_the_very_end_then_sent_again(node: Node) -> None:
    """All was stored before the abort: what is sent again is known already, and still heals."""
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 1, count=6)
    node.arrivals.abort("a", 2)
    node.look_until(60)
    node.arrivals.whole("b", 60, count=6)


def sent_twice(node: Node) -> None:
    node.arrivals.whole("a", 0, count=6)
    node.look_until(20)
    node.arrivals.whole("b", 20, count=6)


def sent_twice_at_once(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.open("b", 0)
    for number in range(1, 7):
        for key in ("a", "b"):
            node.arrivals.send(key, number, mr_dataset(1, 1, number))
    node.arrivals.release("a", 8)
    node.arrivals.release("b", 20)


def given_up_then_sent_again(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 1, count=4)
    node.arrivals.abort("a", 2)
    node.look_until(200)
    node.arrivals.whole("b", 200, count=6)


def receiver_killed_then_sent_again(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 1, count=4)
    node.arrivals.clock.second = 30
    node.arrivals.index.abort_left_open("CSVD")
    node.look_until(60)
    node.arrivals.whole("b", 60, count=6)


@pytest.mark.parametrize(
    "play",
    [
        one_association,
        one_association_per_series,
        two_associations_at_once,
        interleaved_series,
        slow_association,
        aborted_then_all_sent_again,
        aborted_then_the_rest_sent,
        aborted_at_the_very_end_then_sent_again,
        sent_twice,
        sent_twice_at_once,
        given_up_then_sent_again,
        receiver_killed_then_sent_again,
    ],
    ids=lambda play: play.__name__,
)
def test_study_of_six_instances_gets_exactly_one_evaluation_of_all(
    node: Node, play: Callable[[Node], None]
) -> None:
    play(node)
    node.look_until(node.now + 120)
    (evaluation,) = node.evaluations.of_study(STUDY_UID)
    assert evaluation.state is EvaluationState.WAITING
    assert evaluation.supersedes is None
    assert len(node.evaluations.inputs(evaluation.evaluation_id)) == 6
    assert node.arrivals.index.open_studies() == []


def test_study_that_stays_aborted_fails_with_one_sentence(node: Node, database: Database) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 1)
    node.arrivals.abort("a", 2)
    node.look_until(500)
    assert node.evaluations.of_study(STUDY_UID) == []
    (row,) = study_rows(database, at(500), SETTINGS)
    assert row.state is StudyState.FAILED
    assert f"`csvd-node retry {STUDY_UID}` processes the 3 Instances that came." in row.reason


def late_instances(node: Node, when: EvaluationState) -> list[Evaluation]:
    """Send a second Series after the first evaluation came to a state."""
    node.arrivals.whole("a", 0, series=1)
    node.look_until(10)
    (first,) = node.evaluations.of_study(STUDY_UID)
    if when is not EvaluationState.WAITING:
        node.evaluations.start(first.evaluation_id, at(10))
    if when is EvaluationState.FAILED:
        node.evaluations.fail(first.evaluation_id, "No such luck.", at(11))
    node.arrivals.whole("b", 20, series=2)
    node.look_until(40)
    return node.evaluations.of_study(STUDY_UID)


def test_late_instances_supersede_an_evaluation_at_work(node: Node) -> None:
    first, second = late_instances(node, EvaluationState.EVALUATING)
    assert (first.state, second.state) == (EvaluationState.EVALUATING, EvaluationState.WAITING)
    assert second.supersedes == first.evaluation_id
    assert len(node.evaluations.inputs(first.evaluation_id)) == 3
    assert len(node.evaluations.inputs(second.evaluation_id)) == 6


def test_late_instances_take_the_place_of_an_evaluation_that_waits(node: Node) -> None:
    first, second = late_instances(node, EvaluationState.WAITING)
    assert first.state is EvaluationState.SUPERSEDED
    assert second.supersedes is None
    assert node.evaluations.start(first.evaluation_id, at(50)).state is EvaluationState.SUPERSEDED


def test_evaluation_that_failed_without_results_is_not_superseded(node: Node) -> None:
    first, second = late_instances(node, EvaluationState.FAILED)
    assert first.state is EvaluationState.FAILED
    assert second.supersedes is None


def test_instance_between_verdict_and_decision_starts_nothing(node: Node) -> None:
    node.arrivals.whole("a", 0)
    (judged,) = node.arrivals.index.open_studies()
    node.arrivals.open("b", 10)
    node.arrivals.send("b", 10, mr_dataset(1, 2, 1))
    assert node.evaluations.begin(STUDY_UID, judged.revision, at(10)) is None
    assert not node.arrivals.index.give_up(STUDY_UID, judged.revision, "Too late.")
    assert node.evaluations.of_study(STUDY_UID) == []
    assert len(node.arrivals.index.open_studies()) == 1


def test_other_studies_go_on_beside_one_that_is_held(node: Node) -> None:
    node.arrivals.open("a", 0)
    node.arrivals.send_series("a", 0, study=1)
    node.arrivals.abort("a", 1)
    node.arrivals.whole("b", 2, study=2)
    node.look_until(20)
    assert node.evaluations.of_study(STUDY_UID) == []
    assert len(node.evaluations.of_study(str(mr_dataset(study=2).StudyInstanceUID))) == 1
