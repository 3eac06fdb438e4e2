"""Watches the index and hands out work: complete Studies to be evaluated, results to be sent."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

import structlog

from node.completeness import ArrivalState, CompletenessSettings, StudyArrival, is_complete
from node.deliveries import Deliveries, Delivery
from node.evaluations import Evaluations, EvaluationState
from node.index import Index
from node.observation import NOBODY, Observer, Stage

log = structlog.get_logger(__name__)

REMIND_S = 60.0
"""How long work that was handed in is taken for known to the queue, s; a second time changes nothing."""

HANDED_IN_AT_ONCE = 100
"""Work handed in with one look, so that Studies are found complete while a long backlog is handed in."""


class WorkQueue(Protocol):
    """Takes work once, however often it is handed in under the same key, until it ended."""

    def evaluate(self, evaluation_id: str, run: int, *, is_urgent: bool) -> None:
        """Queue one run of an evaluation."""

    def deliver(self, evaluation_id: str, destination: str, attempt: str, *, is_urgent: bool) -> None:
        """Queue one attempt to deliver what is due of an evaluation to a destination."""


class Dispatcher:
    """Turns what the index says into work; it may die at any moment and be started again.

    Args:
        index: what arrived.
        evaluations: the book of evaluations.
        deliveries: the book of deliveries.
        settings: when a Study is complete.
        queue: takes the work.
        clock: the current time, with a time zone.
        observer: is told of Studies that became complete or are given up.
        remind_s: how long work that was handed in is taken for known to the queue, s.
    """

    def __init__(
        self,
        index: Index,
        evaluations: Evaluations,
        deliveries: Deliveries,
        settings: CompletenessSettings,
        queue: WorkQueue,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
        remind_s: float = REMIND_S,
    ) -> None:
        self._index, self._evaluations, self._deliveries = index, evaluations, deliveries
        self._settings, self._queue, self._clock = settings, queue, clock
        self._observer, self._remind_s = observer, remind_s
        self._handed_in: dict[str, float] = {}

    def dispatch(self) -> None:
        """Look once at everything that waits.

        Raises:
            IndexUnavailableError: if the index does not answer; the next look finds all of it again.
        """
        now = self._clock()
        for arrival in self._index.open_studies():
            self._decide(arrival, now)
        urgent_first = sorted(self._work(now), key=lambda each: not each[0])
        self._hand_in({name: hand_in for _, name, hand_in in urgent_first})

    def _work(self, now: datetime) -> Iterator[tuple[bool, str, Callable[[], None]]]:
        """List what is to be done: whether it is urgent, and a name of its own.

        An evaluation waits while an earlier one of its Study is at work, whose report its own has to name.
        """
        unfinished = self._evaluations.unfinished()
        at_work = {each.study_uid for each in unfinished if each.state is EvaluationState.EVALUATING}
        for each in unfinished:
            if each.state is EvaluationState.WAITING and each.study_uid in at_work:
                continue
            hand_in = functools.partial(
                self._queue.evaluate, each.evaluation_id, each.run, is_urgent=each.is_urgent
            )
            yield each.is_urgent, f"{each.evaluation_id} {each.run}", hand_in
        due = sorted(self._deliveries.due(now), key=_parcel)
        for (evaluation_id, destination), parts in itertools.groupby(due, key=_parcel):
            parcel = list(parts)
            attempt, is_urgent = attempt_key(parcel), parcel[0].is_urgent
            hand_in = functools.partial(
                self._queue.deliver, evaluation_id, destination, attempt, is_urgent=is_urgent
            )
            yield is_urgent, f"{evaluation_id} {destination} {attempt}", hand_in

    def _hand_in(self, work: dict[str, Callable[[], None]]) -> None:
        """Hand in what the queue was not given a short while ago: a long queue costs nothing each round.

        What it was never given comes first: to remind it of a long backlog may take all of every round.
        """
        began = time.monotonic()
        self._handed_in = {name: at for name, at in self._handed_in.items() if name in work}
        handed_in_at = {name: self._handed_in.get(name, float("-inf")) for name in work}
        due = (name for name, at in handed_in_at.items() if began - at >= self._remind_s)
        for name in sorted(due, key=handed_in_at.__getitem__)[:HANDED_IN_AT_ONCE]:
            work[name]()
            self._handed_in[name] = began

    def _decide(self, arrival: StudyArrival, now: datetime) -> None:
        verdict = is_complete(arrival, now, self._settings)
        if verdict.state is ArrivalState.COMPLETE:
            evaluation = self._evaluations.begin(arrival.study_uid, arrival.revision, now)
            # It is an earlier one where no MR image came since.
            if evaluation is not None and evaluation.created_at == now:
                log.info(
                    "study.complete", study_uid=arrival.study_uid, evaluation_id=evaluation.evaluation_id
                )
                quiet_since = max(carried.last_instance_at for carried in arrival.carriages)
                self._observer.stage_ended(Stage("quiet_wait", arrival.study_uid, quiet_since, now))
        elif verdict.state is ArrivalState.KEPT and self._index.keep(arrival.study_uid, arrival.revision):
            log.info("study.kept", study_uid=arrival.study_uid, reason=verdict.reason)
        elif verdict.state is ArrivalState.ABANDONED and self._index.give_up(
            arrival.study_uid, arrival.revision, verdict.reason
        ):
            log.warning("study.given_up", study_uid=arrival.study_uid, reason=verdict.reason)
            self._observer.study_failed(arrival.study_uid)


def attempt_key(due: list[Delivery]) -> str:
    """Name an attempt by what is due and how often each part was tried: the same twice is the same work."""
    lines = sorted(
        f"{part.sop_instance_uid} {part.attempts} {part.first_queued_at.isoformat()}\n" for part in due
    )
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()[:16]


def _parcel(delivery: Delivery) -> tuple[str, str]:
    return delivery.evaluation_id, delivery.destination
