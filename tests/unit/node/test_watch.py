"""A watch goes on whatever its looks meet, and tells of a trouble once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from node.errors import IndexUnavailableError
from node.watch import Watch
from tests.support.peers import wait_until


class Looks:
    """Counts looks, and does in each what the test says."""

    def __init__(self, does: Callable[[int], None] = lambda count: None) -> None:
        self.count, self._does = 0, does

    def __call__(self) -> None:
        self.count += 1
        self._does(self.count)


def fault(_count: int) -> None:
    raise KeyError("a fault")


def away(count: int) -> None:
    if count <= 3:
        raise IndexUnavailableError("The index cannot be read")


@pytest.mark.parametrize(
    ("does", "said"), [(fault, "part.failed"), (away, "part.database_unavailable")], ids=["fault", "database"]
)
def test_no_look_ends_it(does: Callable[[int], None], said: str) -> None:
    looks = Looks(does)
    watch = Watch("part", looks, lambda: 0.01)
    with capture_logs() as logged:
        watch.start()
        wait_until(lambda: looks.count >= 6, what="it goes on")
        assert watch.is_alive()
        watch.stop()
    events = [entry["event"] for entry in logged]
    assert set(events) == {said}
    assert len(events) == (1 if does is away else looks.count), "the same trouble is told once"
    assert watch.trouble == ""
    assert not watch.is_alive()


def test_trouble_is_told_while_it_lasts() -> None:
    looks = Looks(lambda count: away(1))
    watch = Watch("part", looks, lambda: 0.01)
    watch.start()
    wait_until(lambda: looks.count >= 2)
    assert watch.trouble == "The index cannot be read"
    watch.stop()


@pytest.mark.parametrize("at_once", [True, False])
def test_first_look_may_come_at_once(at_once: bool) -> None:
    looks = Looks()
    watch = Watch("part", looks, lambda: 60.0, at_once=at_once)
    watch.start()
    if at_once:
        wait_until(lambda: looks.count == 1)
    watch.stop()
    assert looks.count == int(at_once)
