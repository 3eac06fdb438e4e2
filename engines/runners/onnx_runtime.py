"""onnxruntime in float32: on the CPU, which is the reference, and on an NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from engines.errors import DeviceError, DeviceMemoryError, RunnerError
from engines.manifest import ModelFile
from engines.runners.base import Notice, RunnerSettings, run_in_batches, unheard

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
    RuntimeError,
    ValueError,
)
"""What onnxruntime raises; its own errors share no base but Exception."""

ERRORS_ONLY = 3
"""Log level of a session: its warnings go past the node's structured logs."""


CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
"""onnxruntime's names of what computes."""

EXACT_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""Options of CUDA: products in float32, convolutions chosen without trial runs."""

MEMORY_WORDS = ("allocate memory", "out of memory", "cudaMalloc", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""How onnxruntime says that a GPU is full; it has no error for it, and hands on those of cuBLAS and cuDNN."""


def open_session(
    path: Path, threads: int, *, optimised: bool = True, on_gpu: bool = False
) -> onnxruntime.InferenceSession:
    """Open an ONNX file.

    Args:
        path: the ONNX file.
        threads: of one run.
        optimised: False only reads the graph, which is enough to look at its tensors.
        on_gpu: True runs it on the first NVIDIA GPU and, what that cannot run, on the CPU.

    Raises: RunnerError: if onnxruntime cannot open it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait by spinning take half as much CPU again from the other jobs of the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers: list[object] = [(CUDA_PROVIDER, EXACT_CUDA)] if on_gpu else []
    providers.append(CPU_PROVIDER)
    try:
        # Left to itself it turns to the CPU when a GPU fails, for good and under the GPU's name.
        return onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except RUNTIME_ERRORS as exc:
        raise RunnerError(f"onnxruntime cannot open {path.name}: {exc}") from exc


class OnnxRuntimeRunner:
    """Runs a model with onnxruntime on the CPU in float32."""

    def __init__(self, path: Path, model: ModelFile, settings: RunnerSettings) -> None:
        self._session: onnxruntime.InferenceSession | None = open_session(path, settings.thread_count)
        self._model, self._settings = model, settings

    @property
    def name(self) -> str:
        """Runtime, version and precision."""
        return f"onnxruntime {onnxruntime.__version__} CPU f32"

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns)."""
        return run_in_batches(slices, self._settings.batch, self._infer)

    def _infer(self, slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return infer(self._session, self._model, slices)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def infer(
    session: onnxruntime.InferenceSession | None,
    model: ModelFile,
    slices: NDArray[np.float32],
    *,
    on_gpu: bool = False,
) -> NDArray[np.float32]:
    """Run one batch.

    Args:
        session: of the model.
        model: names of input and output.
        slices: (n, channels, rows, columns) float32.
        on_gpu: whether the session runs on a GPU, so that the CPU can do the work when that fails.

    Raises:
        RunnerError: if the runner is closed, the slices do not fit or onnxruntime fails.
        DeviceMemoryError: if it says that the memory of the GPU is full.
        DeviceError: if anything else failed on the GPU.
    """
    if session is None:
        raise RunnerError("This runner was closed: open another one")
    try:
        (logits,) = session.run([model.output], {model.input: slices})
    except RUNTIME_ERRORS as exc:
        said = f"onnxruntime failed on slices of shape {slices.shape}: {exc}"
        if not on_gpu or isinstance(exc, state.InvalidArgument):
            raise RunnerError(said) from exc
        is_full = any(words in str(exc) for words in MEMORY_WORDS)
        raise (DeviceMemoryError if is_full else DeviceError)(said) from exc
    return np.asarray(logits)
