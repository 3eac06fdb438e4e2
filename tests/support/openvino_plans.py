"""A backend of plans that needs no GPU: OpenVINO compiles, exports and imports its own plans on the CPU."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import openvino

from engines.build import BuildProgress, Progress
from engines.bundle import Bundle, read_samples
from engines.cache import PlanKey
from engines.errors import PlanError
from engines.precision import Precision
from engines.runners.base import Notice, RunnerKind, run_in_batches, unheard
from engines.typed_onnx import write_precision

AS_WRITTEN = {"INFERENCE_PRECISION_HINT": "f32"}
"""Computes as the ONNX file states; a CPU that multiplies bfloat16 else takes that, also for a plan."""


class OpenVinoPlans:
    """Compiles the same typed ONNX files as TensorRT does.

    Attributes:
        built: precisions in the order in which they were compiled.
    """

    kind = RunnerKind.TENSORRT

    def __init__(self, built_log: Path | None = None, version: str = openvino.__version__) -> None:
        self.built: list[Precision] = []
        self._log, self._version = built_log, version

    def key(self, bundle: Bundle, precision: Precision) -> PlanKey:
        manifest = bundle.manifest
        return PlanKey(
            manifest.name,
            manifest.model.sha256,
            "",
            precision.value,
            (manifest.batch.min, manifest.batch.opt, manifest.batch.max),
            manifest.input_shape,
            "openvino",
            self._version,
        )

    def build(self, bundle: Bundle, precision: Precision, progress: Progress) -> bytes:
        self.built.append(precision)
        if self._log is not None:
            with self._log.open("a") as log:
                log.write(f"{precision}\n")
        progress(BuildProgress(bundle.manifest.name, "compiling", 0, 1))
        onnx = write_precision(
            bundle.model_path, precision, bundle.manifest.model.input, read_samples(bundle)
        )
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(onnx, b""), "CPU", AS_WRITTEN)
        progress(BuildProgress(bundle.manifest.name, "compiling", 1, 1))
        stream = io.BytesIO()
        compiled.export_model(stream)
        return stream.getvalue()

    def open(
        self, plan: bytes, bundle: Bundle, precision: Precision, notice: Notice = unheard
    ) -> OpenVinoPlanRunner:
        try:
            compiled = openvino.Core().import_model(io.BytesIO(plan), "CPU", AS_WRITTEN)
        except RuntimeError as exc:
            raise PlanError(bundle.manifest.name, f"the plan cannot be opened: {exc}") from exc
        return OpenVinoPlanRunner(f"openvino plan {precision}", compiled, bundle)


class OpenVinoPlanRunner:
    def __init__(self, name: str, compiled: Any, bundle: Bundle) -> None:
        self.name, self._compiled, self._model = name, compiled, bundle.manifest.model

    def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
        return run_in_batches(slices, 8, self._infer)

    def _infer(self, slices: np.ndarray) -> np.ndarray:
        return np.array(self._compiled({self._model.input: slices})[self._model.output])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
