"""Opens what may come later than the node: its database, its bucket, the driver of its GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from node.errors import StartInterruptedError
from node.health import Health

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 1.0
"""Pause before the second attempt, s; doubled before each next one."""

LONGEST_PAUSE_S = 30.0
"""What no pause exceeds, s."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a starting process waits rather than fail and be started again.

    Attributes:
        longest_s: how long each part is tried, s.
        stopping: ends the wait.
        health: is told what is waited for, and why.
    """

    longest_s: float
    stopping: threading.Event
    health: Health

    def open(self, part: str, attempt: Callable[[], T], passing: type[Exception]) -> T:
        """Open a part, and wait while it cannot be opened for a reason that may pass by itself.

        Args:
            part: its name among the parts of the process.
            attempt: opens it.
            passing: what it raises meanwhile; its text says why.

        Raises:
            Exception: what the last attempt met, if it cannot be opened in time.
            StartInterruptedError: if the process is to stop.
        """
        deadline, pause_s = time.monotonic() + self.longest_s, FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except passing as error:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise
                reason = f"{error}; tried again for {left_s:.0f} s more"
            self.health.opening(part, reason)
            log.warning("node.waits", part=part, reason=reason)
            if self.stopping.wait(min(pause_s, left_s)):
                raise StartInterruptedError
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
