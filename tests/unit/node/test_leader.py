"""Only who leads does the duties, each at its own pace."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from node.errors import IndexUnavailableError
from node.leader import Duty, Leader
from tests.support.peers import wait_until


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_each_duty_is_done_at_its_own_pace() -> None:
    often, seldom = Counted(), Counted()
    with Leader(lambda: True, (Duty(seldom, 3600), Duty(often, 0))) as leader:
        wait_until(lambda: often.times >= 3, 20, "the duty is done again and again")
        assert leader.check() == "hands out work"
    assert seldom.times == 1


def test_duty_that_leaves_more_to_do_goes_on_in_the_next_round() -> None:
    times = Counted()

    def some() -> bool:
        times()
        return times.times < 3

    with Leader(lambda: True, (Duty(some, 3600),)):
        wait_until(lambda: times.times == 3, 20, "it goes on until nothing is left")
        time.sleep(1.5)
    assert times.times == 3


def test_duty_that_the_database_kept_from_being_done_is_done_in_the_next_round() -> None:
    done = Counted()

    def fail_once() -> None:
        done()
        if done.times == 1:
            raise IndexUnavailableError("The index cannot be read")

    with Leader(lambda: True, (Duty(fail_once, 3600),)):
        wait_until(lambda: done.times == 2, 20, "it is tried again")


def test_duty_with_a_fault_stops_no_other() -> None:
    done = Counted()

    def fail() -> None:
        raise KeyError("a fault")

    with capture_logs() as logged, Leader(lambda: True, (Duty(fail, 0), Duty(done, 0))):
        wait_until(lambda: done.times >= 2, 20, "the other is done")
    assert {each["event"] for each in logged} >= {"leader.failed"}


def test_full_database_is_told_of_once_and_makes_the_part_unwell() -> None:
    done, is_full = Counted(), threading.Event()
    is_full.set()

    def look() -> None:
        done()
        if is_full.is_set():
            raise IndexUnavailableError("The index cannot be written: database or disk is full")

    with capture_logs() as logged, Leader(lambda: True, (Duty(look, 0),)) as leader:
        wait_until(lambda: done.times >= 3, 20, "it is tried again and again")
        with pytest.raises(IndexUnavailableError, match="disk is full"):
            leader.check()
        is_full.clear()
        tried = done.times
        wait_until(lambda: done.times >= tried + 2, 20, "it is tried again")
        assert leader.check() == "hands out work"
    assert [each["event"] for each in logged if each["log_level"] == "warning"] == [
        "leader.database_unavailable"
    ]


def test_who_does_not_lead_does_nothing() -> None:
    asked, done = Counted(), Counted()

    def leads() -> bool:
        asked()
        return False

    with Leader(leads, (Duty(done),)) as leader:
        wait_until(lambda: asked.times >= 1, 20, "it asks")
        assert leader.check() == "another process hands out work"
    assert not done.times
