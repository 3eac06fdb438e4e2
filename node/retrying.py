"""Takes up again what goes no further: evaluates a Study again, or sends again what was given up."""

from __future__ import annotations

from datetime import datetime

from node.database import Database
from node.deliveries import Deliveries
from node.evaluations import Evaluations


def retry_study(database: Database, study_uid: str, now: datetime) -> str:
    """Queue what a Study still needs; the running node does it.

    Returns: what will be done, one sentence.

    Raises:
        UnknownStudyError: if no Instance of the Study is in the index.
        IndexUnavailableError: if the index does not answer.
    """
    evaluations, deliveries = Evaluations(database), Deliveries(database)
    done = evaluations.of_study(study_uid)
    queued = deliveries.queue_given_up(done[-1].evaluation_id, now) if done else 0
    if queued:
        return f"{queued} Instances are sent again."
    evaluation = evaluations.retry(study_uid, now)
    return f"Evaluation {evaluation.evaluation_id} waits for the node (run {evaluation.run})."
