"""Takes up again what goes no further: evaluates a Study again, or sends again what was given up."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from node.database import Database
from node.deliveries import Deliveries
from node.evaluations import Evaluations


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
    if queued and not forgotten:
        return f"{queued} Instances are sent again."
    evaluation = evaluations.retry(study_uid, now)
    return f"Evaluation {evaluation.evaluation_id} waits for the node (run {evaluation.run})."
