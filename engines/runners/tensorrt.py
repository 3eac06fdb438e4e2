"""TensorRT on an NVIDIA GPU: one implementation for both flavours."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engines.errors import DeviceError, RunnerError
from engines.gpu.cuda import Cuda
from engines.gpu.execution import Engine
from engines.gpu.lanes import Lanes
from engines.manifest import BatchProfile
from engines.runners.base import Notice, check_slices, unheard
from engines.runners.halving import run_halving


class TensorRtRunner:
    """Runs an opened plan. Its memory on the GPU is allocated when it opens and kept until it closes.

    Args:
        name: runtime, version, device and precision.
        engine: the opened plan.
        cuda: the GPU.
        input_shape: (channels, rows, columns) of a slice.
        batch: slices of a run; ``opt`` is what it begins with.
        notice: told what makes it slower than it could be: smaller batches, or work that is not recorded.

    Raises: DeviceMemoryError: if the GPU has no room for the smallest batch.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        cuda: Cuda,
        input_shape: tuple[int, int, int],
        batch: BatchProfile,
        notice: Notice = unheard,
    ) -> None:
        self.name = name
        self._engine: Engine | None = engine
        self._cuda, self._shape, self._profile = cuda, input_shape, batch
        self._lock = threading.Lock()
        self._lanes: Lanes | None
        self._batch, self._lanes = run_halving(
            min(batch.opt, engine.max_batch),
            batch.min,
            lambda size: self._open_lanes(size, notice),
            notice,
        )

    @property
    def batch(self) -> int:
        """Slices of a run, as many as the GPU's memory allowed."""
        return self._batch

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises:
            RunnerError: if the slices do not fit, or the runner is closed.
            DeviceError: if the GPU failed or has no memory for the smallest batch.
        """
        check_slices(slices)
        if slices.shape[1:] != self._shape:
            raise RunnerError(f"Slices of shape {slices.shape[1:]}, the plan takes {self._shape}")
        with self._lock:
            if self._engine is None:
                raise RunnerError("This runner was closed: open another one")
            self._batch, logits = run_halving(
                self._batch, self._profile.min, lambda batch: self._attempt(slices, batch), notice
            )
        return logits

    def _attempt(self, slices: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
        """Run all slices in batches of one size, in the memory that is there or new memory."""
        try:
            if self._lanes is None or self._lanes.batch != batch:
                self._close_lanes()
                self._lanes = self._open_lanes(batch)
            return self._lanes.run(slices)
        except DeviceError:
            # What is under way on a GPU that failed is of no use; the next run begins anew.
            self._close_lanes()
            raise

    def _open_lanes(self, batch: int, notice: Notice = unheard) -> Lanes:
        if self._engine is None:
            raise RunnerError("This runner was closed: open another one")
        return Lanes(self._cuda, self._engine, (batch, *self._shape), notice)

    def _close_lanes(self) -> None:
        lanes, self._lanes = self._lanes, None
        # A GPU that failed for good takes nothing back either, and says why by what failed first.
        with suppress(DeviceError):
            if lanes is not None:
                lanes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._close_lanes()
            self._engine = None
