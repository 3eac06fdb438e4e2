"""What of this process is open and well, in words: for probes and for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from node.errors import NodeError


class PartState(StrEnum):
    """How far a part of the process is.

    STRAINED: it does its work, and somebody should do something before it no longer can.
    """

    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"
    STRAINED = "strained"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Condition:
    """How a part is now.

    Attributes:
        part: its name.
        state: how far it is.
        reason: in words.
    """

    part: str
    state: PartState
    reason: str

    @property
    def is_well(self) -> bool:
        """Whether it does its work."""
        return self.state in (PartState.OPEN, PartState.STRAINED)


@dataclass(frozen=True, slots=True)
class Strain:
    """What a check says of a part that does its work, but not as it should.

    Attributes:
        reason: what is so and what can be done, in words.
    """

    reason: str


Check = Callable[[], str | Strain]
"""Says in words how a part is, or raises NodeError or OSError, which says why it is not well."""


class Health:
    """The parts of one process; may be used from several threads.

    Args:
        parts: those that must be open before the process is ready, in the order in which they open.
    """

    def __init__(self, parts: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, Condition] = {}
        self._checks: dict[str, Check] = {}
        self._stops = False
        self.expect(parts)

    def expect(self, parts: Iterable[str]) -> None:
        """Name parts that are still to be opened."""
        with self._lock:
            for part in parts:
                self._said[part] = Condition(part, PartState.WAITING, "waits for what opens before it")

    def opening(self, part: str, reason: str) -> None:
        """Note what is done to open a part, or what that waits for."""
        with self._lock:
            self._said[part] = Condition(part, PartState.OPENING, reason)

    def opened(self, part: str, check: Check = lambda: "open") -> None:
        """Note that a part is open; from now on the check says how it is."""
        with self._lock:
            self._said[part] = Condition(part, PartState.OPEN, "open")
            self._checks[part] = check

    def stopping(self) -> None:
        """Note that the process was asked to stop: it is alive, and no longer ready."""
        with self._lock:
            self._stops = True

    @property
    def has_started(self) -> bool:
        """Whether every part was opened once."""
        with self._lock:
            return all(said.state is PartState.OPEN for said in self._said.values())

    @property
    def is_stopping(self) -> bool:
        """Whether the process was asked to stop."""
        with self._lock:
            return self._stops

    def conditions(self) -> tuple[Condition, ...]:
        """Ask every part how it is now."""
        with self._lock:
            said, checks = dict(self._said), dict(self._checks)
        return tuple(_ask(said[part], checks.get(part)) for part in said)

    def is_ready(self, conditions: Iterable[Condition]) -> bool:
        """Tell whether work may come, given how the parts are."""
        return not self.is_stopping and all(condition.is_well for condition in conditions)


def _ask(said: Condition, check: Check | None) -> Condition:
    if said.state is not PartState.OPEN or check is None:
        return said
    try:
        found = check()
    except (NodeError, OSError) as error:
        return Condition(said.part, PartState.BROKEN, str(error))
    if isinstance(found, Strain):
        return Condition(said.part, PartState.STRAINED, found.reason)
    return Condition(said.part, PartState.OPEN, found)
