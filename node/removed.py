"""What is remembered of a Study that was removed: when, and by whom; nothing of the patient."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, select

from node.database import Database
from node.errors import UnknownStudyError
from node.tables import removed_studies, studies

REMEMBERED = timedelta(days=90)
"""How long a removal is remembered: as long as somebody may ask where the results of a Study are."""


def remember(
    database: Database, connection: Connection, study_uid: str, removed_by: str, now: datetime
) -> None:
    """Enter that a Study was removed, in place of what was known of an earlier removal."""
    values = {"removed_at": now, "removed_by": removed_by}
    entry = database.insert(removed_studies).values(study_uid=study_uid, **values)
    connection.execute(entry.on_conflict_do_update(index_elements=["study_uid"], set_=values))


def forget(connection: Connection, now: datetime) -> None:
    """Forget what was removed long ago."""
    connection.execute(delete(removed_studies).where(removed_studies.c.removed_at < now - REMEMBERED))


def unknown_study(connection: Connection, study_uid: str) -> UnknownStudyError:
    """Return the error of a Study that is not in the index; it says when one was removed.

    One that came again is not absent, whatever is remembered of it.
    """
    is_here = exists().where(studies.c.study_uid == study_uid)
    found = select(removed_studies).where(removed_studies.c.study_uid == study_uid, ~is_here)
    row = connection.execute(found).one_or_none()
    if row is None:
        return UnknownStudyError(study_uid)
    when = f"{row.removed_at:%Y-%m-%d %H:%M:%S} UTC"
    return UnknownStudyError(study_uid, f"it was removed at {when} by {row.removed_by}")
