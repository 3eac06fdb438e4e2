"""Takes up again what goes no further, and sends again what a destination has lost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select

from node.database import Database
from node.deliveries import Deliveries
from node.errors import NothingDeliveredError
from node.evaluations import Evaluations
from node.index import Index
from node.removed import unknown_study
from node.tables import studies


def retry_study(database: Database, study_uid: str, destinations: Collection[str], now: datetime) -> str:
    """Queue what a Study still needs; the running node does it.

    What was given up for a destination that is no longer configured is forgotten, and the results go where
    they go by the configuration of now.

    Args:
        database: the index.
        study_uid: which Study.
        destinations: those that are configured.
        now: the current time.

    Returns: what will be done, one sentence.

    Raises:
        UnknownStudyError: if nothing of the Study is in the index.
        NothingToEvaluateError: if none of its Instances is an MR image.
        IndexUnavailableError: if the index does not answer.
    """
    evaluations, deliveries = Evaluations(database), Deliveries(database)
    done = evaluations.of_study(study_uid)
    last = done[-1].evaluation_id if done else ""
    queued = deliveries.queue_given_up(last, destinations, now)
    forgotten = deliveries.forget_given_up(last, destinations)
    if queued and not forgotten and not _has_unevaluated(database, study_uid):
        return f"{queued} Instances are sent again."
    evaluation = evaluations.retry(study_uid, now)
    return f"Evaluation {evaluation.evaluation_id} waits for the node (run {evaluation.run})."


def _has_unevaluated(database: Database, study_uid: str) -> bool:
    """Tell whether images of a Study wait for a person, whatever was made of others before."""
    waits = select(studies.c.study_uid).where(studies.c.study_uid == study_uid, studies.c.reason != "")
    with database.reading() as connection:
        return connection.scalar(waits) is not None


def resend_study(database: Database, study_uid: str, destinations: Collection[str], now: datetime) -> str:
    """Queue again what destinations have of a Study: the same Instances, as after a loss in the archive.

    Of several evaluations it is the latest of which one of them has something.

    Args:
        database: the index.
        study_uid: which Study.
        destinations: those that get it again.
        now: the current time.

    Returns: what will be done, one sentence.

    Raises:
        UnknownStudyError: if nothing of the Study is in the index.
        NothingDeliveredError: if none of the destinations has anything of it.
        IndexUnavailableError: if the index does not answer.
    """
    deliveries = Deliveries(database)
    latest_first = reversed(Evaluations(database).of_study(study_uid))
    for number, evaluation in enumerate(latest_first):
        if queued := deliveries.queue_arrived(evaluation.evaluation_id, destinations, now):
            earlier = f" of evaluation {evaluation.evaluation_id}, as none of a later one was delivered"
            return f"{queued} Instances are sent again{earlier if number else ''}."
    if Index(database).arrival(study_uid) is None:
        with database.reading() as connection:
            raise unknown_study(connection, study_uid)
    raise NothingDeliveredError(study_uid, destinations)
