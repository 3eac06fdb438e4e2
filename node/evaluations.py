"""Evaluations of Studies: which Instances they rest on, how far they are, what they made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, exists, func, insert, select, update

from node.database import Database
from node.errors import NothingToEvaluateError, UnknownEvaluationError
from node.indexed_instances import IndexedInstance, read_instances
from node.removed import unknown_study
from node.sop_classes import MR_IMAGE_SOP_CLASSES
from node.tables import evaluation_inputs, evaluations, instances, results, studies


class EvaluationState(StrEnum):
    """How far an evaluation is; SUPERSEDED before it began, by one of more Instances."""

    WAITING = "waiting"
    EVALUATING = "evaluating"
    EVALUATED = "evaluated"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of a Study over a fixed set of its Instances.

    Attributes:
        evaluation_id: derived from Study and fingerprint, so that a repeat has the same.
        study_uid: Study Instance UID.
        fingerprint: digest of the Instances it rests on.
        number: 1 for the first evaluation of the Study, 2 for the next.
        run: how often it was begun; a person's retry begins it again.
        state: how far it is.
        reason: why it failed, was superseded or lacks a result, one sentence; else empty.
        progress: what it does now.
        supersedes: the latest evaluation before it that had made results or was at work, if any; one that was
            at work may have failed since.
        created_at: when the Study was found complete.
        started_at: when its work began.
        finished_at: when its work ended, well or not.
        is_urgent: whether it goes before others that wait.
        lost: how often the process died that was at it.
    """

    evaluation_id: str
    study_uid: str
    fingerprint: str
    number: int
    run: int
    state: EvaluationState
    reason: str
    progress: str
    supersedes: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    is_urgent: bool = False
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """A file that an evaluation made; its path is relative to the root of the store."""

    sop_instance_uid: str
    kind: str
    sop_class_uid: str
    path: str


def fingerprint_of(inputs: Iterable[tuple[str, str]]) -> str:
    """Digest the Instances of an evaluation, the same in any order.

    Args:
        inputs: SOP Instance UID and digest of the data set of each.
    """
    lines = sorted(f"{sop_instance_uid} {sha256}\n" for sop_instance_uid, sha256 in inputs)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


NOT_ENDED = (EvaluationState.WAITING, EvaluationState.EVALUATING)
"""How far an evaluation is of which something is still to be done."""


