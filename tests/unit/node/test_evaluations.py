"""The books of evaluations and deliveries can be written twice and say the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, MRImageStorage, SegmentationStorage
from sqlalchemy import update

from node.commitments import CommitmentRequest, Commitments
from node.database import Database
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.errors import NothingToEvaluateError, UnknownEvaluationError, UnknownStudyError
from node.evaluations import Evaluation, Evaluations, EvaluationState, Result, fingerprint_of
from node.outcomes import Outcome, Outcomes
from node.tables import evaluations as evaluations_table
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset

SEG = Result("1.2.3.1", "seg.wmh", SegmentationStorage, "results/1.2/abc/wmh.dcm")
SR = Result("1.2.3.2", "sr", Comprehensive3DSRStorage, "results/1.2/abc/sr.dcm")


@pytest.fixture
def arrivals(tmp_path: Path, database: Database) -> Arrivals:
    played = Arrivals(tmp_path, database)
    played.whole("a", 0)
    return played


@pytest.fixture
def evaluations(database: Database, arrivals: Arrivals) -> Evaluations:
    return Evaluations(database)


@pytest.fixture
def deliveries(database: Database) -> Deliveries:
    return Deliveries(database)


def begun(evaluations: Evaluations, second: float = 10) -> Evaluation:
    evaluation = evaluations.begin(STUDY_UID, None, at(second))
    assert evaluation is not None
    return evaluation


def test_same_instances_are_the_same_evaluation(evaluations: Evaluations) -> None:
    first = begun(evaluations)
    assert begun(evaluations, 500) == first
    assert (first.number, first.run, first.state) == (1, 1, EvaluationState.WAITING)
    assert first.created_at == at(10)


def test_many_at_once_begin_one_evaluation(evaluations: Evaluations) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: begun(evaluations).evaluation_id, range(16)))
    assert len(found) == 1
    assert len(evaluations.of_study(STUDY_UID)) == 1


def test_outcome_that_many_extend_at_once_holds_what_each_added(
    database: Database, evaluations: Evaluations
) -> None:
    evaluation_id, outcomes = begun(evaluations).evaluation_id, Outcomes(database)
    first = Outcome(fingerprint="aa", choices=("c",), instances={"sr": "1"}, findings={}, destinations={})
    outcomes.record(evaluation_id, 1, first)

    def add(number: int) -> None:
        made = {"choices": (f"c{number}",), "instances": {f"key-image-{number}": f"1.{number}"}}
        outcomes.extend(evaluation_id, first.model_copy(update=made))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(16)))
    extended = outcomes.of(evaluation_id, "aa")
    assert extended is not None
    assert len(extended.instances) == len(extended.choices) == 17
    with pytest.raises(UnknownEvaluationError):
        outcomes.extend(evaluation_id, first.model_copy(update={"fingerprint": "bb"}))


def test_what_is_no_mr_image_takes_no_part(arrivals: Arrivals, evaluations: Evaluations) -> None:
    first = begun(evaluations)
    arrivals.open("b", 20, "PACS")
    arrivals.send("b", 21, mr_dataset(series=2, sop_class=SegmentationStorage))
    arrivals.release("b", 22)
    assert begun(evaluations, 30) == first
    assert {each.sop_class_uid for each in evaluations.inputs(first.evaluation_id)} == {MRImageStorage}


def test_study_without_an_mr_image_is_not_begun_and_says_why(
    arrivals: Arrivals, evaluations: Evaluations
) -> None:
    arrivals.open("b", 20)
    arrivals.send("b", 21, mr_dataset(study=2, sop_class=Comprehensive3DSRStorage))
    with pytest.raises(NothingToEvaluateError, match="none of its 1 Instances is an MR image"):
        evaluations.retry(mr_dataset(study=2).StudyInstanceUID, at(30))
    assert evaluations.of_study(mr_dataset(study=2).StudyInstanceUID) == []


def test_fingerprint_tells_instances_and_bytes_apart_but_not_their_order() -> None:
    inputs = [("1.2.3", "aa"), ("1.2.4", "bb")]
    digest = fingerprint_of(inputs)
    assert fingerprint_of(reversed(inputs)) == digest
    assert fingerprint_of(inputs[1:]) != digest
    assert fingerprint_of([("1.2.3", "cc"), ("1.2.4", "bb")]) != digest


def test_evaluation_goes_its_way(evaluations: Evaluations) -> None:
    evaluation_id = begun(evaluations).evaluation_id
    evaluations.start(evaluation_id, at(20))
    evaluations.report_progress(evaluation_id, "Segments T2-FLAIR")
    at_work = evaluations.start(evaluation_id, at(30))
    assert (at_work.state, at_work.started_at) == (EvaluationState.EVALUATING, at(20))
    assert at_work.progress == "Segments T2-FLAIR"
    assert evaluations.unfinished() == [at_work]
    evaluations.finish(evaluation_id, "", at(40))
    done = evaluations.get(evaluation_id)
    assert (done.state, done.finished_at, done.progress) == (EvaluationState.EVALUATED, at(40), "")
    assert evaluations.unfinished() == []


def test_evaluation_that_has_ended_stays_as_it_is_for_a_process_that_comes_late(
    evaluations: Evaluations,
) -> None:
    evaluation_id = evaluations.start(begun(evaluations).evaluation_id, at(20)).evaluation_id
    evaluations.finish(evaluation_id, "", at(40))
    done = evaluations.get(evaluation_id)
    evaluations.report_progress(evaluation_id, "writing results")
    evaluations.fail(evaluation_id, "The disk was full.", at(50))
    evaluations.finish(evaluation_id, "One result is missing.", at(60))
    assert evaluations.start(evaluation_id, at(70)) == done


def test_retry_runs_a_failed_evaluation_again(evaluations: Evaluations) -> None:
    evaluation_id = begun(evaluations).evaluation_id
    evaluations.start(evaluation_id, at(20))
    evaluations.fail(evaluation_id, "Two slices at one position.", at(30))
    failed = evaluations.get(evaluation_id)
    assert (failed.state, failed.reason) == (EvaluationState.FAILED, "Two slices at one position.")
    again = evaluations.retry(STUDY_UID, at(40))
    assert (again.evaluation_id, again.run, again.state) == (evaluation_id, 2, EvaluationState.WAITING)
    assert (again.reason, again.started_at, again.finished_at) == ("", None, None)


def test_retry_of_an_evaluation_at_work_changes_nothing(evaluations: Evaluations) -> None:
    at_work = evaluations.start(begun(evaluations).evaluation_id, at(20))
    assert evaluations.retry(STUDY_UID, at(30)) == at_work


@pytest.mark.parametrize("revision", [None, 1])
def test_unknown_study_is_not_begun(evaluations: Evaluations, revision: int | None) -> None:
    if revision is None:
        with pytest.raises(UnknownStudyError, match="csvd-node studies"):
            evaluations.retry("9.9.9", at(0))
    else:
        assert evaluations.begin("9.9.9", revision, at(0)) is None


@pytest.mark.parametrize("call", ["get", "start", "report_progress", "finish", "fail"])
def test_unknown_evaluation_is_named(evaluations: Evaluations, call: str) -> None:
    arguments = {
        "get": (),
        "start": (at(0),),
        "report_progress": ("text",),
        "finish": ("", at(0)),
        "fail": ("text", at(0)),
    }
    with pytest.raises(UnknownEvaluationError, match="abc"):
        getattr(evaluations, call)("abc", *arguments[call])


def test_results_are_entered_once(evaluations: Evaluations) -> None:
    evaluation_id = begun(evaluations).evaluation_id
    evaluations.add_results(evaluation_id, [SR, SEG])
    evaluations.add_results(evaluation_id, [replace(SEG, path="elsewhere")])
    assert evaluations.results(evaluation_id) == [SEG, SR]


def test_evaluation_with_results_is_superseded_even_if_it_failed_later(
    evaluations: Evaluations, arrivals: Arrivals
) -> None:
    first = begun(evaluations)
    evaluations.add_results(first.evaluation_id, [SEG])
    evaluations.fail(first.evaluation_id, "The report could not be written.", at(20))
    arrivals.whole("b", 30, series=2)
    assert begun(evaluations, 40).supersedes == first.evaluation_id


def test_latest_evaluation_with_results_of_its_own_is_superseded(
    evaluations: Evaluations, arrivals: Arrivals
) -> None:
    first = begun(evaluations)
    evaluations.add_results(first.evaluation_id, [SEG])
    evaluations.finish(first.evaluation_id, "", at(20))
    arrivals.whole("b", 30, series=2)
    failed = begun(evaluations, 40)
    evaluations.fail(failed.evaluation_id, "Two slices at one position.", at(50))
    arrivals.whole("c", 60, series=3)
    third = begun(evaluations, 70)
    assert third.supersedes == first.evaluation_id
    evaluations.add_results(third.evaluation_id, [SR])
    evaluations.finish(third.evaluation_id, "", at(80))
    arrivals.whole("d", 90, series=4)
    assert begun(evaluations, 100).supersedes == third.evaluation_id


def queued(evaluations: Evaluations, deliveries: Deliveries) -> list[Delivery]:
    evaluation_id = begun(evaluations).evaluation_id
    evaluations.add_results(evaluation_id, [SEG, SR])
    for destination in ("PACS", "RESEARCH"):
        deliveries.queue(evaluation_id, destination, ("1.2.3.1", "1.2.3.2"), at(100))
    return deliveries.of_evaluation(evaluation_id)


def test_each_result_is_queued_once_for_each_destination(
    evaluations: Evaluations, deliveries: Deliveries
) -> None:
    first = queued(evaluations, deliveries)
    assert [(each.destination, each.sop_instance_uid) for each in first] == [
        ("PACS", "1.2.3.1"),
        ("PACS", "1.2.3.2"),
        ("RESEARCH", "1.2.3.1"),
        ("RESEARCH", "1.2.3.2"),
    ]
    deliveries.queue(first[0].evaluation_id, "PACS", ("1.2.3.1",), at(999))
    assert deliveries.of_evaluation(first[0].evaluation_id) == first
    assert deliveries.due(at(99)) == []
    assert deliveries.due(at(100)) == first


def test_attempt_is_counted_once_and_planned_again(evaluations: Evaluations, deliveries: Deliveries) -> None:
    delivery = queued(evaluations, deliveries)[0]
    for _ in range(2):
        deliveries.record_attempt(
            delivery, DeliveryState.FAILED, 0xA700, "0xA700 out of resources", at(101), at(111)
        )
    tried = deliveries.of_evaluation(delivery.evaluation_id)[0]
    assert (tried.state, tried.attempts, tried.last_status) == (DeliveryState.FAILED, 1, 0xA700)
    assert (tried.last_comment, tried.last_attempt_at) == ("0xA700 out of resources", at(101))
    assert not tried.is_given_up
    assert tried not in deliveries.due(at(110))
    assert tried in deliveries.due(at(111))


def test_clock_that_was_ahead_and_is_put_right_holds_nothing_up(
    evaluations: Evaluations, deliveries: Deliveries
) -> None:
    """Queued and tried in a year to come: it would wait for that year. What was given up then stays so."""
    tried, given_up, *others = queued(evaluations, deliveries)
    year = 365 * 86400.0
    deliveries.record_attempt(tried, DeliveryState.FAILED, None, "", at(year), at(year + 10))
    deliveries.record_attempt(given_up, DeliveryState.FAILED, None, "", at(year), None)
    before = deliveries.of_evaluation(tried.evaluation_id)
    assert deliveries.due(at(50)) == [each for each in before if each.is_due(at(50))]
    assert len(deliveries.due(at(30))) == 1 + len(others), "queued at 100"
    assert [each.attempts for each in deliveries.due(at(50))] == [1], "clocks of two machines differ a little"
    deliveries.record_attempt(deliveries.due(at(50))[0], DeliveryState.FAILED, None, "", at(50), at(70))
    assert deliveries.due(at(60)) == []


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.WARNING])
def test_what_has_arrived_is_not_due_again(
    evaluations: Evaluations, deliveries: Deliveries, state: DeliveryState
) -> None:
    for delivery in queued(evaluations, deliveries):
        deliveries.record_attempt(delivery, state, 0, "", at(101), None)
    assert deliveries.due(at(1e6)) == []
    assert deliveries.queue_given_up(begun(evaluations).evaluation_id, ["PACS"], at(200)) == 0


def test_refused_instance_is_replaced_once(evaluations: Evaluations, deliveries: Deliveries) -> None:
    evaluation_id = begun(evaluations).evaluation_id
    evaluations.add_results(evaluation_id, [SEG, SR])
    deliveries.queue(evaluation_id, "PACS", [SEG.sop_instance_uid], at(100))
    (refused,) = deliveries.of_evaluation(evaluation_id)
    for second in (101, 102):
        deliveries.replace(refused, "no presentation context", [SR.sop_instance_uid], at(second))
    replaced, instead = deliveries.of_evaluation(evaluation_id)
    assert (replaced.state, replaced.attempts, replaced.next_attempt_at) == (DeliveryState.REPLACED, 1, None)
    assert not replaced.state.has_arrived
    assert (instead.sop_instance_uid, instead.state, instead.first_queued_at) == (
        SR.sop_instance_uid,
        DeliveryState.PENDING,
        at(101),
    )


@pytest.mark.parametrize("state", [DeliveryState.FAILED, DeliveryState.REFUSED, DeliveryState.REPLACED])
def test_what_was_given_up_can_be_queued_again(
    evaluations: Evaluations, deliveries: Deliveries, state: DeliveryState
) -> None:
    delivery, *others = queued(evaluations, deliveries)
    deliveries.record_attempt(delivery, state, None, "cannot be reached", at(101), None)
    for other in others:
        deliveries.record_attempt(other, DeliveryState.DELIVERED, 0, "", at(101), None)
    assert deliveries.of_evaluation(delivery.evaluation_id)[0].is_given_up
    assert deliveries.queue_given_up(delivery.evaluation_id, ["PACS"], at(200)) == 1
    (again,) = deliveries.due(at(200))
    assert (again.attempts, again.first_queued_at) == (0, at(200))


def test_only_what_was_given_up_for_a_destination_that_is_gone_is_forgotten(
    evaluations: Evaluations, deliveries: Deliveries
) -> None:
    for place, delivery in enumerate(queued(evaluations, deliveries)):
        state = (DeliveryState.FAILED, DeliveryState.DELIVERED)[place % 2]
        deliveries.record_attempt(delivery, state, None, "", at(101), None)
    before = deliveries.of_evaluation(delivery.evaluation_id)
    assert deliveries.forget_given_up(delivery.evaluation_id, ["PACS"]) == 1
    assert deliveries.of_evaluation(delivery.evaluation_id) == [*before[:2], before[3]]


def test_evaluation_that_begins_just_when_the_next_one_is_opened_is_superseded_by_it(
    database: Database, evaluations: Evaluations, arrivals: Arrivals
) -> None:
    """PostgreSQL lets both go on: what the next one read first may be no longer true."""
    first = begun(evaluations)
    arrivals.whole("b", 20, series=2)
    with ThreadPoolExecutor(1) as pool:
        with database.writing() as connection:
            begins = update(evaluations_table).values(state=EvaluationState.EVALUATING)
            connection.execute(begins.where(evaluations_table.c.evaluation_id == first.evaluation_id))
            opening = pool.submit(begun, evaluations, 30)
            with pytest.raises(TimeoutError):
                opening.result(0.5)
        assert opening.result(20).supersedes == first.evaluation_id
    assert evaluations.get(first.evaluation_id).state is EvaluationState.EVALUATING


class Books:
    """All that is entered of a Study, step by step.

    Attributes:
        steps: in the order in which they are made, each for a Study by its number.
    """

    def __init__(self, database: Database) -> None:
        self._evaluations, self._outcomes = Evaluations(database), Outcomes(database)
        self._deliveries, self._commitments = Deliveries(database), Commitments(database)
        self._ids: dict[int, str] = {}
        self.steps: list[Callable[[int], object]] = [
            self._begin,
            lambda study: self._evaluations.start(self._ids[study], at(2)),
            lambda study: self._evaluations.report_progress(self._ids[study], "Segments T1"),
            lambda study: self._evaluations.note_lost(self._ids[study]),
            self._make,
            lambda study: self._outcomes.extend(self._ids[study], _made(study, "key-images")),
            lambda study: self._evaluations.finish(self._ids[study], "", at(5)),
            lambda study: self._deliveries.queue(self._ids[study], "PACS", [f"1.2.{study}"], at(6)),
            lambda study: self._attempt(study, DeliveryState.SENT),
            lambda study: self._commitments.enter(self._request(study)),
            lambda study: self._commitments.record_request(self._delivery(study), "", at(8), None),
            lambda study: self._deliveries.queue_given_up(self._ids[study], ["PACS"], at(9)),
            lambda study: self._attempt(study, DeliveryState.FAILED),
            self._settle,
            lambda study: self._deliveries.queue(self._ids[study], "OLD", [f"1.2.{study}"], at(11)),
            lambda study: self._attempt(study, DeliveryState.REFUSED, "OLD"),
            lambda study: self._deliveries.forget_given_up(self._ids[study], ["PACS"]),
            lambda study: self._evaluations.fail(self._ids[study], "No.", at(12)),
            lambda study: self._evaluations.retry(_uid(study), at(13)),
        ]

    def all_of(self, study: int) -> tuple[object, ...]:
        """Read what is entered of a Study."""
        found = self._evaluations.of_study(_uid(study))
        evaluation_id = self._ids.get(study, "")
        return (
            found,
            self._evaluations.inputs(evaluation_id),
            self._evaluations.results(evaluation_id),
            self._deliveries.of_evaluation(evaluation_id),
            self._outcomes.latest(evaluation_id),
            self._outcomes.of(evaluation_id, "aa"),
            self._commitments.find(f"1.3.{study}"),
        )

    def _begin(self, study: int) -> None:
        evaluation = self._evaluations.begin(_uid(study), None, at(1))
        assert evaluation is not None
        self._ids[study] = evaluation.evaluation_id

    def _make(self, study: int) -> None:
        result = Result(f"1.2.{study}", "sr", Comprehensive3DSRStorage, f"results/{study}/sr.dcm")
        self._evaluations.add_results(self._ids[study], [result])
        self._outcomes.record(self._ids[study], 1, _made(study, "sr"))

    def _delivery(self, study: int, destination: str = "PACS") -> Delivery:
        found = self._deliveries.of_evaluation(self._ids[study])
        (delivery,) = [each for each in found if each.destination == destination]
        return delivery

    def _attempt(self, study: int, state: DeliveryState, destination: str = "PACS") -> None:
        delivery = self._delivery(study, destination)
        self._deliveries.record_attempt(delivery, state, 0, "", at(7), None)

    def _request(self, study: int) -> CommitmentRequest:
        uids = frozenset({f"1.2.{study}"})
        return CommitmentRequest(f"1.3.{study}", self._ids[study], "PACS", uids, at(8))

    def _settle(self, study: int) -> None:
        uids = frozenset({f"1.2.{study}"})
        settled = self._commitments.settle(self._request(study), {}, uids, at(10), lambda _: None)
        assert [each.sop_instance_uid for each in settled] == [f"1.2.{study}"]


def _uid(study: int) -> str:
    return str(mr_dataset(study).StudyInstanceUID)


def _made(study: int, role: str) -> Outcome:
    made = {role: f"1.2.{study}"}
    return Outcome(fingerprint="aa", choices=(role,), instances=made, findings={}, destinations={})


def test_what_is_entered_of_one_study_changes_nothing_of_any_other(
    database: Database, arrivals: Arrivals
) -> None:
    """The others stand each at another step of the way."""
    books = Books(database)
    others = range(2, len(books.steps) + 3)
    for study in (1, *others):
        arrivals.whole(f"association {study}", 0, count=1, study=study)
    before = {}
    for done, study in enumerate(others):
        for step in books.steps[:done]:
            step(study)
        before[study] = books.all_of(study)
    for step in books.steps:
        step(1)
    assert {study: books.all_of(study) for study in others} == before
    (evaluation,) = Evaluations(database).of_study(_uid(1))
    assert (evaluation.number, evaluation.run, evaluation.supersedes) == (1, 2, None)


def test_late_instance_gets_the_next_number(evaluations: Evaluations, arrivals: Arrivals) -> None:
    begun(evaluations)
    arrivals.open("b", 20)
    arrivals.send("b", 20, mr_dataset(1, 1, 9))
    assert begun(evaluations, 30).number == 2
