"""Tells whether something was said a moment ago, for a log that says the same in every round else."""

from __future__ import annotations

import time
from collections.abc import Callable

AGAIN_S = 60.0
"""After how long the same is said again, s: a log that turns up with nothing but it still shows it."""


class Repeated:
    """What was said last; for one thread.

    Args:
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last, self._said_at = clock, "", float("-inf")

    def is_news(self, what: str) -> bool:
        """Tell whether to say something: not if it was said last, a short while ago."""
        now = self._clock()
        if what == self._last and now - self._said_at < AGAIN_S:
            return False
        self._last, self._said_at = what, now
        return True

    def forget(self) -> None:
        """Let whatever comes next be news: things were well in between."""
        self._last = ""
