"""Runs one evaluation that is interrupted, then breaks with an error that quotes a patient; takes a folder.

A process of its own, because DBOS knows one object of a workflow's class in each.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path

from node.database import Database
from node.evaluations import Evaluations, EvaluationState
from node.evaluator import Evaluator
from node.outcomes import Outcomes
from node.settings import NodeSettings
from node.strays import AtWork
from node.telemetry import LogFormat, LogSettings, configure_logging
from node.work_queue import EVALUATIONS, DurableQueue
from node.workflow import EvaluationWorkflow, WorkflowRunner
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.broken_delivery import NAME
from tests.support.peers import wait_until


class BrokenAssessor:
    """Meets a full disk, and then what a library raises that quotes what it could not read."""

    def __init__(self) -> None:
        self._errors: Iterator[Exception] = iter(
            (OSError(errno.ENOSPC, "No space left on device"), ValueError(f"Invalid value: {NAME!r}"))
        )

    def context(self, *_: object) -> None:
        raise next(self._errors)


def main(folder: Path) -> None:
    """Queue the evaluation, run it and wait until it has failed."""
    configure_logging(LogSettings(format=LogFormat.JSON))
    database, url = Database(f"sqlite:///{folder}/index.db"), f"sqlite:///{folder}/workflows.sqlite"
    arrivals = Arrivals(folder, database)
    arrivals.whole("a", 0)
    evaluations = Evaluations(database)
    evaluation = evaluations.begin(STUDY_UID, None, at(0))
    assert evaluation is not None
    evaluator = Evaluator(
        NodeSettings(root=folder),
        BrokenAssessor(),  # type: ignore[arg-type]
        arrivals.store,
        evaluations,
        Outcomes(database),
        lambda: at(1),
    )
    workflow = EvaluationWorkflow(evaluator, None, AtWork())  # type: ignore[arg-type]
    with DurableQueue(url) as queue:
        queue.evaluate(evaluation.evaluation_id, evaluation.run, is_urgent=False)
        with WorkflowRunner(url, "test", {EVALUATIONS: workflow}, 5):
            wait_until(
                lambda: evaluations.of_study(STUDY_UID)[0].state is EvaluationState.FAILED,
                60,
                "it has failed",
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
