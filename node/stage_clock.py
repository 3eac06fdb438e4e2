"""Measures the steps of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from engines.progress import Step
from node.observation import Observer, Stage


class StageClock:
    """Makes stages of steps: each lasts until the next one, the last until the context is left.

    A step that says how long it took has just ended, beside the one that lasts.

    Args:
        study_uid: whose evaluation it is.
        clock: the current time, with a time zone.
        observer: is told of each stage.
    """

    def __init__(self, study_uid: str, clock: Callable[[], datetime], observer: Observer) -> None:
        self._study_uid, self._clock, self._observer = study_uid, clock, observer
        self._current: tuple[str, datetime] | None = None

    def __call__(self, step: Step) -> None:
        """End the stage before, and begin this one; or tell of one that ran beside it."""
        if step.took_s is not None:
            ended_at = self._clock()
            began_at = ended_at - timedelta(seconds=step.took_s)
            self._observer.stage_ended(Stage(step.name, self._study_uid, began_at, ended_at))
            return
        self._end("")
        self._current = (step.name, self._clock())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end("" if kind is None else kind.__name__)

    def _end(self, remark: str) -> None:
        if self._current is not None:
            name, began_at = self._current
            self._current = None
            self._observer.stage_ended(Stage(name, self._study_uid, began_at, self._clock(), remark))
