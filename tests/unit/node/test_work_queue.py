"""The durable queues on PostgreSQL: urgent work goes first, and what ended is done again or forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dbos import DBOSClient
from sqlalchemy import create_engine, text

from node.errors import QueueUnavailableError
from node.roles import Role
from node.strays import AtWork
from node.takeover import Job
from node.work_queue import APPLICATION, DELIVERIES, DurableQueue, as_queue_fault
from node.workflow import DeliveryWorkflow, WorkflowRunner
from tests.support.peers import wait_until


class Courier:
    """Notes what it is asked to deliver."""

    def __init__(self) -> None:
        self.attempted: list[tuple[str, str]] = []

    def attempt(self, evaluation_id: str, destination: str) -> None:
        self.attempted.append((evaluation_id, destination))


def test_connection_that_is_lost_while_tables_are_made_is_named(postgres_url: str) -> None:
    """As DBOS makes them: it gives back a lock on the connection, whatever became of that."""
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))

    def lose_it() -> None:
        with as_queue_fault("opened"), engine.connect() as connection:
            try:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(1)"))

    in_words = "^The queues of work cannot be opened: the connection to their database was lost$"
    with pytest.raises(QueueUnavailableError, match=in_words):
        lose_it()


def test_work_that_two_updates_renewed_is_not_begun_again_under_its_own_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queues.sqlite"
    with DurableQueue(url, "1") as first, DurableQueue(url, "2") as second, DurableQueue(url, "3") as third:
        first.deliver("night", "pacs", "1", is_urgent=False)
        second.renew(Job("deliver/night/pacs/1", Role.SEND, "night", "1", None))
        third.renew(Job("deliver/night/pacs/1@2", Role.SEND, "night", "2", None))
        third.deliver("night", "pacs", "1", is_urgent=False)
    client = DBOSClient(system_database_url=url, application_name=APPLICATION)
    waiting = client.list_workflows(status="ENQUEUED")
    client.destroy()
    assert [each.workflow_id for each in waiting] == ["deliver/night/pacs/1@3"]


def test_urgent_results_overtake_and_what_ended_is_done_again_if_asked_for_and_else_forgotten(
    postgres_url: str,
) -> None:
    courier, url = Courier(), postgres_url.replace("postgresql:", "postgresql+psycopg:")
    with DurableQueue(url) as queue:
        for evaluation_id in ("first", "second", "stroke"):
            for attempt in (1, 2):
                is_urgent = evaluation_id == "stroke"
                queue.deliver(evaluation_id, "pacs", str(attempt), is_urgent=is_urgent)
        queue.renew(Job("deliver/second/pacs/2", Role.SEND, "second", "1", None))
        # What goes on under another name is not begun again under its own.
        queue.deliver("second", "pacs", "2", is_urgent=False)
        # As of a Study that was removed, and came again.
        queue.deliver("again", "pacs", "1", is_urgent=False)
        queue.cancel(Job("deliver/again/pacs/1", Role.SEND, "again", "2", None))
        queue.deliver("again", "pacs", "1", is_urgent=False)
        workflows = {DELIVERIES: DeliveryWorkflow(courier, AtWork())}  # type: ignore[arg-type]
        with WorkflowRunner(url, "test", workflows, 5):
            wait_until(lambda: len(courier.attempted) == 7, 60, "all are sent")
            wait_until(lambda: queue.at_work() == [], 60, "all have ended")
            for number, (evaluation_id, attempt) in enumerate((("first", "1"), ("second", "2")), 8):
                queue.deliver(evaluation_id, "pacs", attempt, is_urgent=False)
                wait_until(
                    lambda number=number: len(courier.attempted) == number,  # type: ignore[misc]
                    60,
                    "what ended without effect is done again, also where it had gone on in another version",
                )
            wait_until(lambda: queue.at_work() == [], 60, "all have ended")
        queue.deliver("waits", "pacs", "1", is_urgent=False)
        # Cancelled for good.
        queue.deliver("gone", "pacs", "1", is_urgent=False)
        queue.cancel(Job("deliver/gone/pacs/1", Role.SEND, "gone", "2", None))
        now = datetime.now(UTC)
        assert queue.forget_done(now - timedelta(hours=1)) == 0
        assert queue.forget_done(now + timedelta(hours=1)) == 8
        assert queue.forget_done(now + timedelta(hours=1)) == 0, "what waits stays"
    assert [evaluation_id for evaluation_id, _ in courier.attempted] == [
        *("stroke", "stroke"),
        *("first", "first"),
        *("second", "second"),
        "again",
        "first",
        "second",
    ]
