"""The queues of durable work: what is handed in once is done once, by whichever process takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlalchemy.exc import DBAPIError

from node.errors import QueueUnavailableError

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

POLL_S = 0.5
"""Pause between two looks of a worker at its queue, s."""

EVALUATION, DELIVERY = "Evaluation", "Delivery"
"""Names of the workflows, and of the classes that hold them, as the queues know them."""

INSTANCE = "node"
"""Name of the one object of each such class in a process, as the queues know it."""


class DurableQueue:
    """Hands in work; implements ``node.dispatcher.WorkQueue``.

    Args:
        database_url: SQLAlchemy URL of the workflow tables, which are made where they are missing.

    Raises:
        QueueUnavailableError: if the database can not be opened, or does not answer when work is handed in.
    """

    def __init__(self, database_url: str) -> None:
        with _translated("opened"):
            DBOS.migrate(database_url)
            self._client = DBOSClient(
                system_database_url=database_url,
                application_name=APPLICATION,
                retry_connection_errors=False,
            )

    def __enter__(self) -> Self:
        with _translated("written"):
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

    def evaluate(self, evaluation_id: str, run: int) -> None:
        """Queue one run of an evaluation; the same run twice is one."""
        options = _options(EVALUATIONS, EVALUATION, f"evaluate/{evaluation_id}/{run}")
        self._enqueue(options, evaluation_id)

    def deliver(self, evaluation_id: str, destination: str, attempt: str) -> None:
        """Queue one attempt to deliver; the same attempt twice is one."""
        options = _options(DELIVERIES, DELIVERY, f"deliver/{evaluation_id}/{destination}/{attempt}")
        options["queue_partition_key"] = destination
        self._enqueue(options, evaluation_id, destination)

    def _enqueue(self, options: EnqueueOptions, *arguments: str) -> None:
        with _translated("written"):
            self._client.enqueue(options, *arguments)


def _options(queue: str, workflow: str, workflow_id: str) -> EnqueueOptions:
    return EnqueueOptions(
        workflow_name=workflow,
        class_name=workflow,
        instance_name=INSTANCE,
        queue_name=queue,
        workflow_id=workflow_id,
        app_version=WORKFLOW_VERSION,
    )


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as exc:
        raise QueueUnavailableError(f"The queues of work can not be {what}: {exc.orig}") from exc
