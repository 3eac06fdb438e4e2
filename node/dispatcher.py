"""Watches the index and hands out work: complete Studies to be evaluated, results to be sent."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

import structlog

from node.completeness import ArrivalState, CompletenessSettings, StudyArrival, is_complete
from node.deliveries import Deliveries, Delivery
from node.errors import IndexUnavailableError, PartStoppedError, QueueUnavailableError
from node.evaluations import Evaluations
from node.index import Index
from node.observation import NOBODY, Observer, Stage

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""Pause between two looks at the index, s; far below the quiet time of a Series."""


class WorkQueue(Protocol):
    """Takes work once, however often it is handed in under the same key."""

    def evaluate(self, evaluation_id: str, run: int) -> None:
        """Queue one run of an evaluation."""

    def deliver(self, evaluation_id: str, destination: str, attempt: str) -> None:
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
    ) -> None:
        self._index, self._evaluations, self._deliveries = index, evaluations, deliveries
        self._settings, self._queue, self._clock = settings, queue, clock
        self._observer = observer
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dispatcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def check(self) -> str:
        """Say that the index is watched.

        Raises:
            PartStoppedError: if the thread that does so ended.
        """
        if not self._thread.is_alive():
            raise PartStoppedError("dispatcher")
        return "watches the index"

    def dispatch(self) -> None:
        """Look once at everything that waits.

        Raises:
            IndexUnavailableError: if the index does not answer; the next look finds all of it again.
        """
        now = self._clock()
        for arrival in self._index.open_studies():
            self._decide(arrival, now)
        for evaluation in self._evaluations.unfinished():
            self._queue.evaluate(evaluation.evaluation_id, evaluation.run)
        due = sorted(self._deliveries.due(now), key=_parcel)
        for (evaluation_id, destination), parts in itertools.groupby(due, key=_parcel):
            self._queue.deliver(evaluation_id, destination, attempt_key(list(parts)))

    def _decide(self, arrival: StudyArrival, now: datetime) -> None:
        verdict = is_complete(arrival, now, self._settings)
        if verdict.state is ArrivalState.COMPLETE:
            evaluation = self._evaluations.begin(arrival.study_uid, arrival.revision, now)
            if evaluation is not None:
                log.info(
                    "study.complete", study_uid=arrival.study_uid, evaluation_id=evaluation.evaluation_id
                )
                quiet_since = max(carried.last_instance_at for carried in arrival.carriages)
                self._observer.stage_ended(Stage("quiet_wait", arrival.study_uid, quiet_since, now))
        elif verdict.state is ArrivalState.ABANDONED and self._index.give_up(
            arrival.study_uid, arrival.revision, verdict.reason
        ):
            log.warning("study.given_up", study_uid=arrival.study_uid, reason=verdict.reason)
            self._observer.study_failed(arrival.study_uid)

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.dispatch()
            except (IndexUnavailableError, QueueUnavailableError) as error:
                log.warning("dispatcher.index_unavailable", reason=str(error))
            # The outermost boundary of the thread: one Study that trips a fault must not stop all others.
            except Exception:
                log.exception("dispatcher.failed")


def attempt_key(due: list[Delivery]) -> str:
    """Name an attempt by what is due and how often each part was tried: the same twice is the same work."""
    lines = sorted(
        f"{part.sop_instance_uid} {part.attempts} {part.first_queued_at.isoformat()}\n" for part in due
    )
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()[:16]


def _parcel(delivery: Delivery) -> tuple[str, str]:
    return delivery.evaluation_id, delivery.destination
