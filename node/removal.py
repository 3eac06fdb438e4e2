"""Removes Studies: first from the index, then their files, so that nothing that is listed lacks its files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete, exists, or_, select, update

from node.completeness import AssociationEnd
from node.database import Database
from node.errors import FilesLeftError, StoreUnusableError, StudyAtWorkError, words_of
from node.evaluations import EvaluationState
from node.removed import forget, remember, unknown_study
from node.store import Store
from node.tables import (
    associations,
    carried,
    commitment_requests,
    conflicts,
    deliveries,
    evaluation_inputs,
    evaluations,
    instances,
    outcomes,
    removals,
    results,
    studies,
)

log = structlog.get_logger(__name__)

SETTLING = timedelta(minutes=5)
"""Pause between removing a Study, looking for what came of it after all, and taking it again: far longer than
an Instance lies in the store before the index has it, so that none is acknowledged whose file is deleted."""


class Removals:
    """Removes Studies, each in three steps: ``remove``, and twice ``finish``, each some time after the last.

    Args:
        database: the index.
        store: holds the files.
        clock: the current time, with a time zone.
    """

    def __init__(self, database: Database, store: Store, clock: Callable[[], datetime]) -> None:
        self._database, self._store, self._clock = database, store, clock

    def remove(self, study_uid: str, by: str, *, unfinished: bool = False) -> int:
        """Remove a Study with all that was made of it, and return how many files it had.

        What was delivered stays where it is.

        Args:
            study_uid: which Study.
            by: what removes it, in words without identifiers; remembered for a while.
            unfinished: also one that is held, waits for a worker or is still to be delivered.

        Raises:
            UnknownStudyError: if the index does not know it.
            StudyAtWorkError: if it arrives or is evaluated now, or is unfinished and that is not asked for.
            IndexUnavailableError: if the index cannot be written; then nothing is removed.
            FilesLeftError: if a file cannot be deleted; ``finish`` goes on later.
        """
        with self._database.writing() as connection:
            _lock(connection, study_uid)
            if _is_at_work(connection, study_uid) or (
                not unfinished and _is_unfinished(connection, study_uid)
            ):
                raise StudyAtWorkError(study_uid)
            _delete_rows(connection, study_uid)
            entry = self._database.insert(removals).values(study_uid=study_uid, removed_at=self._clock())
            again = {"removed_at": entry.excluded.removed_at, "swept_at": None}
            connection.execute(entry.on_conflict_do_update(index_elements=["study_uid"], set_=again))
            remember(self._database, connection, study_uid, by, self._clock())
        log.info("study.removed", study_uid=study_uid, by=by)
        try:
            return self._delete_files(study_uid)
        except StoreUnusableError as error:
            raise FilesLeftError(study_uid, str(error)) from error

    def finish(self) -> None:
        """Delete what is left of Studies that were removed a while ago; take those again that are long gone.

        Left is what an interruption left, and what lay in the store when it was refused. While a Study can be
        taken again no file of it is touched. What processes left that died while they wrote goes, too.

        Raises:
            IndexUnavailableError: if the index does not answer.
        """
        self._clear_incoming()
        now = self._clock()
        with self._database.reading() as connection:
            waiting = (removals.c.removed_at < now - SETTLING) & removals.c.swept_at.is_(None)
            to_sweep = connection.scalars(select(removals.c.study_uid).where(waiting)).all()
        for study_uid in to_sweep:
            self._sweep(study_uid)
        with self._database.writing() as connection:
            connection.execute(delete(removals).where(removals.c.swept_at < now - SETTLING))
            forget(connection, now)

    def _clear_incoming(self) -> None:
        try:
            files = self._store.clear_incoming()
        except OSError as error:
            log.warning("store.not_cleared", reason=words_of(error))
            return
        if files:
            log.warning("store.cleared", files=files)

    def _sweep(self, study_uid: str) -> None:
        try:
            self._delete_files(study_uid)
        except StoreUnusableError as error:
            log.warning("study.removal_interrupted", study_uid=study_uid, reason=str(error))
            return
        swept = update(removals).where(removals.c.study_uid == study_uid).values(swept_at=self._clock())
        with self._database.writing() as connection:
            connection.execute(swept)

    def _delete_files(self, study_uid: str) -> int:
        """Delete the files; only the table of conflicts knows which of those are the Study's."""
        of_study = conflicts.c.study_uid == study_uid
        with self._database.reading() as connection:
            kept_apart = connection.scalars(select(conflicts.c.path).where(of_study)).all()
        files = self._store.remove(study_uid, kept_apart)
        if kept_apart:
            with self._database.writing() as connection:
                connection.execute(delete(conflicts).where(of_study))
        return files


def _lock(connection: Connection, study_uid: str) -> None:
    """Keep others from adding to a Study until the transaction ends; what they added before is seen after."""
    row = select(studies.c.study_uid).where(studies.c.study_uid == study_uid).with_for_update()
    if connection.scalar(row) is None:
        raise unknown_study(connection, study_uid)


def _is_at_work(connection: Connection, study_uid: str) -> bool:
    """Tell whether Instances may be on their way, or a worker is at it."""
    of_study = evaluations.c.study_uid == study_uid
    comes = exists().where(
        carried.c.study_uid == study_uid,
        carried.c.association_id == associations.c.association_id,
        associations.c.ended == AssociationEnd.OPEN,
    )
    evaluating = exists().where(of_study, evaluations.c.state == EvaluationState.EVALUATING)
    return bool(connection.scalar(select(or_(comes, evaluating))))


def _is_unfinished(connection: Connection, study_uid: str) -> bool:
    """Tell whether something is still to be done with it."""
    of_study = evaluations.c.study_uid == study_uid
    of_its_evaluations = deliveries.c.evaluation_id.in_(select(evaluations.c.evaluation_id).where(of_study))
    unfinished = or_(
        exists().where(studies.c.study_uid == study_uid, studies.c.is_open),
        exists().where(of_study, evaluations.c.state == EvaluationState.WAITING),
        exists().where(of_its_evaluations, deliveries.c.next_attempt_at.is_not(None)),
    )
    return bool(connection.scalar(select(unfinished)))


def _delete_rows(connection: Connection, study_uid: str) -> None:
    own = select(evaluations.c.evaluation_id).where(evaluations.c.study_uid == study_uid)
    for table in (evaluation_inputs, results, outcomes, deliveries, commitment_requests):
        connection.execute(delete(table).where(table.c.evaluation_id.in_(own)))
    of_study = carried.c.study_uid == study_uid
    brought_by = connection.scalars(select(carried.c.association_id).where(of_study).distinct()).all()
    for table in (evaluations, instances, carried, studies):
        connection.execute(delete(table).where(table.c.study_uid == study_uid))
    carries_more = exists().where(carried.c.association_id == associations.c.association_id)
    brought = associations.c.association_id.in_(brought_by)
    connection.execute(delete(associations).where(brought, ~carries_more))
