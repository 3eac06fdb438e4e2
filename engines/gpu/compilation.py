"""From an ONNX file to a plan, with either flavour of TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.build import BuildProgress, Progress
from engines.errors import PlanError
from engines.gpu.flavour import RTX_CAPABILITIES, Flavour
from engines.manifest import BatchProfile
from engines.precision import Precision
from engines.runners.base import RunnerKind

if TYPE_CHECKING:
    import tensorrt as trt


@dataclass(frozen=True, slots=True)
class Compilation:
    """What a plan is compiled from and for.

    Attributes:
        model: name, for messages.
        onnx: the network with its precision written into it.
        precision: of the network; float32 and TF32 are one ONNX file and differ by a flag.
        input_name: of its one input.
        input_shape: (channels, rows, columns) of one slice.
        batch: slices of a run.
        capability: compute capability, times ten, to compile for, or None for that of the GPU that is here.
        version_compatible: whether the lean runtime of later versions may run the plan.
        timing_cache: kernel timings of earlier builds, or nothing.
    """

    model: str
    onnx: bytes
    precision: Precision
    input_name: str
    input_shape: tuple[int, int, int]
    batch: BatchProfile
    capability: int | None = None
    version_compatible: bool = False
    timing_cache: bytes = b""


def compile_plan(flavour: Flavour, compilation: Compilation, progress: Progress) -> tuple[bytes, bytes]:
    """Compile a strongly typed network.

    Args:
        flavour: which TensorRT.
        compilation: from what and for what.
        progress: told each step of TensorRT; what it raises ends the build and is raised here.

    Returns: the plan and the timing cache with what was measured now (empty where the flavour has none).

    Raises:
        PlanError: with TensorRT's own words and the operator that it lacks, if it is one.
        DeviceError: if TensorRT cannot begin on this GPU.
    """
    builder = flavour.begin(flavour.trt.Builder)
    network = _parse(flavour, builder, compilation)
    config = builder.create_builder_config()
    _set_profile(flavour, builder, config, compilation)
    _set_target(flavour, config, compilation)
    raised: list[BaseException] = []
    config.progress_monitor = _monitor(flavour, compilation.model, progress, raised)
    # TensorRT for RTX measures no kernels when it compiles.
    timings = _timings(config, compilation) if flavour.kind is RunnerKind.TENSORRT else None
    plan = builder.build_serialized_network(network, config)
    if raised:
        raise raised[0]
    if plan is None:
        raise PlanError(compilation.model, f"TensorRT cannot compile it: {flavour.complaint}")
    return _bytes(plan), b"" if timings is None else _bytes(timings.serialize())


def _timings(config: trt.IBuilderConfig, compilation: Compilation) -> trt.ITimingCache:
    """Give a build the timings of earlier ones, or none where those are damaged or of another GPU."""
    for kept in (compilation.timing_cache, b""):
        timings = config.create_timing_cache(kept)
        if timings is not None and config.set_timing_cache(timings, ignore_mismatch=False):
            return timings
    raise PlanError(compilation.model, "TensorRT keeps no timings")


def _bytes(memory: Any) -> bytes:
    """Copy memory of TensorRT, which is a buffer although its stubs do not say so."""
    return bytes(memory)


def _parse(flavour: Flavour, builder: trt.Builder, compilation: Compilation) -> trt.INetworkDefinition:
    flag = flavour.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(flag))
    parser = flavour.trt.OnnxParser(network, flavour.logger)
    if not parser.parse(compilation.onnx):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join(dict.fromkeys(_describe(error) for error in errors)) or flavour.complaint
        raise PlanError(compilation.model, f"TensorRT cannot read it: {said}")
    return network


def _describe(error: trt.ParserError) -> str:
    operator = error.node_operator()
    at = f"{operator} ({error.node_name()}): " if operator else ""
    return f"{at}{error.desc()}"


def _set_profile(
    flavour: Flavour, builder: trt.Builder, config: trt.IBuilderConfig, compilation: Compilation
) -> None:
    profile = builder.create_optimization_profile()
    batch, shape = compilation.batch, compilation.input_shape
    dims = [flavour.trt.Dims4(size, *shape) for size in (batch.min, batch.opt, batch.max)]
    profile.set_shape(compilation.input_name, dims[0], dims[1], dims[2])
    if config.add_optimization_profile(profile) < 0:
        raise PlanError(compilation.model, f"slices of shape {shape} do not fit the network")


def _set_target(flavour: Flavour, config: trt.IBuilderConfig, compilation: Compilation) -> None:
    """Set what the plan is compiled for: precision of float32 products, device, later runtimes, recording."""
    flags = flavour.trt.BuilderFlag
    if compilation.precision is Precision.FP32:
        config.clear_flag(flags.TF32)
    if compilation.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if flavour.kind is RunnerKind.TENSORRT_RTX:
        # Else its plans may take memory when they run, which no graph records. Only this flavour has it.
        config.set_flag(getattr(flags, "REQUIRE_USER_ALLOCATION"))  # noqa: B009
    if compilation.capability is None:
        return
    if flavour.kind is not RunnerKind.TENSORRT_RTX:
        raise PlanError(compilation.model, "only TensorRT for RTX compiles for a GPU that is not here")
    set_capability(flavour, config, compilation.model, compilation.capability)


def set_capability(flavour: Flavour, config: trt.IBuilderConfig, model: str, capability: int) -> None:
    """Compile for GPUs of one compute capability, whatever this machine has.

    Raises: PlanError: if the flavour does not offer it.
    """
    if capability not in RTX_CAPABILITIES:
        offered = ", ".join(map(str, RTX_CAPABILITIES))
        raise PlanError(model, f"TensorRT for RTX does not serve capability {capability}, only {offered}")
    # Only this flavour has these names; both sides of the type check see them as untyped.
    target: Any = getattr(flavour.trt, "ComputeCapability")  # noqa: B009
    settable: Any = config
    settable.num_compute_capabilities = 1
    settable.set_compute_capability(getattr(target, f"SM{capability}"), 0)


def _monitor(
    flavour: Flavour, model: str, progress: Progress, raised: list[BaseException]
) -> trt.IProgressMonitor:
    """Return a progress monitor that hands TensorRT's steps on.

    TensorRT drops what a monitor raises, also that somebody pressed Ctrl-C: it is put into ``raised``.
    """
    if not TYPE_CHECKING:
        trt = flavour.trt

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self.tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.tell(phase_name, step + 1, self.steps.get(phase_name, 0))
            return not raised

        def phase_finish(self, phase_name: str) -> None:
            steps = self.steps.pop(phase_name, 0)
            self.tell(phase_name, steps, steps)

        def tell(self, phase: str, done: int, steps: int) -> None:
            try:
                progress(BuildProgress(model, phase, done, steps))
            except BaseException as exc:  # noqa: BLE001 - raised again when the build has ended
                raised.append(exc)

    return Monitor()
