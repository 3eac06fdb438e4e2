"""Brings results to their destinations: fills the outbox, makes attempts, keeps the book."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from node.deliveries import Deliveries, Delivery, DeliveryState
from node.evaluations import Evaluations, EvaluationState
from node.observation import NOBODY, Observer, Stage
from node.sender import SendOutcome, next_attempt_at, send
from node.settings import NodeSettings
from node.store import Store

log = structlog.get_logger(__name__)

ARRIVED = frozenset({DeliveryState.DELIVERED, DeliveryState.WARNING})


class Courier:
    """Sends the results of evaluations.

    Args:
        settings: destinations, routes and patience.
        store: holds the files.
        evaluations: says what an evaluation made, and of what.
        deliveries: the book of deliveries.
        clock: the current time, with a time zone.
        observer: is told of each attempt.
    """

    def __init__(
        self,
        settings: NodeSettings,
        store: Store,
        evaluations: Evaluations,
        deliveries: Deliveries,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._settings, self._store, self._clock, self._observer = settings, store, clock, observer
        self._evaluations, self._deliveries = evaluations, deliveries

    def queue(self, evaluation_id: str) -> None:
        """Queue the results for the destinations of the Study's senders and mark the evaluation as done."""
        if self._evaluations.get(evaluation_id).state is not EvaluationState.EVALUATING:
            return
        senders = sorted({instance.calling_ae for instance in self._evaluations.inputs(evaluation_id)})
        destinations = self._settings.destinations_for(senders)
        self._deliveries.queue(evaluation_id, destinations, self._clock())
        self._evaluations.finish(evaluation_id, self._clock())
        log.info("evaluation.done", evaluation_id=evaluation_id, destinations=destinations)

    def attempt(self, evaluation_id: str, destination: str) -> None:
        """Send what is due of an evaluation to a destination and enter the outcome of each Instance."""
        now = self._clock()
        due = [
            delivery
            for delivery in self._deliveries.of_evaluation(evaluation_id)
            if delivery.destination == destination
            and delivery.next_attempt_at is not None
            and delivery.next_attempt_at <= now
        ]
        if not due:
            return
        peer = self._settings.destinations.get(destination)
        if peer is None:
            for delivery in due:
                self._give_up(delivery, "the destination is no longer configured")
            return
        paths = [self._store.path(delivery.path) for delivery in due]
        for delivery, outcome in zip(due, send(paths, peer, self._settings.sender), strict=True):
            self._enter(delivery, outcome)

    def _enter(self, delivery: Delivery, outcome: SendOutcome) -> None:
        now = self._clock()
        following = (
            None
            if outcome.state in ARRIVED
            else next_attempt_at(
                delivery.attempts + 1, delivery.first_queued_at, now, self._settings.sender.retry
            )
        )
        self._deliveries.record_attempt(
            delivery, outcome.state, outcome.status, outcome.comment, now, following
        )
        self._tell(delivery, outcome, now, following)
        log.info(
            "delivery.attempted",
            evaluation_id=delivery.evaluation_id,
            sop_instance_uid=delivery.sop_instance_uid,
            destination=delivery.destination,
            state=outcome.state.value,
            status=outcome.status,
            attempt=delivery.attempts + 1,
        )

    def _tell(
        self, delivery: Delivery, outcome: SendOutcome, now: datetime, following: datetime | None
    ) -> None:
        status = f"{outcome.status:04X}" if outcome.status is not None else outcome.state.value
        self._observer.delivery_attempted(delivery.destination, status)
        study_uid = self._evaluations.get(delivery.evaluation_id).study_uid
        if outcome.state in ARRIVED:
            self._observer.stage_ended(Stage("delivery", study_uid, delivery.first_queued_at, now))
        elif following is None:
            self._observer.study_failed(study_uid)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        self._deliveries.record_attempt(delivery, DeliveryState.FAILED, None, reason, self._clock(), None)
