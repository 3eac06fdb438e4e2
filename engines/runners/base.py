"""What a runner is: something that turns prepared slices into logits."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from engines.errors import RunnerError
from engines.processors import usable_cpus


class RunnerKind(StrEnum):
    """Which runtime runs a model, in which precision.

    ``AUTO`` takes the first one, in the order written here, that this machine has and that agrees with the
    reference, which is ``ONNXRUNTIME``: float32 on the CPU.
    """

    AUTO = "auto"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    OPENVINO_BF16 = "openvino-bf16"
    OPENVINO = "openvino"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME = "onnxruntime"

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on an NVIDIA GPU, so that the CPU is free meanwhile."""
        return self in {RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX, RunnerKind.ONNXRUNTIME_CUDA}


Notice = Callable[[str], None]
"""Told what a reader of the report must know about a run."""


def unheard(_: str) -> None:
    """Take a notice that nobody asked for."""


class RunnerSettings(BaseModel):
    """How much of the machine a runner takes; larger batches are hardly faster on a CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = Field(
        default=0, ge=0, le=1024, description="threads of one model run; 0 takes all CPUs of the process"
    )
    batch: int = Field(default=4, ge=1, le=1024, description="slices run together; more take more memory")

    @property
    def thread_count(self) -> int:
        """Threads to ask a runtime for."""
        return self.threads or usable_cpus()


class Runner(Protocol):
    """A loaded model. Leaving its context frees it; several threads may run it at a time."""

    @property
    def name(self) -> str:
        """Runtime, version and precision, as results cite it."""

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns), both float32.

        Args:
            slices: (n, channels, rows, columns) float32.
            notice: told when the run did not go as the runner's name says: in smaller batches, on the CPU.

        Raises: RunnerError: if the slices do not fit the model, or the runtime failed.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def run_in_batches(
    slices: NDArray[np.float32],
    batch: int,
    infer: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Run slices in batches and join the logits, so that memory does not grow with the Series.

    Args:
        slices: (n, channels, rows, columns) float32.
        batch: slices in one call of ``infer``.
        infer: the runtime's call.

    Returns: (n, 1, rows, columns) logits.
    Raises: RunnerError: if there is no slice, or the array is not float32 of rank 4.
    """
    check_slices(slices)
    starts = range(0, len(slices), batch)
    return np.concatenate([infer(np.ascontiguousarray(slices[at : at + batch])) for at in starts])


def check_slices(slices: NDArray[np.float32]) -> None:
    """Refuse what no runner takes.

    Raises: RunnerError: if there is no slice, or the array is not float32 of rank 4.
    """
    if slices.ndim != 4 or slices.dtype != np.float32 or not len(slices):
        raise RunnerError(
            f"Slices are float32 (n, channels, rows, columns), got {slices.dtype} {slices.shape}"
        )
