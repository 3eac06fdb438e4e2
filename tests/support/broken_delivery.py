"""Runs one delivery that fails with an error that quotes a patient, and ends; started with a folder.

A process of its own, because DBOS knows one object of a workflow's class in each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from node.strays import AtWork
from node.telemetry import LogFormat, LogSettings, configure_logging
from node.work_queue import DELIVERIES, DurableQueue
from node.workflow import DeliveryWorkflow, WorkflowRunner
from tests.support.peers import wait_until

NAME = "Doe^Jane"
REASON = "Internal error (ValueError); the log has the details."


class BrokenCourier:
    """Fails as a library does that quotes what it could not read."""

    def __init__(self) -> None:
        self.attempts = 0
        self.reasons: list[str] = []

    def attempt(self, evaluation_id: str, destination: str) -> None:
        self.attempts += 1
        raise ValueError(f"Invalid value for VR PN: {NAME!r}")

    def fail(self, evaluation_id: str, destination: str, reason: str) -> None:
        self.reasons.append(reason)


def main(folder: Path) -> None:
    """Queue the delivery, run it and wait until it has failed."""
    configure_logging(LogSettings(format=LogFormat.JSON))
    courier, url = BrokenCourier(), f"sqlite:///{folder / 'workflows.sqlite'}"
    with DurableQueue(url) as queue:
        queue.deliver("one", "pacs", "1", is_urgent=False)
        workflows = {DELIVERIES: DeliveryWorkflow(courier, AtWork())}  # type: ignore[arg-type]
        with WorkflowRunner(url, "test", workflows, 5):
            wait_until(lambda: courier.reasons == [REASON], 60, "it is tried, and has failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
