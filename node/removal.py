"""Removes Studies: first from the index, then their files, so that nothing that is listed lacks its files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select

from node.completeness import AssociationEnd
from node.database import Database
from node.errors import StoreUnusableError, StudyAtWorkError, UnknownStudyError
from node.evaluations import EvaluationState
from node.store import Store
from node.tables import (
    associations,
    carried,
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

SETTLING = timedelta(minutes=10)
"""How long nothing of a removed Study is taken: far longer than an Instance lies in the store before the
index has it, so that none is acknowledged whose file a removal deletes."""


class Removals:
    """Removes Studies, each in two steps: ``remove``, and some time after it ``finish``.

    Args:
        database: the index.
        store: holds the files.
        clock: the current time, with a time zone.
    """

    def __init__(self, database: Database, store: Store, clock: Callable[[], datetime]) -> None:
        self._database, self._store, self._clock = database, store, clock

    def remove(self, study_uid: str) -> int:
        """Remove a Study with all that was made of it, and return how many files it had.

        What was delivered stays where it is.

        Raises:
            UnknownStudyError: if the index does not know it.
            StudyAtWorkError: if it still arrives, is evaluated, or is to be delivered.
            IndexUnavailableError: if the index can not be written; then nothing is removed.
            StoreUnusableError: if a file can not be deleted; ``finish`` goes on later.
        """
        with self._database.writing() as connection:
            _lock(connection, study_uid)
            if _is_at_work(connection, study_uid):
                raise StudyAtWorkError(study_uid)
            _delete_rows(connection, study_uid)
            entry = self._database.insert(removals).values(study_uid=study_uid, removed_at=self._clock())
            renewed = {"removed_at": entry.excluded.removed_at}
            connection.execute(entry.on_conflict_do_update(index_elements=["study_uid"], set_=renewed))
        files = self._delete_files(study_uid)
        log.info("study.removed", study_uid=study_uid, files=files)
        return files

    def finish(self) -> None:
        """Delete what is left of Studies that were removed a while ago, and let them be taken again.

        Left is what an interruption left, and what lay in the store when it was refused.

        Raises:
            IndexUnavailableError: if the index does not answer.
        """
        is_settled = removals.c.removed_at < self._clock() - SETTLING
        with self._database.reading() as connection:
            settled = connection.scalars(select(removals.c.study_uid).where(is_settled)).all()
        for study_uid in settled:
            try:
                self._delete_files(study_uid)
            except StoreUnusableError as error:
                log.warning("study.removal_interrupted", study_uid=study_uid, reason=str(error))
                continue
            with self._database.writing() as connection:
                connection.execute(delete(removals).where(removals.c.study_uid == study_uid))

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
        raise UnknownStudyError(study_uid)


def _is_at_work(connection: Connection, study_uid: str) -> bool:
    of_study = evaluations.c.study_uid == study_uid
    at_work = (EvaluationState.WAITING, EvaluationState.EVALUATING)
    to_be_sent = deliveries.c.next_attempt_at.is_not(None)
    of_its_evaluations = deliveries.c.evaluation_id.in_(select(evaluations.c.evaluation_id).where(of_study))
    busy = or_(
        exists().where(studies.c.study_uid == study_uid, studies.c.is_open),
        exists().where(of_study, evaluations.c.state.in_(at_work)),
        exists().where(of_its_evaluations, to_be_sent),
    )
    return bool(connection.scalar(select(busy)))


def _delete_rows(connection: Connection, study_uid: str) -> None:
    own = select(evaluations.c.evaluation_id).where(evaluations.c.study_uid == study_uid)
    for table in (evaluation_inputs, results, outcomes, deliveries):
        connection.execute(delete(table).where(table.c.evaluation_id.in_(own)))
    for table in (evaluations, instances, carried, studies):
        connection.execute(delete(table).where(table.c.study_uid == study_uid))
    connection.execute(delete(associations).where(_carries_nothing()))


def _carries_nothing() -> ColumnElement[bool]:
    has_ended = associations.c.ended != AssociationEnd.OPEN
    return has_ended & ~exists().where(carried.c.association_id == associations.c.association_id)
