"""OpenVINO on the CPU, in float32 or, on CPUs that have it, bfloat16."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import openvino
from numpy.typing import NDArray

from engines.errors import RunnerError
from engines.manifest import ModelFile
from engines.runners.base import Notice, RunnerSettings, run_in_batches, unheard

Precision = Literal["f32", "bf16"]


@cache
def has_bf16() -> bool:
    """Tell whether this CPU computes in bfloat16; without it OpenVINO would silently fall back."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRunner:
    """Runs a model with OpenVINO on the CPU."""

    def __init__(
        self, path: Path, model: ModelFile, settings: RunnerSettings, precision: Precision = "f32"
    ) -> None:
        if precision == "bf16" and not has_bf16():
            raise RunnerError("This CPU has no bfloat16: use the runner openvino or onnxruntime")
        # Without the hint OpenVINO itself takes bfloat16 wherever the CPU has it.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": settings.thread_count,
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        try:
            self._compiled: Any = core.compile_model(core.read_model(path), "CPU", options)
        except RuntimeError as exc:
            raise RunnerError(f"OpenVINO can not open {path.name}: {exc}") from exc
        self._model, self._settings, self._precision = model, settings, precision

    @property
    def name(self) -> str:
        """Runtime, version and precision."""
        version = openvino.__version__.split("-", maxsplit=1)[0]
        return f"openvino {version} CPU {self._precision}"

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns)."""
        if self._compiled is None:
            raise RunnerError("This runner was closed: open another one")
        # A request of its own for each call: requests are not shared between threads.
        request = self._compiled.create_infer_request()

        def infer(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            try:
                results = request.infer({self._model.input: batch})
            except RuntimeError as exc:
                raise RunnerError(f"OpenVINO failed on slices of shape {batch.shape}: {exc}") from exc
            return np.array(results[self._model.output], dtype=np.float32)

        return run_in_batches(slices, self._settings.batch, infer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compiled = None
