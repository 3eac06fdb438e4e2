"""A GPU runner with the CPU in reserve: a Study is not lost because a GPU is full, fails or overflows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engines.errors import DeviceError, RunnerError
from engines.runners.base import Notice, Runner, unheard


class ReservedRunner:
    """Runs on a GPU, and on the CPU when the GPU cannot; the next run tries the GPU again.

    A proof on sample slices does not tell how far the values of another Series reach: float16 ends at 65504,
    and what lies beyond comes back as infinity or as no number. Then the CPU, in float32, decides as well.

    Args:
        first: the GPU's runner.
        open_reserve: opens the CPU's runner, when it is needed for the first time.
    """

    def __init__(self, first: Runner, open_reserve: Callable[[], Runner]) -> None:
        self._opened = ExitStack()
        self._first = self._opened.enter_context(first)
        self._open_reserve = open_reserve
        self._reserve: Runner | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The GPU's runner, as results cite it; a run on the CPU is told to the notice."""
        return self._first.name

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises: RunnerError: if the slices do not fit, or the CPU's runtime fails as well; says of both why.
        """
        try:
            logits = self._first.run(slices, notice)
            problem = "" if np.isfinite(logits).all() else "its logits are not all finite numbers"
        except DeviceError as exc:
            problem = str(exc)
        if problem:
            try:
                reserve = self._reserve_runner()
                logits = reserve.run(slices)
            except RunnerError as exc:
                raise RunnerError(
                    f"the GPU could not be used ({problem}), nor the CPU instead: {exc}"
                ) from exc
            notice(f"the GPU could not be used ({problem}): {reserve.name} ran instead of {self.name}")
        return logits

    def _reserve_runner(self) -> Runner:
        with self._lock:
            if self._reserve is None:
                self._reserve = self._opened.enter_context(self._open_reserve())
            return self._reserve

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
