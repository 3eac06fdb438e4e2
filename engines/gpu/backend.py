"""TensorRT as a backend of plans: either flavour, on the GPU that is here or for one that is elsewhere."""

from __future__ import annotations

from pathlib import Path

from engines.build import Progress
from engines.bundle import Bundle, read_samples
from engines.cache import PlanKey, read_scratch, write_scratch
from engines.converters import converter_of
from engines.errors import RunnerError, RunnerUnavailableError, WrongGpuError
from engines.gpu.compilation import Compilation, compile_plan
from engines.gpu.cuda import CudaRuntime
from engines.gpu.driver import PACKAGES_MISSING, SHOWN_BY_CUDA, Gpu, GpuProbe, NvidiaProbe, find_gpu
from engines.gpu.execution import TensorRtEngine
from engines.gpu.flavour import LEAST_CAPABILITY, RTX_CAPABILITIES, FlavourKind, cuda_of, flavour_of
from engines.precision import Precision
from engines.runners.base import Notice, Runner, RunnerKind, unheard
from engines.runners.tensorrt import TensorRtRunner
from engines.settings import EngineSettings


class TensorRtBackend:
    """Compiles and opens plans.

    Args:
        kind: which flavour.
        settings: of compiled engines.
        folder: of the cache, for the timings of kernels.
        capability: compile for GPUs of this compute capability, times ten, which need not be here; then
            nothing can be opened.
        probe: asks the machine for its GPU.

    Raises:
        RunnerUnavailableError: if TensorRT is not installed.
        WrongGpuError: if the environment chooses none of the GPUs, or TensorRT does not serve the GPU.
        NoDriverError, OldDriverError: if the driver is missing or too old.
    """

    def __init__(
        self,
        kind: FlavourKind,
        settings: EngineSettings,
        folder: Path,
        capability: int | None = None,
        probe: GpuProbe = NvidiaProbe(),  # noqa: B008 - without state
    ) -> None:
        self.kind: RunnerKind = kind
        self._folder = folder
        # Plans of TensorRT for RTX serve one version only.
        self._version_compatible = settings.version_compatible and kind is RunnerKind.TENSORRT
        # Before TensorRT is loaded: it needs a driver that is there and new enough.
        self._gpu = find_gpu(kind.value, cuda_of(kind), probe) if capability is None else None
        if self._gpu is not None:
            check_capability(kind, self._gpu)
        self._flavour = flavour_of(kind)
        self._capability = self._gpu.capability if self._gpu else capability or 0
        # Full TensorRT compiles for the GPU that is here; that for RTX leaves Turing out unless it is named.
        here = self._gpu is not None and kind is RunnerKind.TENSORRT
        self._target = None if here else self._capability

    def key(self, bundle: Bundle, precision: Precision) -> PlanKey:
        """Return the key of a plan.

        TensorRT for RTX leaves the last step to the driver, so that its plan serves every GPU of a capability
        with every driver.
        """
        manifest = bundle.manifest
        calibrated = precision is Precision.INT8 and manifest.samples is not None
        own = self._gpu if self.kind is RunnerKind.TENSORRT else None
        return PlanKey(
            model=manifest.name,
            onnx_sha256=manifest.model.sha256,
            samples_sha256=manifest.samples.sha256 if calibrated and manifest.samples else "",
            precision=precision.value,
            batch=(manifest.batch.min, manifest.batch.opt, manifest.batch.max),
            input_shape=manifest.input_shape,
            flavour=self.kind.value,
            version=self._flavour.version,
            options="version-compatible" if self._version_compatible else "",
            capability=self._capability,
            gpu=own.name if own else "",
            driver=own.driver if own else "",
            converter=converter_of(precision),
        )

    def build(self, bundle: Bundle, precision: Precision, progress: Progress) -> bytes:
        """Compile a plan.

        Raises:
            PlanError: with TensorRT's own words.
            DeviceError: if TensorRT cannot begin on the GPU.
        """
        try:
            from engines.typed_onnx import write_precision
        except ImportError as exc:
            raise RunnerUnavailableError(self.kind.value, PACKAGES_MISSING) from exc
        manifest = bundle.manifest
        samples = read_samples(bundle) if precision is Precision.INT8 else None
        compilation = Compilation(
            model=manifest.name,
            onnx=write_precision(bundle.model_path, precision, manifest.model.input, samples),
            precision=precision,
            input_name=manifest.model.input,
            input_shape=manifest.input_shape,
            batch=manifest.batch,
            capability=self._target,
            version_compatible=self._version_compatible,
            timing_cache=read_scratch(self._timings),
        )
        plan, timings = compile_plan(self._flavour, compilation, progress)
        write_scratch(self._timings, timings)
        return plan

    def open(self, plan: bytes, bundle: Bundle, precision: Precision, notice: Notice = unheard) -> Runner:
        """Open a plan on the GPU.

        Raises:
            RunnerError: if this backend compiles for another machine.
            PlanError: if TensorRT refuses the plan.
            DeviceError: if the GPU has no room for it, or fails.
        """
        if self._gpu is None:
            raise RunnerError(f"{self.kind} compiles ahead of time here: there is no GPU to run on")
        manifest = bundle.manifest
        kept_kernels = self._folder / self.key(bundle, precision).kernels_name(self._gpu.name)
        kernels = read_scratch(kept_kernels)
        engine = TensorRtEngine(
            self._flavour,
            plan,
            manifest.model,
            manifest.input_shape,
            host_code=self._version_compatible,
            kernels=kernels,
        )
        name = f"{self.kind} {self._flavour.version} {self._gpu.name} {precision}"
        runner = TensorRtRunner(name, engine, CudaRuntime(), manifest.input_shape, manifest.batch, notice)
        compiled = engine.kernels
        if compiled != kernels:
            write_scratch(kept_kernels, compiled)
        return runner

    @property
    def _timings(self) -> Path:
        """The file of kernel timings, which hold for one GPU and one TensorRT."""
        gpu = self._gpu.name.replace(" ", "-") if self._gpu else f"sm{self._capability}"
        return self._folder / f"{self.kind}-{self._flavour.version}-{gpu}.timings"


def check_capability(kind: FlavourKind, gpu: Gpu) -> None:
    """Refuse a GPU that a flavour does not serve, before anything is compiled for it.

    Raises: WrongGpuError
    """
    serves_rtx, serves_full = gpu.capability in RTX_CAPABILITIES, gpu.capability >= LEAST_CAPABILITY
    if (kind is RunnerKind.TENSORRT and serves_full) or (kind is RunnerKind.TENSORRT_RTX and serves_rtx):
        return
    other = RunnerKind.TENSORRT if serves_full else RunnerKind.ONNXRUNTIME_CUDA
    raise WrongGpuError(
        kind.value,
        f"it does not serve {gpu.name} (compute capability {gpu.capability / 10:.1f}): use runner {other}, "
        f"or name another GPU in {SHOWN_BY_CUDA}",
    )
