"""Steps become stages with durations."""

from __future__ import annotations

import pytest

from engines.progress import Step
from node.observation import Observers, Stage
from node.stage_clock import StageClock
from tests.support.arrivals import at


class Heard(Observers):
    def __init__(self) -> None:
        super().__init__()
        self.stages: list[Stage] = []

    def stage_ended(self, stage: Stage) -> None:
        self.stages.append(stage)


def test_step_lasts_until_the_next_and_the_last_until_the_end() -> None:
    heard, times = Heard(), iter([at(0), at(2), at(2), at(7)])
    with StageClock("1.2.3", lambda: next(times), heard) as clock:
        clock(Step("identify", "identifying Series"))
        clock(Step("read", "reading volumes"))
    assert heard.stages == [
        Stage("identify", "1.2.3", at(0), at(2)),
        Stage("read", "1.2.3", at(2), at(7)),
    ]


def test_step_that_ran_beside_another_has_its_own_length_and_ends_nothing() -> None:
    heard, times = Heard(), iter([at(0), at(5), at(9)])
    with StageClock("1.2.3", lambda: next(times), heard) as clock:
        clock(Step("segment", "segmenting WMH, LACUNE at the same time"))
        clock(Step("segment_wmh", "segmenting WMH", took_s=4.0))
    assert heard.stages == [
        Stage("segment_wmh", "1.2.3", at(1), at(5)),
        Stage("segment", "1.2.3", at(0), at(9)),
    ]


def test_step_that_breaks_is_told_with_its_error() -> None:
    heard = Heard()

    def read() -> None:
        with StageClock("1.2.3", lambda: at(0), heard) as clock:
            clock(Step("read", "reading volumes"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()
    assert [stage.remark for stage in heard.stages] == ["ZeroDivisionError"]
