"""Asks destinations to take responsibility for what they were sent, and enters what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeGuard

import structlog
from pydicom.uid import generate_uid

from node.commitment_report import (
    INVALID_ARGUMENT_VALUE,
    CommitmentReport,
    Reporting,
    failure_in_words,
)
from node.commitment_request import request_commitment
from node.commitments import CommitmentRequest, Commitments
from node.deliveries import Delivery
from node.errors import AssociationFailedError, RefusedReportError
from node.observation import NOBODY, Observer
from node.outbound import DestinationSettings
from node.sender import next_attempt_at
from node.settings import Destination, NodeSettings

log = structlog.get_logger(__name__)

NO_REPORT = "the archive took the requests for its commitment and reported nothing"
"""Why what was sent is given up: the last request arrived."""


def wants_commitment(destination: Destination) -> TypeGuard[DestinationSettings]:
    """Tell whether a destination has to take responsibility for what it is sent."""
    return isinstance(destination, DestinationSettings) and destination.commitment


class CommitmentDesk:
    """Has two sides: it asks where results are sent, and takes answers where associations come in.

    Args:
        settings: destinations and patience.
        commitments: the book of commitments.
        clock: the current time, with a time zone.
        observer: is told of each answer.
    """

    def __init__(
        self,
        settings: NodeSettings,
        commitments: Commitments,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._settings, self._commitments = settings, commitments
        self._clock, self._observer = clock, observer

    @property
    def reporting(self) -> Reporting:
        """Who may report, and where to."""
        asked = (each.answers_to for each in self._settings.destinations.values() if wants_commitment(each))
        return Reporting(frozenset(asked), self.take)

    def ask(self, sent: Sequence[Delivery], peer: Destination) -> bool:
        """Ask for what was sent and is due, and tell whether any of it was given up.

        Args:
            sent: of one evaluation and destination.
            peer: the destination.
        """
        if not wants_commitment(peer):
            for each in sent:
                self._commitments.settle_unasked(each)
            return False
        over = [each for each in sent if self._clock() >= self._deadline(each)]
        for each in over:
            self._enter(each, each.last_comment or NO_REPORT, None)
        due = [each for each in sent if each not in over]
        has_ended = self._ask(due, peer) if due else False
        return has_ended or bool(over)

    def broke(self, delivery: Delivery, reason: str) -> bool:
        """Enter that a request broke, and tell whether the delivery is given up with it."""
        following = self._tried_again_at(delivery)
        self._enter(delivery, reason, following)
        return following is None

    def take(self, calling_ae: str, report: CommitmentReport) -> None:
        """Enter what a destination answers; the same again changes nothing.

        Args:
            calling_ae: AE title of the destination.
            report: what it says.

        Raises:
            RefusedReportError: if it was not asked for that.
            IndexUnavailableError: if the index cannot be written; then nothing is entered.
        """
        request = self._commitments.find(report.transaction_uid)
        peer = self._settings.destinations.get(request.destination) if request else None
        said = f"{calling_ae} reports on transaction {report.transaction_uid}"
        if request is None or peer is None or peer.answers_to != calling_ae:
            why = "it was not asked for that, or the Study was removed since"
            raise RefusedReportError(INVALID_ARGUMENT_VALUE, f"{said}: {why}")
        if report.named - request.sop_instance_uids:
            raise RefusedReportError(INVALID_ARGUMENT_VALUE, f"{said} and names Instances beyond the request")
        refused = {
            uid: f"the archive refused commitment: {failure_in_words(reason)}"
            for uid, reason in report.refused.items()
        }
        now = self._clock()
        again_at = partial(self._sent_again_at, now)
        settled = self._commitments.settle(request, refused, report.committed, now, again_at)
        for each in settled:
            self._tell(each, report, again_at(each))
        if any(each.sop_instance_uid in refused and again_at(each) is None for each in settled):
            self._observer.study_failed(settled[0].study_uid)

    def _ask(self, due: Sequence[Delivery], peer: DestinationSettings) -> bool:
        """Ask, enter when to ask again, and tell whether any is given up with it."""
        request = self._request(due)
        told = log.bind(
            study_uid=due[0].study_uid,
            evaluation_id=request.evaluation_id,
            destination=request.destination,
            transaction_uid=request.transaction_uid,
            instances=len(due),
        )
        self._commitments.enter(request)
        problem = ""
        try:
            request_commitment(
                {each.sop_instance_uid: each.sop_class_uid for each in due},
                request.transaction_uid,
                peer,
                self._settings.sender,
                partial(self.take, peer.ae_title),
            )
        except AssociationFailedError as error:
            problem = f"cannot be asked for its commitment: {error.reason}"
            self._observer.commitment_answered(request.destination, "not asked")
            told.warning("commitment.not_asked", reason=error.reason)
        else:
            told.info("commitment.asked")
        again_at = [
            self._tried_again_at(each) if problem else self._asked_again_at(each, peer.commitment_wait_s)
            for each in due
        ]
        for each, following in zip(due, again_at, strict=True):
            self._enter(each, problem, following)
        return None in again_at

    def _request(self, due: Sequence[Delivery]) -> CommitmentRequest:
        # Another process, whose clock is ahead, may have sent them.
        asked_at = max(self._clock(), *(each.sent_at for each in due if each.sent_at))
        uids = frozenset(each.sop_instance_uid for each in due)
        transaction_uid = generate_uid(prefix=None)
        return CommitmentRequest(transaction_uid, due[0].evaluation_id, due[0].destination, uids, asked_at)

    def _deadline(self, delivery: Delivery) -> datetime:
        return _since(delivery) + timedelta(seconds=self._settings.sender.retry.give_up_after_s)

    def _asked_again_at(self, delivery: Delivery, wait_s: float) -> datetime:
        """Tell when to ask again what was not answered: each time after twice as long, until it is over."""
        now = self._clock()
        return min(now + max(timedelta(seconds=wait_s), now - _since(delivery)), self._deadline(delivery))

    def _tried_again_at(self, delivery: Delivery) -> datetime | None:
        """Tell when to try again a request that did not arrive."""
        retry = self._settings.sender.retry
        return next_attempt_at(delivery.attempts + 1, _since(delivery), self._clock(), retry)

    def _sent_again_at(self, now: datetime, delivery: Delivery) -> datetime | None:
        """Tell when to send again what was refused: as after any other failed attempt."""
        retry = self._settings.sender.retry
        return next_attempt_at(delivery.attempts, delivery.first_queued_at, now, retry)

    def _enter(self, delivery: Delivery, problem: str, following: datetime | None) -> None:
        self._commitments.record_request(delivery, problem, self._clock(), following)
        if following is None:
            log.warning("commitment.given_up", reason=problem, **delivery.named)

    def _tell(self, delivery: Delivery, report: CommitmentReport, again_at: datetime | None) -> None:
        told = log.bind(**delivery.named, transaction_uid=report.transaction_uid)
        if delivery.sop_instance_uid in report.committed:
            self._observer.commitment_answered(delivery.destination, "committed")
            told.info("commitment.committed")
            return
        reason = report.refused[delivery.sop_instance_uid]
        self._observer.commitment_answered(
            delivery.destination, "no reason" if reason is None else f"{reason:04X}"
        )
        told.warning(
            "commitment.refused",
            reason=failure_in_words(reason),
            next_attempt_at=again_at and again_at.isoformat(timespec="seconds"),
        )


def _since(delivery: Delivery) -> datetime:
    """Tell since when it is asked for: it was sent, or a person took it up again."""
    return max(filter(None, (delivery.first_queued_at, delivery.sent_at)))
