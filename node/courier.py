"""Brings results to their destinations: fills the outbox, makes attempts, keeps the book."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from node.commitment_desk import CommitmentDesk, wants_commitment
from node.deliveries import Deliveries, Delivery, DeliveryState
from node.errors import NodeError, UnknownEvaluationError, words_of
from node.evaluations import Evaluations, EvaluationState
from node.later_pictures import LaterPictures
from node.observation import NOBODY, Observer, Stage
from node.outcomes import Outcome, Outcomes
from node.refusals import Replacement, replacement_of
from node.send_outcome import SendOutcome
from node.sender import next_attempt_at
from node.settings import Destination, NodeSettings
from node.store import Store
from node.transport import deliver

log = structlog.get_logger(__name__)

UNCONFIGURED = (
    "the destination is no longer configured; `csvd-node retry` sends the results where they go now"
)
"""Why results do not leave whose destination was renamed or taken out."""

RESTARTED_WITHIN_S = 600.0
"""How long processes are restarted one after the other with another configuration, s: those that were know
destinations that this one may not know yet."""


class Courier:
    """Sends the results of evaluations.

    Args:
        settings: destinations, routes and patience.
        store: holds the files.
        evaluations: the book of evaluations.
        outcomes: says what an evaluation made, and for whom.
        deliveries: the book of deliveries.
        pictures: draws what a fallback needs.
        desk: asks for commitment where that is wanted.
        clock: the current time, with a time zone.
        observer: is told of each attempt.
    """

    def __init__(
        self,
        settings: NodeSettings,
        store: Store,
        evaluations: Evaluations,
        outcomes: Outcomes,
        deliveries: Deliveries,
        pictures: LaterPictures,
        desk: CommitmentDesk,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._settings, self._store, self._clock, self._observer = settings, store, clock, observer
        self._evaluations, self._outcomes, self._deliveries = evaluations, outcomes, deliveries
        self._pictures, self._desk = pictures, desk

    def queue(self, evaluation_id: str) -> None:
        """Queue for each destination what was made of the forms that it wants; mark the evaluation as done.

        For a destination that was taken out of the configuration meanwhile all forms are queued: the attempt
        says why they do not leave, and nobody would learn of it else.
        """
        evaluation = self._evaluations.get(evaluation_id)
        if evaluation.state is not EvaluationState.EVALUATING:
            return
        outcome = self._outcome(evaluation_id)
        for name in outcome.destinations:
            peer = self._settings.destinations.get(name)
            wanted = peer.choice.wanted(outcome.instances) if peer else list(outcome.instances)
            instances = [outcome.instances[role] for role in wanted]
            self._deliveries.queue(evaluation_id, name, instances, self._clock())
        self._evaluations.finish(evaluation_id, outcome.problem, self._clock())
        if outcome.problem:
            self._observer.study_failed(evaluation.study_uid)
        log.info(
            "evaluation.done",
            study_uid=evaluation.study_uid,
            evaluation_id=evaluation_id,
            destinations=outcome.destinations,
        )

    def attempt(self, evaluation_id: str, destination: str) -> None:
        """Send what is due of an evaluation to a destination and enter the outcome of each Instance.

        What arrived is asked for at once where the destination has to commit to it. Of a Study that is
        removed meanwhile nothing is entered.
        """
        try:
            self._attempt(evaluation_id, destination)
        except UnknownEvaluationError:
            log.info("delivery.gone", evaluation_id=evaluation_id, destination=destination)

    def _attempt(self, evaluation_id: str, destination: str) -> None:
        due = self._due(evaluation_id, destination)
        if not due:
            return
        peer = self._settings.destinations.get(destination)
        if peer is None:
            given_up = self._leave_to_others(due)
        else:
            given_up = self._send([each for each in due if not _is_sent(each)], peer)
            waiting = self._due(evaluation_id, destination) if wants_commitment(peer) else due
            given_up |= self._desk.ask([each for each in waiting if _is_sent(each)], peer)
        if given_up:
            self._observer.study_failed(due[0].study_uid)

    def fail(self, evaluation_id: str, destination: str, reason: str) -> None:
        """Enter of what is still due that the attempt broke, so that it is tried again as after any other."""
        due, given_up = self._due(evaluation_id, destination), False
        for delivery in due:
            if _is_sent(delivery):
                given_up |= self._desk.broke(delivery, reason)
                continue
            outcome = SendOutcome(self._store.root / delivery.path, DeliveryState.FAILED, comment=reason)
            given_up |= self._enter(delivery, outcome)
        if given_up:
            self._observer.study_failed(due[0].study_uid)

    def _due(self, evaluation_id: str, destination: str) -> list[Delivery]:
        now = self._clock()
        return [
            delivery
            for delivery in self._deliveries.of_evaluation(evaluation_id)
            if delivery.destination == destination and delivery.is_due(now)
        ]

    def _send(self, due: Sequence[Delivery], peer: Destination) -> bool:
        """Send what is due, enter what came of it, and tell whether any of it was given up."""
        if not due:
            return False
        outcomes = list(zip(due, self._deliver(due, peer), strict=True))
        refused = {
            delivery.sop_instance_uid
            for delivery, outcome in outcomes
            if outcome.state is DeliveryState.REFUSED
        }
        problem = self._draw_fallback(due[0], peer) if refused else ""
        given_up = False
        for delivery, outcome in outcomes:
            if problem and outcome.state is DeliveryState.REFUSED:
                # Half of a fallback would never be made whole.
                given_up |= self._enter(delivery, replace(outcome, comment=f"{outcome.comment}; {problem}"))
                continue
            replacement = self._replacement(delivery, outcome, peer, refused)
            if outcome.state.has_arrived and wants_commitment(peer):
                self._enter_sent(delivery, outcome)
            elif replacement is None:
                given_up |= self._enter(delivery, outcome)
            else:
                self._replace(delivery, outcome, replacement)
        return given_up

    def _deliver(self, due: Sequence[Delivery], peer: Destination) -> list[SendOutcome]:
        """Send what the store gives; what it does not give holds nothing else up."""
        files = self._store.each_path(each.path for each in due)
        there = [file for file in files if isinstance(file, Path)]
        sent = iter(deliver(there, peer, self._settings.sender) if there else ())
        return [
            next(sent) if isinstance(file, Path) else self._unsent(each, file)
            for each, file in zip(due, files, strict=True)
        ]

    def _unsent(self, delivery: Delivery, error: OSError) -> SendOutcome:
        comment = f"cannot be read: {words_of(error)}"
        return SendOutcome(self._store.root / delivery.path, DeliveryState.FAILED, comment=comment)

    def _outcome(self, evaluation_id: str) -> Outcome:
        outcome = self._outcomes.latest(evaluation_id)
        if outcome is None:
            raise UnknownEvaluationError(evaluation_id)
        return outcome

    def _draw_fallback(self, delivery: Delivery, peer: Destination) -> str:
        """Make the pictures that a destination falls back to, and say why if they cannot be made now."""
        try:
            self._pictures.draw(delivery.evaluation_id, peer.fallback_choice.forms)
        except (NodeError, OSError) as error:
            reason = words_of(error) if isinstance(error, OSError) else str(error)
            log.warning(
                "fallback.failed",
                study_uid=delivery.study_uid,
                evaluation_id=delivery.evaluation_id,
                destination=delivery.destination,
                reason=reason,
            )
            return f"its fallback cannot be made: {reason}"
        return ""

    def _replacement(
        self, delivery: Delivery, outcome: SendOutcome, peer: Destination, refused: set[str]
    ) -> Replacement | None:
        if outcome.state is not DeliveryState.REFUSED:
            return None
        queued = [
            each
            for each in self._deliveries.of_evaluation(delivery.evaluation_id)
            if each.destination == delivery.destination
        ]
        made = self._outcome(delivery.evaluation_id)
        return replacement_of(delivery, outcome.comment, peer, made, queued, refused)

    def _replace(self, delivery: Delivery, outcome: SendOutcome, replacement: Replacement) -> None:
        self._deliveries.replace(delivery, replacement.comment, replacement.instances, self._clock())
        self._observer.delivery_attempted(delivery.destination, DeliveryState.REPLACED.value)
        log.warning("delivery.refused", reason=replacement.comment, **delivery.named)

    def _enter(self, delivery: Delivery, outcome: SendOutcome) -> bool:
        """Enter the outcome of an attempt, and tell whether the delivery is given up with it."""
        now = self._clock()
        following = (
            None
            if outcome.state.has_arrived
            else next_attempt_at(
                delivery.attempts + 1,
                delivery.first_queued_at,
                now,
                self._settings.sender.retry,
                outcome.asked_pause_s,
            )
        )
        self._deliveries.record_attempt(
            delivery, outcome.state, outcome.status, outcome.comment, now, following
        )
        self._tell(delivery, outcome, outcome.state, now, following)
        return following is None and not outcome.state.has_arrived

    def _enter_sent(self, delivery: Delivery, outcome: SendOutcome) -> None:
        """Enter that an Instance arrived for which its destination is to take responsibility, too."""
        now = self._clock()
        state = DeliveryState.SENT
        self._deliveries.record_attempt(delivery, state, outcome.status, outcome.comment, now, now)
        self._tell(delivery, outcome, state, now, None)

    def _tell(
        self,
        delivery: Delivery,
        outcome: SendOutcome,
        state: DeliveryState,
        now: datetime,
        following: datetime | None,
    ) -> None:
        told = log.bind(**delivery.named)
        (told.info if outcome.state.has_arrived else told.warning)(
            "delivery.attempted",
            state=state.value,
            status=None if outcome.status is None else f"0x{outcome.status:04X}",
            # What a destination remarks beside its status may name the patient.
            reason=outcome.comment if outcome.status is None else "",
            attempt=delivery.attempts + 1,
            next_attempt_at=following and following.isoformat(timespec="seconds"),
        )
        status = f"{outcome.status:04X}" if outcome.status is not None else outcome.state.value
        self._observer.delivery_attempted(delivery.destination, status)
        if outcome.state.has_arrived:
            self._observer.stage_ended(Stage("delivery", delivery.study_uid, delivery.first_queued_at, now))

    def _leave_to_others(self, due: Sequence[Delivery]) -> bool:
        """Enter that this process knows no such destination; once no other can either, that is given up."""
        retry, now, given_up = self._settings.sender.retry, self._clock(), False
        patience = retry.model_copy(
            update={"give_up_after_s": min(retry.give_up_after_s, RESTARTED_WITHIN_S)}
        )
        for each in due:
            following = next_attempt_at(each.attempts + 1, each.first_queued_at, now, patience)
            self._deliveries.record_attempt(each, DeliveryState.FAILED, None, UNCONFIGURED, now, following)
            event = "delivery.given_up" if following is None else "delivery.left_to_others"
            log.warning(event, reason=UNCONFIGURED, **each.named)
            given_up |= following is None
        return given_up


def _is_sent(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.SENT
