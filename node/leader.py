"""The thread that does what one process at a time does: hand out work, and take over what others left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from node.errors import IndexUnavailableError, PartStoppedError, QueueUnavailableError
from node.watch import Watch

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""Pause between two rounds of the process that leads, s; far below the quiet time of a Series."""

TAKEOVER_S = 2.0
"""Pause between two looks for what others left, and of the others for whether one leads, s.

Each look asks the database; a process is missed for longer than this before it is taken for dead.
"""


@dataclass(frozen=True, slots=True)
class Duty:
    """What the leading process does again and again, and the pause between two times, s.

    Attributes:
        do: does some of it; true where more waits, with which the next round goes on.
        every_s: pause after which it is looked for again, s.
    """

    do: Callable[[], bool | None]
    every_s: float = POLL_S


class Leader:
    """Does its duties again and again, while this process leads.

    Each duty may be broken off at any moment and done again by another process.

    Args:
        leads: whether this process leads now.
        duties: what is done, in this order.
    """

    def __init__(self, leads: Callable[[], bool], duties: Iterable[Duty]) -> None:
        self._leads, self._duties = leads, tuple(duties)
        self._was_leading = False
        self._done_at: dict[Duty, float] = {}
        self._watch = Watch("leader", self._do_duties, self._pause_s, at_once=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()

    def check(self) -> str:
        """Say whether this process hands out work or another does.

        Raises:
            PartStoppedError: if the thread that does so ended.
            IndexUnavailableError: if the databases keep it from doing so.
        """
        if not self._watch.is_alive():
            raise PartStoppedError("dispatcher")
        if self._watch.trouble:
            raise IndexUnavailableError(self._watch.trouble)
        return "hands out work" if self._was_leading else "another process hands out work"

    def _pause_s(self) -> float:
        return POLL_S if self._was_leading else TAKEOVER_S

    def _do_duties(self) -> None:
        leads = self._leads()
        if leads and not self._was_leading:
            log.info("leader.leads")
        self._was_leading = leads
        for duty in self._duties if leads else ():
            now = time.monotonic()
            if now - self._done_at.get(duty, float("-inf")) >= duty.every_s:
                more_waits = _do(duty)
                self._done_at[duty] = float("-inf") if more_waits else now


def _do(duty: Duty) -> bool:
    """Do a duty; a fault in it is told and stops none of the others, a database that is away does."""
    try:
        return bool(duty.do())
    except (IndexUnavailableError, QueueUnavailableError):
        raise
    except Exception:
        log.exception("leader.failed")
        return False
