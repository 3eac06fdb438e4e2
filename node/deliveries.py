"""The outbox: which result goes to which destination, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, delete, func, or_, select, update

from node.database import Database
from node.evaluations import keep_from_removal
from node.tables import deliveries, evaluations, results


class DeliveryState(StrEnum):
    """What the last attempt came to.

    PENDING: none was made yet; SENT: the destination has it, and its commitment is awaited; DELIVERED and
    WARNING: the destination has it; FAILED: it does not; REFUSED: it accepted no presentation context for it;
    REPLACED: the same, and it gets another form instead. Whether more attempts follow, ``next_attempt_at``
    says; of what was sent, when the destination is asked again.
    """

    PENDING = "pending"
    SENT = "sent"
    DELIVERED = "delivered"
    WARNING = "warning"
    FAILED = "failed"
    REFUSED = "refused"
    REPLACED = "replaced"

    @property
    def has_arrived(self) -> bool:
        """Whether the destination has the Instance, for good where it is asked for commitment."""
        return self in ARRIVED


ARRIVED = (DeliveryState.DELIVERED, DeliveryState.WARNING)
"""The destination said that it has the Instance, for good where it is asked for commitment."""

OUTSTANDING = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.REFUSED)
"""The destination does not have the Instance for good, nor anything in its place."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

