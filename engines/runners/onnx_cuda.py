"""onnxruntime on an NVIDIA GPU, in float32."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.errors import RunnerUnavailableError
from engines.gpu.driver import find_gpu
from engines.manifest import BatchProfile, ModelFile
from engines.runners.base import Notice, RunnerKind, RunnerSettings, run_in_batches, unheard
from engines.runners.halving import run_halving
from engines.runners.onnx_runtime import CUDA_PROVIDER, infer, open_session

KIND = RunnerKind.ONNXRUNTIME_CUDA

INSTALL = "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
"""What brings CUDA to onnxruntime: both packages are one module, and the libraries are further packages."""

CUDA_MAJOR = 12
"""Used where onnxruntime does not say which CUDA it was built for."""


class OnnxCudaRunner:
    """Runs a model with onnxruntime on the first NVIDIA GPU.

    Args:
        path: the ONNX file.
        model: names of input and output.
        settings: threads for what the GPU cannot run.
        batch: slices of a run.

    Raises:
        RunnerUnavailableError: if this onnxruntime has no CUDA, or fell back to the CPU without a word.
        NoDriverError, OldDriverError: if the driver is missing or too old.
    """

    def __init__(self, path: Path, model: ModelFile, settings: RunnerSettings, batch: BatchProfile) -> None:
        if CUDA_PROVIDER not in onnxruntime.get_available_providers():
            raise RunnerUnavailableError(KIND.value, f"this onnxruntime has no CUDA: {INSTALL}")
        self._gpu = find_gpu(KIND.value, _cuda_major())
        lacking = load_libraries()
        session = open_session(path, settings.thread_count, on_gpu=True)
        check_providers(session.get_providers(), lacking)
        self._session: onnxruntime.InferenceSession | None = session
        self._model, self._profile, self._batch = model, batch, batch.opt

    @property
    def name(self) -> str:
        """Runtime, version, device and precision."""
        return f"onnxruntime {onnxruntime.__version__} CUDA {self._gpu.name} f32"

    def run(self, slices: NDArray[np.float32], notice: Notice = unheard) -> NDArray[np.float32]:
        """Return logits (n, 1, rows, columns) of slices (n, channels, rows, columns).

        Raises:
            RunnerError: if the slices do not fit, or the runner is closed.
            DeviceError: if the GPU failed or has no memory for the smallest batch.
        """

        def attempt(batch: int) -> NDArray[np.float32]:
            return run_in_batches(
                slices, batch, lambda part: infer_filled(self._session, self._model, part, batch)
            )

        self._batch, logits = run_halving(self._batch, self._profile.min, attempt, notice)
        return logits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def infer_filled(
    session: onnxruntime.InferenceSession | None,
    model: ModelFile,
    slices: NDArray[np.float32],
    batch: int,
) -> NDArray[np.float32]:
    """Run slices in a batch that is filled up with zeros, so that its size is always the same.

    For another size than that of its last run onnxruntime has cuDNN plan every convolution anew, which takes
    many times as long as the run (microsoft/onnxruntime, issue 23006).

    Args:
        session: of the model.
        model: names of input and output.
        slices: (n, channels, rows, columns) float32, n at most ``batch``.
        batch: slices that are computed.

    Returns: (n, 1, rows, columns) logits.
    Raises: RunnerError, DeviceError: as ``infer``.
    """
    if len(slices) == batch:
        return infer(session, model, slices, on_gpu=True)
    filled = np.zeros((batch, *slices.shape[1:]), np.float32)
    filled[: len(slices)] = slices
    return infer(session, model, filled, on_gpu=True)[: len(slices)]


def load_libraries() -> str:
    """Load CUDA's libraries from their packages, where onnxruntime does not look of itself.

    Returns: which could not be loaded, in onnxruntime's words, which it would print.
    """
    said = StringIO()
    with redirect_stdout(said):
        onnxruntime.preload_dlls()
    return " ".join(line for line in said.getvalue().splitlines() if line.startswith("Failed"))


def check_providers(active: list[str], lacking: str) -> None:
    """Refuse a session that left CUDA out: onnxruntime falls back to the CPU without an error.

    Args:
        active: what computes in the session.
        lacking: which libraries could not be loaded.

    Raises: RunnerUnavailableError
    """
    if CUDA_PROVIDER not in active:
        problem = f"onnxruntime fell back to {', '.join(active)}: its CUDA libraries did not load"
        raise RunnerUnavailableError(
            KIND.value, f"{problem} ({lacking or 'it does not say which'}): {INSTALL}"
        )


def _cuda_major() -> int:
    """Return the CUDA major version that onnxruntime was built for."""
    said = str(getattr(onnxruntime, "cuda_version", "") or "")
    major = said.split(".", maxsplit=1)[0]
    return int(major) if major.isdigit() else CUDA_MAJOR
