"""The durable way of a Study after the store: each step may be interrupted and run again anywhere."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance
from dbos import error as dbos_error
from sqlalchemy.exc import InterfaceError, OperationalError

from engines.errors import EngineError
from node.courier import Courier
from node.errors import FULL_DISK, BucketUnreachableError, NodeError
from node.evaluator import Evaluator
from node.strays import AtWork
from node.work_queue import APPLICATION, DELIVERY, EVALUATION, INSTANCE, WORKFLOW_VERSION, as_queue_fault

log = structlog.get_logger(__name__)

TRANSIENT_ATTEMPTS = 4
"""How often a step that met an error of the system is tried before the evaluation fails or is put off."""

TRANSIENT_PAUSE_S = 5.0
"""Pause after the first such try, s; each next pause is three times as long."""

KEPT = "The Study is kept; retry it."
"""What to do about a fault of the node's own."""


class InterruptedStepError(Exception):
    """A step met what may pass by itself; DBOS keeps it and hands it out again, so it holds no other error.

    Attributes:
        reason: why, in words.
        is_of_the_site: whether it would have met any Study.
    """

    def __init__(self, reason: str, is_of_the_site: bool) -> None:
        self.reason, self.is_of_the_site = reason, is_of_the_site
        super().__init__(reason, is_of_the_site)


def _is_interruption(error: BaseException) -> bool:
    return isinstance(error, InterruptedStepError)


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, OSError) or (isinstance(error, NodeError) and error.retryable)


@DBOS.dbos_class(EVALUATION)
class EvaluationWorkflow(DBOSConfiguredInstance):
    """From a complete Study to results that wait to be sent.

    Args:
        evaluator: turns the Instances of an evaluation into results.
        courier: queues results.
        at_work: is told of what is being done.
    """

    def __init__(self, evaluator: Evaluator, courier: Courier, at_work: AtWork) -> None:
        self._evaluator, self._courier, self._at_work = evaluator, courier, at_work
        super().__init__(config_name=INSTANCE)

    @DBOS.workflow(name=EVALUATION)
    def evaluate(self, evaluation_id: str) -> None:
        """Evaluate a Study and queue its results; a failure ends in the index, in one sentence."""
        with self._at_work.on(str(DBOS.workflow_id)):
            self._evaluate(evaluation_id)

    def _evaluate(self, evaluation_id: str) -> None:
        try:
            reason = self.make_results(evaluation_id)
        # The outermost boundary of the job: whatever happens, the Study ends with a reason.
        except Exception as error:
            met = _last(error)
            if _puts_off(met):
                # It stays at work in the index, and is handed in again.
                return
            if isinstance(met, InterruptedStepError):
                reason = _and_kept(met.reason)
            else:
                log = self._evaluator.log_of(evaluation_id)
                log.exception("evaluation.broke")
                reason = _and_kept(reason_of(met))
        if reason:
            self.fail(evaluation_id, reason)
        else:
            self.queue_results(evaluation_id)

    @DBOS.step(
        retries_allowed=True,
        max_attempts=TRANSIENT_ATTEMPTS,
        interval_seconds=TRANSIENT_PAUSE_S,
        backoff_rate=3.0,
        should_retry=_is_interruption,
    )
    def make_results(self, evaluation_id: str) -> str:
        """Identify, read, segment and write the results.

        Returns: why that cannot be, empty if it is done. A text, because the step's outcome is kept in the
            database, and an error of ours may not come back from there as it was.
        Raises: InterruptedStepError: what may pass by itself; DBOS tries the step again.
        """
        try:
            self._evaluator.evaluate(evaluation_id)
        except (NodeError, EngineError, OSError) as error:
            if not _is_transient(error):
                return str(error)
            reason = reason_of(error)
            self._evaluator.interrupted(evaluation_id, reason.rstrip("."))
            raise InterruptedStepError(reason, _is_of_the_site(error)) from error
        # DBOS keeps what a step raises, too, and the text of a foreign error may quote a patient.
        except Exception as error:
            log = self._evaluator.log_of(evaluation_id)
            log.exception("evaluation.broke")
            return _and_kept(reason_of(error))
        return ""

    @DBOS.step()
    def queue_results(self, evaluation_id: str) -> None:
        """Put the results into the outbox and mark the evaluation as done."""
        self._courier.queue(evaluation_id)

    @DBOS.step()
    def fail(self, evaluation_id: str, reason: str) -> None:
        """Enter why the evaluation failed."""
        self._evaluator.fail(evaluation_id, reason)


