"""The queues of durable work: what is handed in once is done once, by whichever process takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowStatus
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from node.database import cause_of, is_damaged
from node.errors import DamagedDatabaseError, QueueUnavailableError
from node.roles import Role
from node.takeover import Job

APPLICATION = "csvd-node"
"""Name under which the workflows of the node are kept."""

WORKFLOW_VERSION = "2"
"""Grows when the steps of a workflow change their order or meaning; its own version only goes on with it."""

EVALUATIONS = "evaluations"
"""The queue on which one Study after another is evaluated; an evaluation uses all cores by itself."""

DELIVERIES = "deliveries"
"""The queue on which results leave, partitioned by destination: a dead one holds up no other."""

PARALLEL_DELIVERIES = 8
"""Destinations that one process sends to at the same time."""

POLL_S = 1.0
"""Pause between two looks of a process at one of its queues, s; each is about four small transactions."""

ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
"""How work ends, as DBOS calls it."""

FORGOTTEN_AT_ONCE = 1000
"""How much ended work is deleted in one transaction."""

EVALUATION, DELIVERY = "Evaluation", "Delivery"
"""Names of the workflows, and of the classes that hold them, as the queues know them."""

URGENT, NORMAL = 1, 10
"""Priorities of work: the lowest number goes first, and among equals who waits longest."""

INSTANCE = "node"
"""Name of the one object of each such class in a process, as the queues know it."""

_ROLE_OF = {EVALUATIONS: Role.WORK, DELIVERIES: Role.SEND}
_QUEUE_OF = {role: queue for queue, role in _ROLE_OF.items()}


class DurableQueue:
    """Hands in work and what others left: the queue of ``node.dispatcher`` and of ``node.takeover``.

    Work that is handed in again although it ended is done again: it ended without effect, because the index
    could not be written or the clock of another machine was ahead, and would never be asked for else.

    Args:
        database_url: SQLAlchemy URL of the workflow tables, which are made where they are missing.
        version: of the workflows that are handed in.

    Raises:
        QueueUnavailableError: if the database cannot be opened, or does not answer when work is handed in.
        DamagedDatabaseError: if the SQLite file is damaged, or none.
    """

    def __init__(self, database_url: str, version: str = WORKFLOW_VERSION) -> None:
        self._version = version
        with as_queue_fault("opened"), _undamaged(database_url):
            DBOS.migrate(database_url)
            self._client = DBOSClient(
                system_database_url=database_url,
                application_name=APPLICATION,
                retry_connection_errors=False,
            )

    def __enter__(self) -> Self:
        with as_queue_fault("written"):
            self._client.register_queue(EVALUATIONS, worker_concurrency=1, polling_interval_sec=POLL_S)
            self._client.register_queue(
                DELIVERIES,
                worker_concurrency=PARALLEL_DELIVERIES,
                partition_concurrency=1,
                polling_interval_sec=POLL_S,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.destroy()

    def evaluate(self, evaluation_id: str, run: int, *, is_urgent: bool) -> None:
        """Queue one run of an evaluation; the same run twice is one, until it ended."""
        options = _options(EVALUATIONS, f"evaluate/{evaluation_id}/{run}", self._version, is_urgent=is_urgent)
        self._enqueue(options, evaluation_id)

    def deliver(self, evaluation_id: str, destination: str, attempt: str, *, is_urgent: bool) -> None:
        """Queue one attempt to deliver; the same attempt twice is one, until it ended."""
        job_id = f"deliver/{evaluation_id}/{destination}/{attempt}"
        options = _options(DELIVERIES, job_id, self._version, is_urgent=is_urgent)
        options["queue_partition_key"] = destination
        self._enqueue(options, evaluation_id, destination)

    def at_work(self) -> list[Job]:
        """List what a process is at, of any version."""
        return [_job(status) for status in self._listed(status="PENDING")]

    def of_other_versions(self) -> list[Job]:
        """List what is not done and belongs to processes of other versions than this."""
        with as_queue_fault("read"):
            known = {version["version_name"] for version in self._client.list_application_versions()}
        others = sorted(known - {self._version})
        if not others:
            return []
        queued = {"queue_name": list(_ROLE_OF), "status": ["ENQUEUED", "PENDING"]}
        return [_job(status) for status in self._listed(**queued, app_version=others)]

    def give_back(self, job: Job) -> None:
        """Let it wait again, for any process of its version."""
        with as_queue_fault("written"):
            self._client.resume_workflow(job.job_id, queue_name=_QUEUE_OF[job.role])

    def renew(self, job: Job) -> None:
        """Let processes of this version do it from its beginning, and those of its own version no more.

        The new one is there before the old one goes: a process that dies in between loses nothing.
        """
        # Work that was renewed before has the version in its name, and is asked for without it.
        asked_for = job.job_id.removesuffix(f"@{job.version}")
        options = _options(_QUEUE_OF[job.role], f"{asked_for}@{self._version}", self._version)
        arguments = [job.evaluation_id]
        for status in self._listed(workflow_ids=[job.job_id]):
            options["priority"] = status.priority or 0
            if status.queue_partition_key is not None:
                options["queue_partition_key"] = status.queue_partition_key
                arguments.append(status.queue_partition_key)
        self._enqueue(options, *arguments)
        self.cancel(job)

    def cancel(self, job: Job) -> None:
        """Let nobody do it."""
        with as_queue_fault("written"):
            self._client.cancel_workflow(job.job_id)

    def forget_done(self, before: datetime) -> int:
        """Forget work that ended before a moment, so much of it at a time; return how much that was.

        What was handed in is known by the index: nothing of this is asked for again, but for a Study that was
        removed and came again.
        """
        ended = self._listed(status=list(ENDED), completed_before=before.isoformat(), limit=FORGOTTEN_AT_ONCE)
        if ended:
            with as_queue_fault("written"):
                self._client.delete_workflows([status.workflow_id for status in ended])
        return len(ended)

    def _listed(self, **chosen: Any) -> list[WorkflowStatus]:
        with as_queue_fault("read"):
            # By name: what was cancelled, or broke off again and again, is on no queue any more.
            return self._client.list_workflows(
                name=[EVALUATION, DELIVERY], load_input=False, load_output=False, **chosen
            )

    def _enqueue(self, options: EnqueueOptions, *arguments: str) -> None:
        # What was renewed was cancelled under its own name, and goes on under that of the version.
        names = [options["workflow_id"], f"{options['workflow_id']}@{self._version}"]
        known = self._listed(workflow_ids=names)
        if any(status.status not in ENDED for status in known):
            return
        with as_queue_fault("written"):
            if known:
                self._client.delete_workflows([status.workflow_id for status in known])
            self._client.enqueue(options, *arguments)


def _options(queue: str, job_id: str, version: str, *, is_urgent: bool = False) -> EnqueueOptions:
    workflow = {EVALUATIONS: EVALUATION, DELIVERIES: DELIVERY}[queue]
    return EnqueueOptions(
        workflow_name=workflow,
        class_name=workflow,
        instance_name=INSTANCE,
        queue_name=queue,
        workflow_id=job_id,
        app_version=version,
        priority=URGENT if is_urgent else NORMAL,
    )


def _job(status: WorkflowStatus) -> Job:
    # Identifiers are made above; the second part names the evaluation, in every version.
    return Job(
        job_id=status.workflow_id,
        role=_ROLE_OF[status.queue_name or ""],
        evaluation_id=status.workflow_id.split("/")[1],
        version=status.app_version or "",
        process_id=status.executor_id if status.status == "PENDING" else None,
    )


@contextmanager
def _undamaged(database_url: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as exc:
        if not is_damaged(exc):
            raise
        cure = "remove it: it is made anew, and what was at work begins again"
        raise DamagedDatabaseError(str(make_url(database_url).database), cause_of(exc), cure) from exc


@contextmanager
def as_queue_fault(what: str) -> Iterator[None]:
    """Say in our words that the database of the queues does not answer.

    Args:
        what: what the queues cannot be.

    Raises: QueueUnavailableError
    """
    try:
        yield
    except DBAPIError as exc:
        raise QueueUnavailableError(f"The queues of work cannot be {what}: {cause_of(exc)}") from exc
    except PendingRollbackError as exc:
        # DBOS still gives back a lock on a connection that is gone.
        lost = "the connection to their database was lost"
        raise QueueUnavailableError(f"The queues of work cannot be {what}: {lost}") from exc
