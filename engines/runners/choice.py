"""Which runner runs a bundle, and why not another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.build import Progress, silent
from engines.bundle import Bundle, read_samples
from engines.cache import PlanCache
from engines.engine_report import EngineReport, PassedOver
from engines.errors import NotProvenError, RunnerError
from engines.gpu.backend import TensorRtBackend
from engines.gpu.flavour import FlavourKind
from engines.ladder import Proven, climb_down
from engines.precision import Precision
from engines.proof import NO_LESION, NO_SLICES, Referee
from engines.runners.base import Runner, RunnerKind, RunnerSettings
from engines.runners.onnx_cuda import OnnxCudaRunner
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from engines.runners.open_vino import CpuPrecision, OpenVinoRunner
from engines.runners.reserve import ReservedRunner
from engines.settings import EngineSettings

AUTO_ORDER = tuple(kind for kind in RunnerKind if kind is not RunnerKind.AUTO)
"""In which order ``AUTO`` tries them."""

REFERENCE = "float32 on the CPU is the reference"
"""Proof of onnxruntime."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What runners may use.

    Attributes:
        limits: how much of the CPU.
        engines: how networks are compiled.
        folder: of compiled plans.
        progress: told how far a build is.
    """

    limits: RunnerSettings = field(default_factory=RunnerSettings)
    engines: EngineSettings = field(default_factory=EngineSettings)
    folder: Path = Path("csvd-data/engines")
    progress: Progress = silent


@dataclass(frozen=True, slots=True)
class Choice:
    """An open, proven and warm runner, and how it came to be chosen."""

    runner: Runner
    report: EngineReport


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What every opener is given."""

    bundle: Bundle
    machine: Machine
    reference: Callable[[], Runner]
    referee: Referee
    by_name: bool

    def openvino(self, precision: CpuPrecision) -> Runner:
        bundle = self.bundle
        return OpenVinoRunner(bundle.model_path, bundle.manifest.model, self.machine.limits, precision)

    def proven(
        self, kind: RunnerKind, runner: Runner, precision: Precision, *, untried: tuple[str, ...] = ()
    ) -> Proven:
        """Return a runner that agrees with the reference; close one that does not.

        Args:
            kind: of the runner.
            runner: open.
            precision: of its computation.
            untried: what the proof may lack if the runner was asked for by name.

        Raises: NotProvenError
        """
        try:
            agreement = self.referee.check(runner)
        except RunnerError:
            with runner:
                raise
        if agreement.agrees:
            return Proven(runner, precision, agreement.reason)
        if self.by_name and agreement.reason in untried:
            return Proven(runner, precision, f"taken by name; {agreement.reason}")
        with runner:
            raise NotProvenError(kind.value, agreement.reason)


def open_runner(
    bundle: Bundle,
    kind: RunnerKind = RunnerKind.AUTO,
    settings: RunnerSettings | None = None,
    samples: NDArray[np.float32] | None = None,
) -> Runner:
    """Open the runner of a bundle; see ``choose_runner``."""
    machine = Machine(limits=settings or RunnerSettings())
    return choose_runner(bundle, kind, machine, samples).runner


def choose_runner(
    bundle: Bundle,
    kind: RunnerKind = RunnerKind.AUTO,
    machine: Machine | None = None,
    samples: NDArray[np.float32] | None = None,
) -> Choice:
    """Open the runner of a bundle, prove it and let it run once.

    A runner other than the reference is used only after it has found the same lesions on sample slices. Which
    one ``AUTO`` takes depends on the bundle and the machine alone, so a Study gets the same masks every time.

    Args:
        bundle: a checked bundle.
        kind: which runner.
        machine: what it may use.
        samples: (n, channels, rows, columns) slices for the proof; by default those of the bundle.

    Raises: RunnerError: if a runner that was asked for by name cannot be opened or is not proven.
    """
    machine = machine or Machine()
    slices = read_samples(bundle) if samples is None else samples
    reference = partial(OnnxRuntimeRunner, bundle.model_path, bundle.manifest.model, machine.limits)
    referee = Referee(reference, slices, bundle.manifest.postprocessing)
    candidate = _Candidate(bundle, machine, reference, referee, by_name=kind is not RunnerKind.AUTO)
    order = AUTO_ORDER if kind is RunnerKind.AUTO else (kind,)
    taken, proven, passed = _first_that_opens(candidate, order)
    notices = _warm_up(proven.runner, bundle)
    later = order[order.index(taken) + 1 :]
    report = EngineReport(
        segment=bundle.manifest.segment,
        runner=taken,
        name=proven.runner.name,
        precision=proven.precision,
        proof="; ".join([proven.proof, *notices]),
        passed_over=(
            *passed,
            *proven.passed_over,
            *(PassedOver(one, None, f"{taken} comes first") for one in later),
        ),
    )
    return Choice(proven.runner, report)


