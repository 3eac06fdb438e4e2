"""Which runner runs a bundle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle, read_samples
from engines.errors import RunnerError
from engines.proof import prove
from engines.runners.base import Runner, RunnerKind, RunnerSettings
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from engines.runners.open_vino import OpenVinoRunner, has_bf16


def available_runners() -> tuple[RunnerKind, ...]:
    """Return the runners that this machine can open, the reference first."""
    always = (RunnerKind.ONNXRUNTIME, RunnerKind.OPENVINO)
    return (*always, RunnerKind.OPENVINO_BF16) if has_bf16() else always


def open_runner(
    bundle: Bundle,
    kind: RunnerKind = RunnerKind.AUTO,
    settings: RunnerSettings | None = None,
    samples: NDArray[np.float32] | None = None,
) -> Runner:
    """Open the runner of a bundle.

    bfloat16 is used only after it has found the same lesions as float32 on sample slices. Which runner
    ``AUTO`` takes depends on the bundle and the machine alone, so a Study gets the same masks every time.

    Args:
        bundle: a checked bundle.
        kind: which runner.
        settings: threads and batch.
        samples: (n, channels, rows, columns) slices for the proof; by default those of the bundle.

    Raises: RunnerError: if the runtime can not open the model, or bfloat16 was asked for and is not proven.
    """
    settings = settings or RunnerSettings()
    path, model = bundle.model_path, bundle.manifest.model
    if kind is RunnerKind.OPENVINO:
        return OpenVinoRunner(path, model, settings)
    reference = OnnxRuntimeRunner(path, model, settings)
    if kind is RunnerKind.ONNXRUNTIME or (kind is RunnerKind.AUTO and not has_bf16()):
        return reference
    try:
        return _proven_bf16(bundle, reference, settings, samples)
    except RunnerError:
        if kind is RunnerKind.AUTO:
            return reference
        raise


def _proven_bf16(
    bundle: Bundle, reference: Runner, settings: RunnerSettings, samples: NDArray[np.float32] | None
) -> Runner:
    name = bundle.folder.name
    slices = read_samples(bundle) if samples is None else samples
    if slices is None:
        raise RunnerError(
            f"Bundle {name}: bfloat16 can not be used: there are no sample slices to prove it on"
        )
    candidate = OpenVinoRunner(bundle.model_path, bundle.manifest.model, settings, "bf16")
    agreement = prove(reference, candidate, slices, bundle.manifest.postprocessing.threshold)
    if not agreement.agrees:
        raise RunnerError(f"Bundle {name}: bfloat16 can not be used: {agreement.reason}")
    return candidate