class Evaluations:
    """The book of evaluations; each entry may be made again without harm.

    One that has ended stays as it is: a process that was taken for dead may still be at it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, study_uid: str, revision: int | None, now: datetime) -> Evaluation | None:
        """Fix the MR images of a complete Study and open their evaluation.

        What else came plays no part, so that results that a PACS sends back cause no new ones. With the same
        images as before it is the same evaluation, in whatever state that is. Earlier ones that did not start
        yet become superseded.

        Args:
            study_uid: which Study.
            revision: of the arrival that was found complete; None to take what is here regardless.
            now: the current time.

        Returns:
            None, and no change, if something arrived since that revision.

        Raises:
            UnknownStudyError: if nothing of the Study is in the index.
            NothingToEvaluateError: if none of its Instances is an MR image.
        """
        with self._database.writing() as connection:
            if not _settle(connection, study_uid, revision):
                return None
            return self._open(connection, study_uid, now)

    def retry(self, study_uid: str, now: datetime) -> Evaluation:
        """Begin an evaluation of what is here, and again if it ended before.

        Raises:
            UnknownStudyError: if nothing of the Study is in the index.
            NothingToEvaluateError: if none of its Instances is an MR image.
        """
        with self._database.writing() as connection:
            _settle(connection, study_uid, None)
            evaluation = self._open(connection, study_uid, now)
            connection.execute(
                update(evaluations)
                .where(evaluations.c.evaluation_id == evaluation.evaluation_id)
                .where(evaluations.c.state.not_in(NOT_ENDED))
                .values(
                    state=EvaluationState.WAITING,
                    run=evaluations.c.run + 1,
                    reason="",
                    progress="",
                    started_at=None,
                    finished_at=None,
                    lost=0,
                )
            )
            return _read(connection, evaluation.evaluation_id)

    def start(self, evaluation_id: str, now: datetime) -> Evaluation:
        """Mark an evaluation as at work, unless it was superseded; return it as it is then."""
        with self._database.writing() as connection:
            connection.execute(
                update(evaluations)
                .where(evaluations.c.evaluation_id == evaluation_id, evaluations.c.state.in_(NOT_ENDED))
                .values(
                    state=EvaluationState.EVALUATING, started_at=func.coalesce(evaluations.c.started_at, now)
                )
            )
            return _read(connection, evaluation_id)

    def report_progress(self, evaluation_id: str, progress: str) -> None:
        """Note what an evaluation does now."""
        self._set(evaluation_id, progress=progress)

    def finish(self, evaluation_id: str, problem: str, now: datetime) -> None:
        """Mark the work of an evaluation as done; its results may still have to be delivered.

        ``problem`` says which results are missing and why; empty if all were made.
        """
        self._set(
            evaluation_id, state=EvaluationState.EVALUATED, progress="", reason=problem, finished_at=now
        )

    def fail(self, evaluation_id: str, reason: str, now: datetime) -> bool:
        """Mark an evaluation as failed, with one sentence for a person; False if it had ended before."""
        return self._set(
            evaluation_id, state=EvaluationState.FAILED, progress="", reason=reason, finished_at=now
        )

    def note_lost(self, evaluation_id: str) -> int:
        """Count that the process died that was at an evaluation; return how often that has happened."""
        with self._database.writing() as connection:
            connection.execute(
                update(evaluations)
                .where(evaluations.c.evaluation_id == evaluation_id)
                .values(lost=evaluations.c.lost + 1)
            )
            return _read(connection, evaluation_id).lost

    def get(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation.

        Raises:
            UnknownEvaluationError: if there is none of this identifier.
        """
        with self._database.reading() as connection:
            return _read(connection, evaluation_id)

    def of_study(self, study_uid: str) -> list[Evaluation]:
        """List the evaluations of a Study, oldest first."""
        statement = select(evaluations).where(evaluations.c.study_uid == study_uid)
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(evaluations.c.number))
            return [_evaluation(row) for row in rows]

    def unfinished(self) -> list[Evaluation]:
        """List what waits or is at work, oldest first."""
        statement = select(evaluations).where(evaluations.c.state.in_(NOT_ENDED))
        with self._database.reading() as connection:
            rows = connection.execute(statement.order_by(evaluations.c.created_at))
            return [_evaluation(row) for row in rows]

    def inputs(self, evaluation_id: str) -> list[IndexedInstance]:
        """List the Instances that an evaluation rests on, whatever arrived since."""
        chosen = (
            select(instances)
            .join(evaluation_inputs, evaluation_inputs.c.sop_instance_uid == instances.c.sop_instance_uid)
            .where(evaluation_inputs.c.evaluation_id == evaluation_id)
        )
        with self._database.reading() as connection:
            return read_instances(connection, chosen)

    def add_results(self, evaluation_id: str, made: Sequence[Result]) -> None:
        """Enter the files that an evaluation made; those already entered stay as they are.

        Raises:
            UnknownEvaluationError: if its Study was removed; then nothing is entered.
        """
        with self._database.writing() as connection:
            keep_from_removal(connection, evaluation_id)
            for result in made:
                connection.execute(
                    self._database.insert(results)
                    .values(
                        evaluation_id=evaluation_id,
                        sop_instance_uid=result.sop_instance_uid,
                        kind=result.kind,
                        sop_class_uid=result.sop_class_uid,
                        path=result.path,
                    )
                    .on_conflict_do_nothing()
                )

    def results(self, evaluation_id: str) -> list[Result]:
        """List the files that an evaluation made, by kind."""
        statement = (
            select(*(results.c[name] for name in Result.__slots__))
            .where(results.c.evaluation_id == evaluation_id)
            .order_by(results.c.kind, results.c.sop_instance_uid)
        )
        with self._database.reading() as connection:
            return [Result(**row._mapping) for row in connection.execute(statement)]

    def _open(self, connection: Connection, study_uid: str, now: datetime) -> Evaluation:
        of_study = read_instances(connection, select(instances).where(instances.c.study_uid == study_uid))
        inputs = [instance for instance in of_study if instance.sop_class_uid in MR_IMAGE_SOP_CLASSES]
        if not inputs:
            raise NothingToEvaluateError(study_uid, len(of_study))
        digest = fingerprint_of((each.sop_instance_uid, each.sha256) for each in inputs)
        evaluation_id = hashlib.sha256(f"{study_uid} {digest}".encode("ascii")).hexdigest()[:32]
        _lock_waiting(connection, study_uid)
        inserted = connection.scalar(
            self._database.insert(evaluations)
            .values(
                evaluation_id=evaluation_id,
                study_uid=study_uid,
                fingerprint=digest,
                number=1 + _count(connection, study_uid),
                run=1,
                state=EvaluationState.WAITING,
                reason="",
                progress="",
                supersedes=_latest_with_results(connection, study_uid),
                created_at=now,
                is_urgent=select(studies.c.is_urgent)
                .where(studies.c.study_uid == study_uid)
                .scalar_subquery(),
            )
            .on_conflict_do_nothing()
            .returning(evaluations.c.evaluation_id)
        )
        if inserted is not None:
            rows = [
                {"evaluation_id": evaluation_id, "sop_instance_uid": each.sop_instance_uid} for each in inputs
            ]
            connection.execute(insert(evaluation_inputs), rows)
            _supersede_waiting(connection, study_uid, evaluation_id, now)
        return _read(connection, evaluation_id)

    def _set(self, evaluation_id: str, **values: object) -> bool:
        """Change an evaluation that has not ended; False if it had."""
        with self._database.writing() as connection:
            done = connection.execute(
                update(evaluations)
                .where(evaluations.c.evaluation_id == evaluation_id, evaluations.c.state.in_(NOT_ENDED))
                .values(**values)
            )
            if done.rowcount != 1:
                # It has ended, or is not known.
                _read(connection, evaluation_id)
            return done.rowcount == 1


