"""The book of commitments: what destinations were asked to take responsibility for, and what they took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from node.database import Database
from node.deliveries import OUTSTANDING, Delivery, DeliveryState, delivery_of, no_attempt_since, with_results
from node.evaluations import keep_from_removal
from node.tables import commitment_requests, deliveries


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a destination was asked to take responsibility for in one transaction.

    Attributes:
        transaction_uid: names the request, in the answer, too.
        evaluation_id: whose results they are.
        destination: name of the destination in the configuration.
        sop_instance_uids: of the Instances.
        asked_at: when it was asked; an Instance that was sent again later has to be asked for again.
    """

    transaction_uid: str
    evaluation_id: str
    destination: str
    sop_instance_uids: frozenset[str]
    asked_at: datetime


class Commitments:
    """The book of commitments; each entry may be made again without harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(self, request: CommitmentRequest) -> None:
        """Enter a request before it is made: the answer may come before the request was seen to arrive.

        Raises:
            UnknownEvaluationError: if the Study was removed; then nothing is entered.
        """
        row = insert(commitment_requests).values(
            transaction_uid=request.transaction_uid,
            evaluation_id=request.evaluation_id,
            destination=request.destination,
            sop_instance_uids=" ".join(sorted(request.sop_instance_uids)),
            asked_at=request.asked_at,
        )
        with self._database.writing() as connection:
            keep_from_removal(connection, request.evaluation_id)
            connection.execute(row)

    def find(self, transaction_uid: str) -> CommitmentRequest | None:
        """Return a request, None if there is none or its Study was removed."""
        wanted = commitment_requests.c.transaction_uid == transaction_uid
        with self._database.reading() as connection:
            row = connection.execute(select(commitment_requests).where(wanted)).one_or_none()
        if row is None:
            return None
        return CommitmentRequest(
            **{**row._mapping, "sop_instance_uids": frozenset(row.sop_instance_uids.split())}
        )

    def record_request(
        self, delivery: Delivery, comment: str, now: datetime, next_attempt_at: datetime | None
    ) -> None:
        """Enter that a destination was asked, unless its answer was entered before.

        Args:
            delivery: as it was before.
            comment: why the request did not arrive; empty if it did.
            now: when it was asked.
            next_attempt_at: when it is asked again, None if it is not.
        """
        with self._database.writing() as connection:
            connection.execute(
                update(deliveries)
                .where(no_attempt_since(delivery), deliveries.c.state == delivery.state)
                .values(
                    attempts=delivery.attempts + 1,
                    last_comment=comment,
                    last_attempt_at=now,
                    next_attempt_at=next_attempt_at,
                )
            )

    def settle_unasked(self, delivery: Delivery) -> None:
        """Enter that what was sent is delivered: its destination is asked for no commitment any more."""
        with self._database.writing() as connection:
            _settle(connection, delivery, None)

    def settle(
        self,
        request: CommitmentRequest,
        refused: Mapping[str, str],
        committed: frozenset[str],
        now: datetime,
        send_again_at: Callable[[Delivery], datetime | None],
    ) -> list[Delivery]:
        """Enter what a destination answered: all of it, or nothing.

        What was answered before, or was sent again since it was asked for, stays as it is. What failed, or is
        to be sent again, after it was asked for is delivered if the destination committed to it: it has it.

        Args:
            request: what was asked.
            refused: why, by SOP Instance UID.
            committed: SOP Instance UIDs of what the destination took responsibility for.
            now: the current time.
            send_again_at: tells when a refused Instance is sent again, None if it is not.

        Returns: those deliveries that this changed, as they were before.
        """
        is_sent = deliveries.c.state == DeliveryState.SENT
        waiting = with_results().where(
            deliveries.c.evaluation_id == request.evaluation_id,
            deliveries.c.destination == request.destination,
            or_(
                deliveries.c.sop_instance_uid.in_(committed) & deliveries.c.state.in_(OUTSTANDING),
                deliveries.c.sop_instance_uid.in_(refused) & is_sent,
            ),
            deliveries.c.sent_at <= request.asked_at,
        )
        with self._database.writing() as connection:
            rows = connection.execute(waiting.with_for_update(of=deliveries)).all()
            settled = [delivery_of(row) for row in rows]
            for each in settled:
                if each.sop_instance_uid in refused:
                    _refuse(connection, each, refused[each.sop_instance_uid], send_again_at(each))
                else:
                    _settle(connection, each, now)
        return settled


def _is(delivery: Delivery) -> ColumnElement[bool]:
    return and_(
        deliveries.c.sop_instance_uid == delivery.sop_instance_uid,
        deliveries.c.destination == delivery.destination,
        deliveries.c.state == delivery.state,
    )


def _settle(connection: Connection, delivery: Delivery, committed_at: datetime | None) -> None:
    connection.execute(
        update(deliveries)
        .where(_is(delivery))
        .values(
            state=DeliveryState.WARNING if delivery.sent_remark else DeliveryState.DELIVERED,
            # What was said of a later attempt or request is over; what was said of the Instance is not.
            last_status=delivery.last_status if delivery.state is DeliveryState.SENT else None,
            last_comment=delivery.sent_remark,
            next_attempt_at=None,
            committed_at=committed_at,
        )
    )


def _refuse(connection: Connection, delivery: Delivery, reason: str, send_again_at: datetime | None) -> None:
    connection.execute(
        update(deliveries)
        .where(_is(delivery))
        .values(
            state=DeliveryState.FAILED,
            last_status=None,
            last_comment=reason,
            sent_at=None,
            sent_remark="",
            next_attempt_at=send_again_at,
        )
    )