@DBOS.dbos_class(DELIVERY)
class DeliveryWorkflow(DBOSConfiguredInstance):
    """From the outbox to a destination.

    Args:
        courier: sends results.
        at_work: is told of what is being done.
    """

    def __init__(self, courier: Courier, at_work: AtWork) -> None:
        self._courier, self._at_work = courier, at_work
        super().__init__(config_name=INSTANCE)

    @DBOS.workflow(name=DELIVERY)
    def deliver(self, evaluation_id: str, destination: str) -> None:
        """Make one attempt to deliver what is due of an evaluation to a destination."""
        with self._at_work.on(str(DBOS.workflow_id)):
            self._deliver(evaluation_id, destination)

    def _deliver(self, evaluation_id: str, destination: str) -> None:
        reason = self.attempt(evaluation_id, destination)
        if reason:
            self.fail(evaluation_id, destination, reason)

    @DBOS.step()
    def attempt(self, evaluation_id: str, destination: str) -> str:
        """Send what is due and enter what came of it.

        Returns: why that cannot be, empty if it is done; a text, as with ``make_results``.
        """
        try:
            self._courier.attempt(evaluation_id, destination)
        except NodeError as error:
            told = log.bind(evaluation_id=evaluation_id, destination=destination)
            told.warning("delivery.interrupted", reason=str(error))
            return str(error)
        # The outermost boundary of the job: whatever happens, the delivery has a reason and is tried again.
        except Exception as error:
            log.exception("delivery.broke", evaluation_id=evaluation_id, destination=destination)
            return reason_of(error)
        return ""

    @DBOS.step()
    def fail(self, evaluation_id: str, destination: str, reason: str) -> None:
        """Enter why the attempt failed."""
        self._courier.fail(evaluation_id, destination, reason)


def reason_of(error: BaseException) -> str:
    """Say why work failed, without a foreign error's text, which may name a patient."""
    if isinstance(error, NodeError | EngineError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"Internal error ({type(error).__name__}); the log has the details."


def _and_kept(reason: str) -> str:
    return f"{reason.removesuffix('.')}. {KEPT}"


def _last(error: Exception) -> Exception:
    """Return what the last attempt at a step met."""
    if isinstance(error, dbos_error.DBOSMaxStepRetriesExceeded) and error.errors:
        return error.errors[-1]
    return error


def _puts_off(met: Exception) -> bool:
    """Tell whether work waits for the site, of which the database that DBOS notes things in is a part."""
    if isinstance(met, InterruptedStepError):
        return met.is_of_the_site
    return isinstance(met, OperationalError | InterfaceError)


def _is_of_the_site(error: Exception) -> bool:
    """Tell whether a full disk or a database or object store that is away held work up, whatever the Study.

    A database that answers and refuses what it is told is a fault.
    """
    met = error.__cause__ if isinstance(error, NodeError) else error
    is_full = isinstance(met, OSError) and met.errno in FULL_DISK
    return is_full or isinstance(met, OperationalError | InterfaceError | BucketUnreachableError)


class WorkflowRunner:
    """Runs the workflows that wait on some queues while its context is open.

    Args:
        database_url: SQLAlchemy URL of the workflow tables.
        executor_id: names this process among all that ever were on the database.
        workflows: by the queue to take work from, the object whose workflows wait there.
        stop_grace_s: how long work that has begun gets to finish when the context is left, s; whole seconds.
        version: of the workflows.

    Raises:
        QueueUnavailableError: if the database does not answer when the context is entered.
    """

    def __init__(
        self,
        database_url: str,
        executor_id: str,
        workflows: Mapping[str, DBOSConfiguredInstance],
        stop_grace_s: int,
        version: str = WORKFLOW_VERSION,
    ) -> None:
        self._workflows, self._stop_grace_s = workflows, stop_grace_s
        # Else DBOS writes to standard error itself, with the texts of errors, which may name a patient.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": database_url,
            "executor_id": executor_id,
            "application_version": version,
            "log_level": "ERROR",
        }
        DBOS(config=config)

    def __enter__(self) -> Self:
        DBOS.listen_queues(list(self._workflows))
        with as_queue_fault("opened"):
            DBOS.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        DBOS.destroy(workflow_completion_timeout_sec=self._stop_grace_s)
