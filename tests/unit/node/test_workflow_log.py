"""What DBOS has to say goes through the node's own log, without the texts of foreign errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from node.telemetry import LogFormat, LogSettings, configure_logging
from node.work_queue import DELIVERIES, DurableQueue
from node.workflow import DeliveryWorkflow, WorkflowRunner
from tests.support.peers import wait_until

NAME = "Doe^Jane"


class BrokenCourier:
    """Fails as a library does that quotes what it could not read."""

    def __init__(self) -> None:
        self.attempts = 0

    def attempt(self, evaluation_id: str, destination: str) -> None:
        self.attempts += 1
        raise ValueError(f"Invalid value for VR PN: {NAME!r}")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test configures for the whole process."""
    root, dbos = logging.getLogger(), logging.getLogger("dbos")
    kept = root.handlers[:], root.level
    of_dbos = dbos.handlers[:], dbos.level, dbos.propagate
    dbos.handlers[:] = []
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = kept
    dbos.handlers[:], dbos.level, dbos.propagate = of_dbos


def test_work_that_breaks_is_logged_as_all_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(format=LogFormat.JSON))
    courier, url = BrokenCourier(), f"sqlite:///{tmp_path / 'workflows.sqlite'}"
    with DurableQueue(url) as queue:
        queue.deliver("one", "pacs", "1", is_urgent=False)
        workflows = {DELIVERIES: DeliveryWorkflow(courier)}  # type: ignore[arg-type]
        with WorkflowRunner(url, "test", workflows, 5):
            wait_until(lambda: courier.attempts == 1, 60, "it is tried")
    written = capsys.readouterr().err
    assert NAME not in written
    entries = [json.loads(line) for line in written.splitlines()]
    assert any("ValueError" in entry.get("exception", "") for entry in entries)
