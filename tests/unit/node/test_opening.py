"""What comes later than the node is waited for, with the reason, until it is there or patience ends."""

from __future__ import annotations

import threading

import pytest

from node.errors import IndexSchemaError, IndexUnavailableError, StartInterruptedError
from node.health import Health, PartState
from node.opening import Patience


class Late:
    """Opens at the n-th attempt, and looks at the health before each."""

    def __init__(self, attempts: int, health: Health) -> None:
        self._left, self._health = attempts, health
        self.said: list[str] = []

    def __call__(self) -> str:
        (condition,) = self._health.conditions()
        self.said.append(condition.reason)
        self._left -= 1
        if self._left:
            raise IndexUnavailableError("The index cannot be opened: nobody answers")
        return "open"


def test_part_that_comes_later_is_waited_for_and_the_reason_is_said() -> None:
    health = Health(["database"])
    late = Late(2, health)
    assert Patience(20, threading.Event(), health).open("database", late, IndexUnavailableError) == "open"
    assert late.said[0] == "waits for what opens before it"
    assert late.said[1] == "The index cannot be opened: nobody answers; tried again for 20 s more"
    assert health.conditions()[0].state is PartState.OPENING


def test_patience_ends_with_what_the_last_attempt_met() -> None:
    health = Health(["database"])
    late = Late(9, health)
    with pytest.raises(IndexUnavailableError, match=r"nobody answers$"):
        Patience(0.1, threading.Event(), health).open("database", late, IndexUnavailableError)
    assert len(late.said) == 2


def test_what_does_not_pass_by_itself_is_said_at_once() -> None:
    def attempt() -> None:
        raise IndexSchemaError("9", "3")

    with pytest.raises(IndexSchemaError):
        Patience(60, threading.Event(), Health()).open("database", attempt, IndexUnavailableError)


def test_wait_ends_when_the_process_is_to_stop() -> None:
    health, stopping = Health(["database"]), threading.Event()
    stopping.set()
    with pytest.raises(StartInterruptedError):
        Patience(60, stopping, health).open("database", Late(9, health), IndexUnavailableError)
