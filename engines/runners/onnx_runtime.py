"""The reference runner: onnxruntime on the CPU, float32."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from engines.errors import RunnerError
from engines.manifest import ModelFile
from engines.runners.base import RunnerSettings, run_in_batches

RUNTIME_ERRORS = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)
"""What onnxruntime raises; its errors share no base but Exception."""

ERRORS_ONLY = 3
"""Log level of a session: its warnings go past the node's structured logs."""


def open_session(path: Path, threads: int, *, optimised: bool = True) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU.

    Args:
        path: the ONNX file.
        threads: of one run.
        optimised: False only reads the graph, which is enough to look at its tensors.

    Raises: RunnerError: if onnxruntime can not open it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait by spinning take half as much CPU again from the other jobs of the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as exc:
        raise RunnerError(f"onnxruntime can not open {path.name}: {exc}") from exc


class OnnxRuntimeRunner:
    """Runs a model with onnxruntime on the CPU in float32."""

    def __init__(self, path: Path, model: ModelFile, settings: RunnerSettings) -> None:
        self._session: onnxruntime.InferenceSession | None = open_session(path, settings.thread_count)
        self._model, self._settings = model, settings

    @property
    def name(self) -> str:
        """Runtime, version and precision."""
        return f"onnxruntime {onnxruntime.__version__} CPU f32"

    def run(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns)."""
        return run_in_batches(slices, self._settings.batch, self._infer)

    def _infer(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._session is None:
            raise RunnerError("This runner was closed: open another one")
        try:
            (logits,) = self._session.run([self._model.output], {self._model.input: slices})
        except RUNTIME_ERRORS as exc:
            raise RunnerError(f"onnxruntime failed on slices of shape {slices.shape}: {exc}") from exc
        return np.asarray(logits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
