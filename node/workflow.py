"""The durable way of a Study after the store: each step may be interrupted and run again anywhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID
from dbos import error as dbos_error

from engines.errors import EngineError
from node.courier import Courier
from node.errors import NodeError
from node.evaluator import Evaluator

EVALUATIONS = "evaluations"
"""The queue on which one Study after another is evaluated; an evaluation uses all cores by itself."""

DELIVERIES = "deliveries"
"""The queue on which results leave, partitioned by destination: a dead one holds up no other."""

PARALLEL_DELIVERIES = 8
"""Destinations that one process sends to at the same time."""

TRANSIENT_ATTEMPTS = 4
"""How often a step that met a full disk or a lost database is tried before the evaluation fails."""

TRANSIENT_PAUSE_S = 5.0
"""Pause after the first such try, s; each next pause is three times as long."""

WORKFLOW_VERSION = "1"
"""Grows when the steps below change their order or meaning; a workflow is resumed by its own version only."""

log = structlog.get_logger(__name__)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, OSError) or (isinstance(error, NodeError) and error.retryable)


@DBOS.dbos_class()
class StudyWorkflow(DBOSConfiguredInstance):
    """The workflows, with the parts that do the work.

    Args:
        evaluator: turns the Instances of an evaluation into results.
        courier: sends results.
    """

    def __init__(self, evaluator: Evaluator, courier: Courier) -> None:
        self._evaluator, self._courier = evaluator, courier
        super().__init__(config_name="node")

    @DBOS.workflow()
    def evaluate(self, evaluation_id: str) -> None:
        """Evaluate a Study and queue its results; a failure ends in the index, in one sentence."""
        try:
            reason = self.make_results(evaluation_id)
        # The outermost boundary of the job: whatever happens, the Study ends with a reason.
        except Exception as error:
            log.exception("evaluation.broke", evaluation_id=evaluation_id)
            reason = sentence_of(error)
        if reason:
            self.fail(evaluation_id, reason)
        else:
            self.queue_results(evaluation_id)

    @DBOS.workflow()
    def deliver(self, evaluation_id: str, destination: str) -> None:
        """Make one attempt to deliver what is due of an evaluation to a destination."""
        self.attempt(evaluation_id, destination)

    @DBOS.step(
        retries_allowed=True,
        max_attempts=TRANSIENT_ATTEMPTS,
        interval_seconds=TRANSIENT_PAUSE_S,
        backoff_rate=3.0,
        should_retry=_is_transient,
    )
    def make_results(self, evaluation_id: str) -> str:
        """Identify, read, segment and write the results.

        Returns: why that can not be, empty if it is done. A text, because the step's outcome is kept in the
            database, and an error of ours may not come back from there as it was.
        Raises: OSError or a retryable NodeError: what may pass by itself; DBOS tries the step again.
        """
        try:
            self._evaluator.evaluate(evaluation_id)
        except (NodeError, EngineError) as error:
            if _is_transient(error):
                raise
            log.warning("evaluation.failed", evaluation_id=evaluation_id, reason=str(error))
            return str(error)
        return ""

    @DBOS.step()
    def queue_results(self, evaluation_id: str) -> None:
        """Put the results into the outbox and mark the evaluation as done."""
        self._courier.queue(evaluation_id)

    @DBOS.step()
    def fail(self, evaluation_id: str, reason: str) -> None:
        """Enter why the evaluation failed."""
        self._evaluator.fail(evaluation_id, reason)

    @DBOS.step()
    def attempt(self, evaluation_id: str, destination: str) -> None:
        """Send what is due and enter what came of it."""
        self._courier.attempt(evaluation_id, destination)


def sentence_of(error: BaseException) -> str:
    """Say in one sentence why work failed, without a foreign error's text, which may name a patient."""
    cause = error
    if isinstance(error, dbos_error.DBOSMaxStepRetriesExceeded) and error.errors:
        cause = error.errors[-1]
    if isinstance(cause, NodeError | EngineError):
        return str(cause)
    return f"Internal error ({type(cause).__name__}); the log has the details. The Study is kept; retry it."


class DurableQueue:
    """Starts and stops DBOS and queues workflows; implements ``node.dispatcher.WorkQueue``.

    Args:
        database_url: SQLAlchemy URL of the workflow tables.
        executor_id: names this process among those on the database; the same after a restart, so that it
            resumes what it left.
        workflow: the workflows to run.
    """

    def __init__(self, database_url: str, executor_id: str, workflow: StudyWorkflow) -> None:
        self._workflow = workflow
        config: DBOSConfig = {
            "name": "csvd-node",
            "system_database_url": database_url,
            "executor_id": executor_id,
            "application_version": WORKFLOW_VERSION,
            "log_level": "WARNING",
        }
        DBOS(config=config)

    def __enter__(self) -> Self:
        DBOS.launch()
        DBOS.register_queue(EVALUATIONS, worker_concurrency=1, polling_interval_sec=0.5)
        DBOS.register_queue(
            DELIVERIES,
            worker_concurrency=PARALLEL_DELIVERIES,
            partition_concurrency=1,
            polling_interval_sec=0.5,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DBOS.destroy()

    def evaluate(self, evaluation_id: str, run: int) -> None:
        """Queue one run of an evaluation; the same run twice is one."""
        with SetWorkflowID(f"evaluate/{evaluation_id}/{run}"):
            DBOS.enqueue_workflow(EVALUATIONS, self._workflow.evaluate, evaluation_id)

    def deliver(self, evaluation_id: str, destination: str, attempt: str) -> None:
        """Queue one attempt to deliver; the same attempt twice is one."""
        with (
            SetWorkflowID(f"deliver/{evaluation_id}/{destination}/{attempt}"),
            SetEnqueueOptions(queue_partition_key=destination),
        ):
            DBOS.enqueue_workflow(DELIVERIES, self._workflow.deliver, evaluation_id, destination)