def _first_that_opens(
    candidate: _Candidate, order: tuple[RunnerKind, ...]
) -> tuple[RunnerKind, Proven, list[PassedOver]]:
    """Open the first runner of an order that can be; if none can, raise what the last one said."""
    passed: list[PassedOver] = []
    *earlier, last = order
    for kind in earlier:
        try:
            return kind, OPENERS[kind](candidate), passed
        except RunnerError as exc:
            passed.append(PassedOver(kind, None, str(exc)))
    return last, OPENERS[last](candidate), passed


def _warm_up(runner: Runner, bundle: Bundle) -> list[str]:
    """Let a runner allocate and tune what it does on its first run, before a Study waits for it.

    Returns: what did not go as its name says, as that the CPU ran instead.
    """
    notices: list[str] = []
    runner.run(np.zeros((1, *bundle.manifest.input_shape), np.float32), notices.append)
    return notices


def _open_reference(candidate: _Candidate) -> Proven:
    return Proven(candidate.reference(), Precision.FP32, REFERENCE)


def _open_openvino(candidate: _Candidate) -> Proven:
    if not candidate.by_name and not candidate.referee.can_judge:
        raise NotProvenError(RunnerKind.OPENVINO.value, NO_SLICES)
    runner, untried = candidate.openvino("f32"), (NO_SLICES, NO_LESION)
    return candidate.proven(RunnerKind.OPENVINO, runner, Precision.FP32, untried=untried)


def _open_openvino_bf16(candidate: _Candidate) -> Proven:
    if not candidate.referee.can_judge:
        raise NotProvenError(RunnerKind.OPENVINO_BF16.value, NO_SLICES)
    return candidate.proven(RunnerKind.OPENVINO_BF16, candidate.openvino("bf16"), Precision.BF16)


def _open_cuda(candidate: _Candidate) -> Proven:
    manifest = candidate.bundle.manifest
    runner = OnnxCudaRunner(
        candidate.bundle.model_path, manifest.model, candidate.machine.limits, manifest.batch
    )
    # Proven by itself: with the CPU in reserve a GPU that fails would agree with the reference perfectly.
    proven = candidate.proven(RunnerKind.ONNXRUNTIME_CUDA, runner, Precision.FP32)
    return replace(proven, runner=ReservedRunner(runner, candidate.reference))


def _open_tensorrt(kind: FlavourKind) -> Callable[[_Candidate], Proven]:
    """Return the opener of one flavour of TensorRT."""

    def open_flavour(candidate: _Candidate) -> Proven:
        machine = candidate.machine
        backend = TensorRtBackend(kind, machine.engines, machine.folder)
        proven = climb_down(
            candidate.bundle,
            backend,
            PlanCache(machine.folder),
            candidate.referee,
            machine.engines.first_precision,
            machine.progress,
        )
        return replace(proven, runner=ReservedRunner(proven.runner, candidate.reference))

    return open_flavour


OPENERS: dict[RunnerKind, Callable[[_Candidate], Proven]] = {
    RunnerKind.TENSORRT: _open_tensorrt(RunnerKind.TENSORRT),
    RunnerKind.TENSORRT_RTX: _open_tensorrt(RunnerKind.TENSORRT_RTX),
    RunnerKind.OPENVINO_BF16: _open_openvino_bf16,
    RunnerKind.OPENVINO: _open_openvino,
    RunnerKind.ONNXRUNTIME_CUDA: _open_cuda,
    RunnerKind.ONNXRUNTIME: _open_reference,
}
"""How each runner is opened: proven, or an error that says why not."""
