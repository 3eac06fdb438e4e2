"""How long the queue of Studies is, and whether a new one may still join it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, exists, func, select

from node.database import Database
from node.errors import OutOfResourcesError
from node.evaluations import EvaluationState
from node.tables import evaluations, instances

KEPT_S = 2.0
"""How long an answer of the index is used again, s: a sender brings hundreds of Instances a second."""


class BackPressureSettings(BaseModel):
    """What happens when Studies arrive faster than they are evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(
        default=1000, ge=1, description="Studies that wait for evaluation above which the queue is too long"
    )
    refuse: bool = Field(
        default=False,
        description="refuse Instances of new Studies (0xA700, out of resources) while the queue is too long",
    )


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much of the evaluating is not done.

    Attributes:
        waiting: evaluations that have not begun.
        evaluating: evaluations at work.
        oldest_at: since when the oldest of those that wait does, None if none does.
    """

    waiting: int
    evaluating: int
    oldest_at: datetime | None


def queue_state(connection: Connection) -> QueueState:
    """Measure the queue of evaluations."""
    by_state = select(evaluations.c.state, func.count(), func.min(evaluations.c.created_at)).group_by(
        evaluations.c.state
    )
    unfinished = (EvaluationState.WAITING, EvaluationState.EVALUATING)
    rows = connection.execute(by_state.where(evaluations.c.state.in_(unfinished)))
    found = {state: (count, since) for state, count, since in rows}
    waiting, oldest_at = found.get(EvaluationState.WAITING, (0, None))
    evaluating, _ = found.get(EvaluationState.EVALUATING, (0, None))
    return QueueState(waiting, evaluating, oldest_at)


class Admission:
    """Lets Studies in, or tells them to come later; may be used from several threads.

    Studies of which something is here already are let in always: what has begun can be finished.

    Args:
        database: the index.
        settings: when the queue is too long, and whether that matters.
    """

    def __init__(self, database: Database, settings: BackPressureSettings) -> None:
        self._database, self._settings = database, settings
        self._lock = threading.Lock()
        self._asked_at, self._waiting = float("-inf"), 0

    def check(self, study_uid: str) -> None:
        """Let a Study in.

        Raises:
            OutOfResourcesError: if it is new and the queue too long. A C-STORE failure and no rejected
                association: one association may carry Studies of both kinds, and which, only its
                Instances tell.
            IndexUnavailableError: if the index cannot be read.
        """
        if not self._settings.refuse or self._count() <= self._settings.limit or self._has_begun(study_uid):
            return
        raise OutOfResourcesError(
            f"Study {study_uid}: {self._waiting} Studies wait for evaluation, more than "
            f"{self._settings.limit}; send it again later",
            "too many Studies wait, send again later",
        )

    def strain(self) -> str:
        """Say that the queue is too long and what follows from that; nothing if it is not.

        Raises:
            IndexUnavailableError: if the index cannot be read.
        """
        waiting, limit = self._count(), self._settings.limit
        if waiting <= limit:
            return ""
        follows = "new ones are refused" if self._settings.refuse else "new ones are taken all the same"
        return f"{waiting} Studies wait for a worker, more than backpressure.limit ({limit}): {follows}"

    def _count(self) -> int:
        with self._lock:
            if time.monotonic() - self._asked_at >= KEPT_S:
                with self._database.reading() as connection:
                    self._waiting = queue_state(connection).waiting
                self._asked_at = time.monotonic()
            return self._waiting

    def _has_begun(self, study_uid: str) -> bool:
        with self._database.reading() as connection:
            return bool(connection.scalar(select(exists().where(instances.c.study_uid == study_uid))))