CLOCKS_DIFFER_S = 60.0
"""How far the clocks of machines that share the work may be apart, s; NTP keeps them far closer."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One result on its way to one destination.

    Attributes:
        sop_instance_uid: the result.
        destination: name of the destination in the configuration.
        evaluation_id: which evaluation made it.
        study_uid: of which Study.
        kind: its role among the results.
        sop_class_uid: SOP Class of the result.
        path: of its file, relative to the root of the store.
        state: what the last attempt came to.
        attempts: how many were made since it was queued.
        last_status: C-STORE status of the last attempt, None if it did not come to one.
        last_comment: what went wrong or was remarked in it.
        first_queued_at: since when it is tried.
        last_attempt_at: when it was last tried.
        next_attempt_at: when it is tried next; None once it was delivered or given up.
        is_urgent: whether it goes before others that wait for the same destination.
        sent_at: when a destination that is asked for commitment had it last; None for others, and once that
            one refused the commitment.
        sent_remark: what it remarked then beside its status; empty for others.
        committed_at: when the destination took responsibility for it; None if it did not.
    """

    sop_instance_uid: str
    destination: str
    evaluation_id: str
    study_uid: str
    kind: str
    sop_class_uid: str
    path: str
    state: DeliveryState
    attempts: int
    last_status: int | None
    last_comment: str
    first_queued_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
    is_urgent: bool = False
    sent_at: datetime | None = None
    sent_remark: str = ""
    committed_at: datetime | None = None

    @property
    def named(self) -> dict[str, str]:
        """Return what says in a log which delivery it is about."""
        return {
            "study_uid": self.study_uid,
            "evaluation_id": self.evaluation_id,
            "sop_instance_uid": self.sop_instance_uid,
            "destination": self.destination,
        }

    @property
    def is_given_up(self) -> bool:
        """Whether it was not delivered and is not tried again."""
        return self.next_attempt_at is None and not self.state.has_arrived

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be tried now: the same as ``Deliveries.due`` asks the index."""
        if self.next_attempt_at is None:
            return False
        last_touched = self.last_attempt_at or self.first_queued_at
        return self.next_attempt_at <= now or last_touched > now + timedelta(seconds=CLOCKS_DIFFER_S)


class Deliveries:
    """The book of deliveries; each entry may be made again without harm."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, evaluation_id: str, destination: str, instances: Iterable[str], now: datetime) -> None:
        """Queue Instances for a destination; what was queued before stays as it is.

        Raises:
            UnknownEvaluationError: if the Study was removed; then nothing is queued.
        """
        with self._database.writing() as connection:
            keep_from_removal(connection, evaluation_id)
            self._queue(connection, evaluation_id, destination, instances, now)

    def replace(self, delivery: Delivery, comment: str, instances: Iterable[str], now: datetime) -> None:
        """Enter that a destination refuses a form, and queue what it gets instead: both, or neither.

        Args:
            delivery: as it was before the attempt.
            comment: what it refuses.
            instances: the fallback; those that were queued before stay as they are.
            now: when the attempt was made.

        Raises:
            UnknownEvaluationError: if the Study was removed; then nothing is entered.
        """
        with self._database.writing() as connection:
            keep_from_removal(connection, delivery.evaluation_id)
            _record(connection, delivery, DeliveryState.REPLACED, None, comment, now, None)
            self._queue(connection, delivery.evaluation_id, delivery.destination, instances, now)

    def _queue(
        self,
        connection: Connection,
        evaluation_id: str,
        destination: str,
        instances: Iterable[str],
        now: datetime,
    ) -> None:
        for sop_instance_uid in instances:
            connection.execute(
                self._database.insert(deliveries)
                .values(
                    sop_instance_uid=sop_instance_uid,
                    destination=destination,
                    evaluation_id=evaluation_id,
                    state=DeliveryState.PENDING,
                    attempts=0,
                    last_comment="",
                    first_queued_at=now,
                    next_attempt_at=now,
                )
                .on_conflict_do_nothing()
            )

    def record_attempt(
        self,
        delivery: Delivery,
        state: DeliveryState,
        status: int | None,
        comment: str,
        now: datetime,
        next_attempt_at: datetime | None,
    ) -> None:
        """Enter what an attempt came to, unless its destination committed to the Instance meanwhile.

        Args:
            delivery: as it was before the attempt; entering the same attempt again changes nothing.
            state: what it came to.
            status: C-STORE status, None if there was none.
            comment: what went wrong or was remarked.
            now: when it was made.
            next_attempt_at: when the next follows, None if none does.
        """
        with self._database.writing() as connection:
            _record(connection, delivery, state, status, comment, now, next_attempt_at)

    def due(self, now: datetime) -> list[Delivery]:
        """List what is to be tried now, by destination and then by how long it waits.

        What was queued or tried later than now, by a clock that was ahead and was put right, is due as well:
        it would wait as long as that clock was wrong.
        """
        waiting = with_results().where(_is_due(now))
        return self._listed(waiting.order_by(deliveries.c.destination, deliveries.c.next_attempt_at))

    def of_evaluation(self, evaluation_id: str) -> list[Delivery]:
        """List the deliveries of an evaluation by destination."""
        chosen = with_results().where(deliveries.c.evaluation_id == evaluation_id)
        return self._listed(chosen.order_by(deliveries.c.destination, deliveries.c.sop_instance_uid))

    def queue_given_up(self, evaluation_id: str, destinations: Collection[str], now: datetime) -> int:
        """Queue anew what of an evaluation was given up, and return how many deliveries that are.

        What was sent and never committed to is sent again, too.

        Args:
            evaluation_id: of which evaluation.
            destinations: those that there are.
            now: the current time.
        """
        chosen = _given_up(evaluation_id) & deliveries.c.destination.in_(destinations)
        return self._queue_anew(chosen, now, state=_PENDING_IF_SENT)

    def queue_arrived(self, evaluation_id: str, destinations: Collection[str], now: datetime) -> int:
        """Queue anew what destinations have of an evaluation, and return how many deliveries that are.

        What they committed to is forgotten: they are asked again once they have it again.

        Args:
            evaluation_id: of which evaluation.
            destinations: which ones.
            now: the current time.
        """
        chosen = and_(
            deliveries.c.evaluation_id == evaluation_id,
            deliveries.c.destination.in_(destinations),
            deliveries.c.state.in_(ARRIVED),
        )
        return self._queue_anew(
            chosen,
            now,
            state=DeliveryState.PENDING,
            last_status=None,
            last_comment="",
            sent_at=None,
            sent_remark="",
            committed_at=None,
        )

    def forget_given_up(self, evaluation_id: str, destinations: Collection[str]) -> int:
        """Forget what of an evaluation was given up for others than these destinations; return how much."""
        with self._database.writing() as connection:
            done = connection.execute(
                delete(deliveries).where(
                    _given_up(evaluation_id), deliveries.c.destination.not_in(destinations)
                )
            )
        return done.rowcount

    def _queue_anew(self, chosen: ColumnElement[bool], now: datetime, **values: object) -> int:
        """Try deliveries as if they were queued now, and return how many they are."""
        anew = {"attempts": 0, "first_queued_at": now, "next_attempt_at": now}
        with self._database.writing() as connection:
            return connection.execute(update(deliveries).where(chosen).values(**anew, **values)).rowcount

    def _listed(self, statement: Select[Any]) -> list[Delivery]:
        with self._database.reading() as connection:
            return [delivery_of(row) for row in connection.execute(statement)]


