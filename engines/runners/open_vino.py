"""OpenVINO on the CPU, in float32 or, on CPUs that have it, bfloat16."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import openvino
from numpy.typing import NDArray

from engines.errors import RunnerError
from engines.manifest import ModelFile
from engines.runners.base import Notice, RunnerSettings, check_slices, unheard

CpuPrecision = Literal["f32", "bf16"]

SOURCE_PLACE = re.compile(r".*\.[ch]pp:\d+:\s*")
"""A line of OpenVINO's errors that only says where in its own source it was met."""

MAX_STREAMS = 4
"""Batches of a run that are computed side by side, each by its share of the threads: threads with batches of
their own do not wait for each other in every layer. More streams would take more memory on large machines."""


# OpenVINO prepares itself for NumPy's arrays when it meets the first one. Two threads that do so at the same
# time wait for each other for ever, one for Python's lock and one for the other: so it is done here, by one.
openvino.Tensor(np.zeros(1, np.float32))


@cache
def has_bf16() -> bool:
    """Tell whether this CPU computes in bfloat16; without it OpenVINO would silently fall back."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRunner:
    """Runs a model with OpenVINO on the CPU: a batch is divided among streams of one or several threads."""

    def __init__(
        self, path: Path, model: ModelFile, settings: RunnerSettings, precision: CpuPrecision = "f32"
    ) -> None:
        if precision == "bf16" and not has_bf16():
            raise RunnerError("This CPU has no bfloat16: use the runner openvino or onnxruntime")
        streams = min(settings.thread_count, MAX_STREAMS)
        # Without the hint OpenVINO itself takes bfloat16 wherever the CPU has it. A stream that is pinned to
        # a core would wait for whatever else runs there: other segmentors, other programs.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": settings.thread_count,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        try:
            self._compiled: Any = core.compile_model(core.read_model(path), "CPU", options)
        except RuntimeError as exc:
            raise RunnerError(f"OpenVINO cannot open {path.name}: {_told(exc)}") from exc
        self._model, self._precision = model, precision
        self._streams, self._batch = streams, max(1, settings.batch // streams)

    @property
    def name(self) -> str:
        """Runtime, version and precision."""
        version = openvino.__version__.split("-", maxsplit=1)[0]
        return f"openvino {version} CPU {self._precision}"

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns)."""
        compiled = self._compiled
        if compiled is None:
            raise RunnerError("This runner was closed: open another one")
        check_slices(slices)
        logits = np.empty((len(slices), 1, *slices.shape[2:]), np.float32)
        starts = range(0, len(slices), self._batch)
        # Requests of its own for each call: requests are not shared between threads.
        # They never call back: a stream that waits for Python's lock while its network is freed would
        # wait for ever.
        requests = [compiled.create_infer_request() for _ in starts[: self._streams]]

        def finish(number: int) -> None:
            request, start = requests[number % len(requests)], starts[number]
            request.wait()
            logits[start : start + self._batch] = request.get_tensor(self._model.output).data

        try:
            for number, start in enumerate(starts):
                if number >= len(requests):
                    finish(number - len(requests))
                part = slices[start : start + self._batch]
                requests[number % len(requests)].start_async({self._model.input: part})
            for number in range(len(starts) - len(requests), len(starts)):
                finish(number)
        except RuntimeError as exc:
            raise RunnerError(f"OpenVINO failed on slices of shape {slices.shape}: {_told(exc)}") from exc
        return logits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compiled = None


def _told(error: RuntimeError) -> str:
    """Return in one line what an error of OpenVINO says, without the places in its source."""
    lines = str(error).splitlines()
    said = [line for line in lines if not SOURCE_PLACE.fullmatch(line)] or lines
    return " ".join(" ".join(said).split())