def keep_from_removal(connection: Connection, evaluation_id: str) -> None:
    """Keep the Study of an evaluation from being removed until the transaction ends.

    What is entered of an evaluation that is gone would stay for ever, and be taken for made if it came again.

    Raises:
        UnknownEvaluationError: if it was removed.
    """
    of_study = select(evaluations.c.study_uid).where(evaluations.c.evaluation_id == evaluation_id)
    study = select(studies.c.study_uid).where(studies.c.study_uid.in_(of_study))
    # Who removes a Study locks its row first.
    if connection.scalar(study.with_for_update(read=True, key_share=True)) is None:
        raise UnknownEvaluationError(evaluation_id)


def _settle(connection: Connection, study_uid: str, revision: int | None) -> bool:
    """Close a Study for decisions; False if it is not as it was when it was judged."""
    statement = update(studies).where(studies.c.study_uid == study_uid)
    if revision is not None:
        statement = statement.where(studies.c.revision == revision)
    settled = connection.execute(statement.values(is_open=False, is_given_up=False, reason="")).rowcount == 1
    if not settled and revision is None:
        raise unknown_study(connection, study_uid)
    return settled


def _count(connection: Connection, study_uid: str) -> int:
    statement = select(func.count()).select_from(evaluations).where(evaluations.c.study_uid == study_uid)
    return connection.scalar(statement) or 0


def _latest_with_results(connection: Connection, study_uid: str) -> str | None:
    """Find the evaluation that the next one supersedes: the latest that made or may still make results."""
    has_results = exists().where(results.c.evaluation_id == evaluations.c.evaluation_id)
    at_work = evaluations.c.state == EvaluationState.EVALUATING
    return connection.scalar(
        select(evaluations.c.evaluation_id)
        .where(evaluations.c.study_uid == study_uid, has_results | at_work)
        .order_by(evaluations.c.number.desc())
        .limit(1)
    )


def _lock_waiting(connection: Connection, study_uid: str) -> None:
    """Let none begin until the transaction ends; one that just begins is seen as at work after."""
    waiting = evaluations.c.state == EvaluationState.WAITING
    rows = select(evaluations.c.evaluation_id).where(evaluations.c.study_uid == study_uid, waiting)
    connection.execute(rows.with_for_update()).all()


def _supersede_waiting(connection: Connection, study_uid: str, by: str, now: datetime) -> None:
    connection.execute(
        update(evaluations)
        .where(evaluations.c.study_uid == study_uid, evaluations.c.evaluation_id != by)
        .where(evaluations.c.state == EvaluationState.WAITING)
        .values(
            state=EvaluationState.SUPERSEDED,
            reason=f"More Instances arrived before it began: evaluation {by} takes its place.",
            finished_at=now,
        )
    )


def _read(connection: Connection, evaluation_id: str) -> Evaluation:
    statement = select(evaluations).where(evaluations.c.evaluation_id == evaluation_id)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise UnknownEvaluationError(evaluation_id)
    return _evaluation(row)


def _evaluation(row: Row[Any]) -> Evaluation:
    return Evaluation(**{**row._mapping, "state": EvaluationState(row.state)})
