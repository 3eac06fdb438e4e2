"""Runs a delivery without an index and one that fails with an error that quotes a patient; takes a folder.

A process of its own, because DBOS knows one object of a workflow's class in each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from node.errors import IndexUnavailableError
from node.strays import AtWork
from node.telemetry import LogFormat, LogSettings, configure_logging
from node.work_queue import DELIVERIES, DurableQueue
from node.workflow import DeliveryWorkflow, WorkflowRunner
from tests.support.peers import wait_until

NAME = "Doe^Jane"
AWAY = "The index cannot be written: the server closed the connection"
REASON = "Internal error (ValueError); the log has the details."


class BrokenCourier:
    """Loses the index, or fails as a library does that quotes what it could not read."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def attempt(self, evaluation_id: str, destination: str) -> None:
        if evaluation_id == "away":
            raise IndexUnavailableError(AWAY)
        raise ValueError(f"Invalid value for VR PN: {NAME!r}")

    def fail(self, evaluation_id: str, destination: str, reason: str) -> None:
        self.reasons[evaluation_id] = reason


def main(folder: Path) -> None:
    """Queue the deliveries, run them and wait until they have failed."""
    configure_logging(LogSettings(format=LogFormat.JSON))
    courier, url = BrokenCourier(), f"sqlite:///{folder / 'workflows.sqlite'}"
    with DurableQueue(url) as queue:
        for evaluation_id in ("away", "one"):
            queue.deliver(evaluation_id, "pacs", "1", is_urgent=False)
        workflows = {DELIVERIES: DeliveryWorkflow(courier, AtWork())}  # type: ignore[arg-type]
        with WorkflowRunner(url, "test", workflows, 5):
            wait_until(
                lambda: courier.reasons == {"away": AWAY, "one": REASON},
                60,
                "they were tried, and have failed",
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