_PENDING_IF_SENT = case(
    (deliveries.c.state == DeliveryState.SENT, DeliveryState.PENDING), else_=deliveries.c.state
)


def delivery_of(row: Row[Any]) -> Delivery:
    """Make a delivery of a row of ``with_results``."""
    return Delivery(**{**row._mapping, "state": DeliveryState(row.state)})


def _given_up(evaluation_id: str) -> ColumnElement[bool]:
    return and_(
        deliveries.c.evaluation_id == evaluation_id,
        deliveries.c.next_attempt_at.is_(None),
        deliveries.c.state.not_in(ARRIVED),
    )


def no_attempt_since(delivery: Delivery) -> ColumnElement[bool]:
    """Return the condition that a delivery was neither tried nor queued anew since it was read."""
    return and_(
        deliveries.c.sop_instance_uid == delivery.sop_instance_uid,
        deliveries.c.destination == delivery.destination,
        deliveries.c.attempts == delivery.attempts,
        # Of what was queued anew, attempts count from zero again.
        deliveries.c.first_queued_at == delivery.first_queued_at,
    )


def is_tried() -> ColumnElement[bool]:
    """Return the condition that a delivery is still tried: a range, which SQLite finds in the index, too."""
    return deliveries.c.next_attempt_at >= _LONG_AGO


def _is_due(now: datetime) -> ColumnElement[bool]:
    # Clocks of several machines may differ a little.
    ahead = now + timedelta(seconds=CLOCKS_DIFFER_S)
    last_touched = func.coalesce(deliveries.c.last_attempt_at, deliveries.c.first_queued_at)
    return and_(is_tried(), or_(deliveries.c.next_attempt_at <= now, last_touched > ahead))


def _record(
    connection: Connection,
    delivery: Delivery,
    state: DeliveryState,
    status: int | None,
    comment: str,
    now: datetime,
    next_attempt_at: datetime | None,
) -> None:
    sent = {"sent_at": now, "sent_remark": comment} if state is DeliveryState.SENT else {}
    connection.execute(
        update(deliveries)
        .where(no_attempt_since(delivery), deliveries.c.state.not_in(ARRIVED))
        .values(
            state=state,
            attempts=delivery.attempts + 1,
            last_status=status,
            last_comment=comment,
            last_attempt_at=now,
            next_attempt_at=next_attempt_at,
            **sent,
        )
    )


def with_results() -> Select[Any]:
    """Select deliveries with what is known of their results, as ``delivery_of`` takes them."""
    of_result = (results.c.sop_instance_uid == deliveries.c.sop_instance_uid) & (
        results.c.evaluation_id == deliveries.c.evaluation_id
    )
    return (
        select(
            deliveries,
            evaluations.c.study_uid,
            results.c.kind,
            results.c.sop_class_uid,
            results.c.path,
            evaluations.c.is_urgent,
        )
        .join(results, of_result)
        .join(evaluations, evaluations.c.evaluation_id == deliveries.c.evaluation_id)
    )
