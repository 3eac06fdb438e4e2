"""Opens the index database, which may come later than the node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from node.database import Database
from node.errors import IndexUnavailableError, StartInterruptedError

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 1.0
"""Pause before the second attempt, s; doubled before each next one."""

LONGEST_PAUSE_S = 30.0
"""What no pause exceeds, s."""


def open_database(
    url: str, patience_s: float, stopping: threading.Event, told: Callable[[str], None]
) -> Database:
    """Open the index, and wait for a database that does not answer yet rather than fail and start again.

    Args:
        url: SQLAlchemy URL.
        patience_s: how long it is tried, s.
        stopping: ends the wait.
        told: is told what is waited for.

    Raises:
        IndexUnavailableError: if it does not answer in time; says what the last attempt met.
        IndexSchemaError: if another version of the node wrote it.
        StartInterruptedError: if the process is to stop.
    """
    deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return Database(url)
        except IndexUnavailableError as error:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise
            reason = f"{error}; tried again for {left_s:.0f} s more"
        told(reason)
        log.warning("node.waits_for_database", reason=reason)
        if stopping.wait(min(pause_s, left_s)):
            raise StartInterruptedError
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
