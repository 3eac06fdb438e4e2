"""Remembers whether a model's last run went as it should, for those who watch the node."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from engines.runners.base import Notice, Runner, unheard
from engines.segments import Segment
from node.health import Strain

log = structlog.get_logger(__name__)


class WatchedRunner:
    """Runs as another runner does.

    A reader of a report learns from its remarks that the CPU ran instead of the GPU; who keeps the GPU well
    reads no reports.

    Args:
        segment: what the model finds.
        runner: what runs it.

    Attributes:
        strain: in what the last run that returned was not as the runner's name says; empty if it was.
    """

    def __init__(self, segment: Segment, runner: Runner) -> None:
        self._segment, self._runner = segment, runner
        self.strain = ""

    @property
    def name(self) -> str:
        """Of the other runner."""
        return self._runner.name

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises: RunnerError: as the other runner.
        """
        told: list[str] = []
        logits = self._runner.run(slices, told.append)
        self.strain = "; ".join(told)
        if told:
            log.warning("segmentor.strained", segment=self._segment.value, reason=self.strain)
        for each in told:
            notice(each)
        return logits

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.__exit__(kind, error, trace)


def how_they_run(runners: Mapping[Segment, WatchedRunner]) -> str | Strain:
    """Say what runs the models, and what was not as it should in the last run of each."""
    running = ", ".join(f"{segment}: {runner.name}" for segment, runner in runners.items())
    strains = [f"{segment}: {runner.strain}" for segment, runner in runners.items() if runner.strain]
    return Strain(f"{running}; when last used, {'; '.join(strains)}") if strains else running
