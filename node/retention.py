"""How long Studies are kept, and which are due to be removed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import exists, func, or_, select

from node.database import Database
from node.errors import FilesLeftError, StudyAtWorkError, UnknownStudyError
from node.removal import Removals
from node.study_states import StudyState, decided_state, with_latest_evaluation
from node.tables import deliveries, evaluations, studies

log = structlog.get_logger(__name__)

AT_A_TIME = 20
"""Studies of each kind removed in one look, so that other duties need not wait long.

While there are so many the next look follows at once.
"""

DONE = (StudyState.DELIVERED, StudyState.FALLBACK, StudyState.EVALUATED, StudyState.KEPT)
"""Where a Study is with which nothing more has to happen."""

FAILED = (StudyState.FAILED,)
"""Where a Study is that waits for a person. One that is held stays: its files are all that tells of it."""


class RetentionSettings(BaseModel):
    """How long Studies are kept; without limits the node removes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: float | None = Field(
        default=None,
        gt=0,
        le=36500,
        description="days after which a Study is removed that is delivered, or has nothing to deliver; "
        "without it, never",
    )
    failed_days: float | None = Field(
        default=None,
        gt=0,
        le=36500,
        description="days after which a failed Study is removed; without it, never",
    )


class Retention:
    """Removes the Studies whose time is over, the oldest first.

    Args:
        database: the index.
        removals: removes them.
        settings: how long they are kept.
        clock: the current time, with a time zone.
    """

    def __init__(
        self,
        database: Database,
        removals: Removals,
        settings: RetentionSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._removals = database, removals
        self._settings, self._clock = settings, clock

    def look(self) -> bool:
        """Finish what was begun, then remove some of those that are due; tell whether more are.

        Raises:
            IndexUnavailableError: if the index does not answer; the next look finds all of it again.
        """
        self._removals.finish()
        settings = self._settings
        limits = (("days", DONE, settings.days), ("failed_days", FAILED, settings.failed_days))
        now = self._clock()
        removed = [
            sum(
                self._remove(study_uid, f"retention.{name}, which is {days:g}")
                for study_uid in self._idle_since(now - timedelta(days=days), states)
            )
            for name, states, days in limits
            if days is not None
        ]
        # While something cannot be removed the pause stays: a store that is away holds each look up.
        return AT_A_TIME in removed

    def _remove(self, study_uid: str, by: str) -> bool:
        """Remove a Study, and tell whether all of it is gone."""
        try:
            self._removals.remove(study_uid, by)
        except (StudyAtWorkError, UnknownStudyError) as error:
            # Something came, or somebody was quicker, since it was found.
            log.info("study.not_removed", study_uid=study_uid, reason=str(error))
            return False
        except FilesLeftError as error:
            log.warning("study.removal_interrupted", study_uid=study_uid, reason=str(error))
            return False
        return True

    def _idle_since(self, time: datetime, states: tuple[StudyState, ...]) -> list[str]:
        """List some Studies of these states with which nothing happened since a time, the oldest first."""
        sent_since = exists().where(
            deliveries.c.evaluation_id == evaluations.c.evaluation_id,
            or_(deliveries.c.last_attempt_at >= time, deliveries.c.committed_at >= time),
        )
        statement = (
            select(studies.c.study_uid)
            .select_from(with_latest_evaluation())
            # What came first came before what came last, and has an index.
            .where(studies.c.first_at < time, studies.c.last_at < time)
            # One that is open has no decided state; to ask for that, too, would lead SQLite to another index.
            .where(decided_state().in_(states))
            .where(func.coalesce(evaluations.c.finished_at, studies.c.last_at) < time, ~sent_since)
            .order_by(studies.c.first_at)
            .limit(AT_A_TIME)
        )
        with self._database.reading() as connection:
            return list(connection.scalars(statement))
