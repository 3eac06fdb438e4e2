"""What arrived: Instances, the associations that carried them, and the Studies that wait for a decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    Insert,
    Table,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from node.arrivals import carried_something, read_arrivals, read_open_arrivals
from node.completeness import AssociationEnd, StudyArrival
from node.database import Database
from node.errors import OutOfResourcesError
from node.indexed_instances import IndexedInstance, enter_instance, read_instances
from node.store import Placement, PlacementKind, ReceivedInstance
from node.tables import (
    associations,
    carried,
    conflicts,
    instances,
    removals,
    studies,
)

PROCESS_ENDED = "the process that received it ended"
"""Why an association broke off that nobody saw end."""


@dataclass(frozen=True, slots=True)
class AssociationReference:
    """An association as the index knows it: who received, who sent, and since when."""

    association_id: str
    receiver_id: str
    calling_ae: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class RefusedInstances:
    """How many Instances of a Series the peer was told to be not stored, and why the last was not."""

    study_uid: str
    series_uid: str
    count: int
    reason: str


class Index:
    """Finds what the store holds and how it came there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Built once: to build them for each Instance costs more than to run them.
        self._add_to_carried = _sum_upsert(database, carried, ("stored", "repeated", "refused"))
        self._put_up_study = _sum_upsert(database, studies, ("revision",), once=("is_urgent",))
        self._removed_at = select(removals.c.removed_at).where(removals.c.study_uid == bindparam("study_uid"))

    def open_association(self, association: AssociationReference) -> None:
        """Enter that an association was opened; it need not be entered before something comes on it.

        Raises:
            IndexUnavailableError: if it cannot be entered.
        """
        with self._database.writing() as connection:
            self._enter_association(connection, association)

    def record(
        self,
        association: AssociationReference,
        received: ReceivedInstance,
        placement: Placement,
        now: datetime,
        *,
        is_urgent: bool = False,
    ) -> PlacementKind:
        """Enter an Instance that lies in the store; on return the entry is on disk.

        A Study is urgent as soon as one of its Instances is.

        Returns: what became of it: a conflict also if its SOP Instance UID is taken in another Series.

        Raises:
            IndexUnavailableError: if it cannot be entered; then nothing is.
            OutOfResourcesError: if its Study is just being removed; then nothing is, either.
        """
        header, sender = received.header, received.calling_ae
        entry = IndexedInstance.at(header, sender, placement.sha256, placement.path, now)
        with self._database.writing() as connection:
            kind = enter_instance(self._database, connection, entry, placement.kind)
            self._enter_association(connection, association)
            counts = {
                "stored": int(kind is PlacementKind.NEW),
                "repeated": int(kind is PlacementKind.SAME),
                "refused": 0,
            }
            part = (header.study_uid, header.series_uid)
            self._count(connection, association, *part, counts, now, is_urgent=is_urgent)
            self._refuse_removed(connection, header.study_uid)
        return kind

    def check_not_removed(self, study_uid: str) -> None:
        """See that the files of a Study are not just being deleted.

        Raises:
            OutOfResourcesError: if they are.
            IndexUnavailableError: if the index does not answer.
        """
        with self._database.reading() as connection:
            self._refuse_removed(connection, study_uid)

    def close_association(
        self,
        association: AssociationReference,
        ended: AssociationEnd,
        last_heard: datetime,
        refused: Iterable[RefusedInstances] = (),
        reason: str = "",
    ) -> None:
        """Enter how an association ended; what is entered first stays, and one that carried nothing goes.

        That its receiver was taken for dead is a guess, which gives way to what the receiver saw.

        Args:
            association: which one.
            ended: released or aborted.
            last_heard: when its peer was last heard.
            refused: what was not stored of it.
            reason: why it was aborted, where that was not its peer's own will.

        Raises:
            IndexUnavailableError: if it cannot be entered; then nothing is.
        """
        is_this = associations.c.association_id == association.association_id
        has_not_ended = or_(
            associations.c.ended == AssociationEnd.OPEN, associations.c.reason == PROCESS_ENDED
        )
        with self._database.writing() as connection:
            for part in refused:
                self._enter_association(connection, association)
                counts = {"stored": 0, "repeated": 0, "refused": part.count}
                series = (part.study_uid, part.series_uid)
                self._count(connection, association, *series, counts, last_heard, refusal=part.reason)
            connection.execute(delete(associations).where(is_this, ~carried_something()))
            connection.execute(
                update(associations)
                .where(is_this, has_not_ended)
                .values(ended=AssociationEnd(ended), closed_at=last_heard, reason=reason)
            )

    def abort_left_open(self, receiver_id: str) -> int:
        """Mark what a dead process of this receiver left open as aborted, and return how many that were.

        The peer was last heard with its last Instance: it may have sent the Study again elsewhere since.
        """
        last_instance = (
            select(func.max(carried.c.last_at))
            .where(carried.c.association_id == associations.c.association_id)
            .scalar_subquery()
        )
        closed_at = func.coalesce(last_instance, associations.c.opened_at)
        left_open = (associations.c.receiver_id == receiver_id) & (
            associations.c.ended == AssociationEnd.OPEN
        )
        with self._database.writing() as connection:
            connection.execute(delete(associations).where(left_open, ~carried_something()))
            aborted = update(associations).where(left_open)
            values = {"ended": AssociationEnd.ABORTED, "closed_at": closed_at, "reason": PROCESS_ENDED}
            done = connection.execute(aborted.values(values))
        return done.rowcount

    def open_receivers(self) -> set[str]:
        """Name the receivers that have associations open, alive or not."""
        is_open = associations.c.ended == AssociationEnd.OPEN
        with self._database.reading() as connection:
            return set(connection.scalars(select(associations.c.receiver_id).where(is_open).distinct()))

    def open_studies(self) -> list[StudyArrival]:
        """List the Studies of which something came since they were last decided upon, oldest first."""
        with self._database.reading() as connection:
            return read_open_arrivals(connection)

    def arrival(self, study_uid: str) -> StudyArrival | None:
        """Return how a Study came in, None if nothing of it ever did."""
        with self._database.reading() as connection:
            study = connection.execute(select(studies).where(studies.c.study_uid == study_uid)).one_or_none()
            return None if study is None else read_arrivals(connection, [study])[0]

    def give_up(self, study_uid: str, revision: int, reason: str) -> bool:
        """Close a Study that will not be complete; False, and no change, if something arrived since.

        Args:
            study_uid: which Study.
            revision: of the arrival on which this was decided.
            reason: one sentence for a person.
        """
        return self._close(study_uid, revision, is_given_up=True, reason=reason)

    def keep(self, study_uid: str, revision: int) -> bool:
        """Close a Study that holds nothing to evaluate; False, and no change, if something arrived since."""
        return self._close(study_uid, revision, is_given_up=False, reason="")

    def instances(self, study_uid: str) -> list[IndexedInstance]:
        """List the Instances of a Study by Series and UID; conflicting ones are not among them."""
        with self._database.reading() as connection:
            return read_instances(connection, select(instances).where(instances.c.study_uid == study_uid))

    def conflicts(self, study_uid: str) -> list[IndexedInstance]:
        """List what was kept apart of a Study because its SOP Instance UIDs were taken."""
        with self._database.reading() as connection:
            return read_instances(connection, select(conflicts).where(conflicts.c.study_uid == study_uid))

    def _close(self, study_uid: str, revision: int, **values: object) -> bool:
        as_judged = (studies.c.study_uid == study_uid) & (studies.c.revision == revision)
        with self._database.writing() as connection:
            done = connection.execute(update(studies).where(as_judged).values(is_open=False, **values))
        return done.rowcount == 1

    def _enter_association(self, connection: Connection, association: AssociationReference) -> None:
        row = {
            "association_id": association.association_id,
            "receiver_id": association.receiver_id,
            "calling_ae": association.calling_ae,
            "opened_at": association.opened_at,
            "ended": AssociationEnd.OPEN,
        }
        connection.execute(self._database.insert_if_new(associations), row)

    def _count(
        self,
        connection: Connection,
        association: AssociationReference,
        study_uid: str,
        series_uid: str,
        counts: dict[str, int],
        now: datetime,
        *,
        refusal: str = "",
        is_urgent: bool = False,
    ) -> None:
        """Add to what an association carried of a Series, and put its Study up for a decision."""
        times = {"first_at": now, "last_at": now}
        part = {
            "association_id": association.association_id,
            "series_uid": series_uid,
            "refusal": refusal,
        }
        state = {
            "revision": 1,
            "is_open": True,
            "is_given_up": False,
            "reason": "",
            "is_urgent": is_urgent,
        }
        # The Study's row first: who removes it locks that one before all others, too.
        connection.execute(self._put_up_study, {"study_uid": study_uid, **state, **times})
        connection.execute(self._add_to_carried, {"study_uid": study_uid, **part, **counts, **times})

    def _refuse_removed(self, connection: Connection, study_uid: str) -> None:
        """Refuse what comes of a Study while its files go; asked when its row is locked, see ``Removals``."""
        if connection.scalar(self._removed_at, {"study_uid": study_uid}) is not None:
            raise OutOfResourcesError(
                f"Study {study_uid} is just being removed; send it again some minutes later",
                "Study is being removed, send it later",
            )


def _sum_upsert(
    database: Database, table: Table, summed: tuple[str, ...], once: tuple[str, ...] = ()
) -> Insert:
    """Build an INSERT that, where the row is there, adds to some columns and keeps only ``first_at``.

    Args:
        database: knows the dialect.
        table: to insert into.
        summed: columns to add to.
        once: columns that stay true once they are.
    """
    statement = database.insert(table)
    keys = [column.name for column in table.primary_key]
    new = {
        column.name: statement.excluded[column.name]
        for column in table.c
        if column.name not in (*keys, "first_at")
    }
    new |= {name: table.c[name] + statement.excluded[name] for name in summed}
    new |= {name: or_(table.c[name], statement.excluded[name]) for name in once}
    upsert: Insert = statement.on_conflict_do_update(index_elements=keys, set_=new)
    return upsert
