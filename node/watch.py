"""A thread that looks after something again and again, whatever happens to it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from node.errors import IndexUnavailableError, QueueUnavailableError
from node.repeating import Repeated

log = structlog.get_logger(__name__)


class Watch:
    """Looks again and again between ``start`` and ``stop``; no fault in a look ends it.

    Args:
        name: of the thread, and of its lines in the log.
        look: looks once.
        pause_s: tells how long to wait before the next look, s.
        at_once: whether the first look comes without a pause.

    Attributes:
        trouble: why the last look was broken off by a database, a sentence; empty if it was not.
    """

    def __init__(
        self, name: str, look: Callable[[], None], pause_s: Callable[[], float], *, at_once: bool = False
    ) -> None:
        self._name, self._look, self._pause_s, self._at_once = name, look, pause_s, at_once
        self.trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the last look has ended."""
        self._stopping.set()
        self._thread.join()

    def is_alive(self) -> bool:
        """Tell whether it goes on."""
        return self._thread.is_alive()

    def _watch(self) -> None:
        said = Repeated()
        pause_s = 0.0 if self._at_once else self._pause_s()
        while not self._stopping.wait(pause_s):
            try:
                self._look()
                self.trouble = ""
                said.forget()
            except (IndexUnavailableError, QueueUnavailableError) as error:
                self.trouble = str(error)
                if said.is_news(self.trouble):
                    log.warning(f"{self._name}.database_unavailable", reason=self.trouble)
            # The outermost boundary of the thread, which has to go on.
            except Exception:
                log.exception(f"{self._name}.failed")
            pause_s = self._pause_s()
