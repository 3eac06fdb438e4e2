"""What is done with compiled plans: made ahead of time, checked, cleared away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.build import PlanBackend, Progress
from engines.bundle import Bundle, read_samples
from engines.cache import PlanCache, PlanKey
from engines.converters import converter_of
from engines.errors import PlanCacheError, RunnerError, RunnerUnavailableError
from engines.gpu.backend import TensorRtBackend
from engines.gpu.driver import GpuProbe, NvidiaProbe
from engines.gpu.flavour import FlavourKind, installed_version
from engines.precision import Precision
from engines.proof import Referee
from engines.runners.base import Runner, RunnerKind
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from node.segmentors import load_configured
from node.settings import NodeSettings

FLAVOURS: tuple[FlavourKind, ...] = (RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one plan: whether it may be used, and what was found."""

    path: Path
    good: bool
    said: str


def compiling_backend(
    settings: NodeSettings,
    *,
    full: bool,
    capability: int | None,
    probe: GpuProbe = NvidiaProbe(),  # noqa: B008 - without state
) -> TensorRtBackend:
    """Return the TensorRT that compiles: what is asked for, or else the first that would run the models here.

    Args:
        settings: whose runner, if it is one of TensorRT, is the one.
        full: take full TensorRT and no other.
        capability: take TensorRT for RTX and compile for this compute capability, times ten.
        probe: asks the machine for its GPU.

    Raises: RunnerUnavailableError: why the first one cannot be used: it serves every GPU that the others do.
    """
    first, *others = _compiling_kinds(settings, full=full, ahead=capability is not None)
    try:
        return TensorRtBackend(first, settings.engines, settings.engine_folder, capability, probe)
    except RunnerUnavailableError:
        for kind in others:
            with suppress(RunnerUnavailableError):
                return TensorRtBackend(kind, settings.engines, settings.engine_folder, capability, probe)
        raise


def _compiling_kinds(settings: NodeSettings, *, full: bool, ahead: bool) -> tuple[FlavourKind, ...]:
    if full:
        return (RunnerKind.TENSORRT,)
    if ahead:
        return (RunnerKind.TENSORRT_RTX,)
    return tuple(kind for kind in FLAVOURS if kind is settings.runner) or FLAVOURS


def build_plans(
    cache: PlanCache,
    backend: PlanBackend,
    bundles: Sequence[Bundle],
    precisions: Sequence[Precision],
    progress: Progress,
) -> Iterator[Path]:
    """Compile and keep the plan of each bundle in each precision; those that are there stay.

    Raises:
        PlanError: if a network cannot be compiled.
        PlanCacheError: if a plan cannot be kept, for that is what the build is for.
    """
    for bundle in bundles:
        for precision in precisions:
            key = backend.key(bundle, precision)
            obtained = cache.obtain(key, lambda b=bundle, p=precision: backend.build(b, p, progress))  # type: ignore[misc]
            if obtained.problem:
                raise PlanCacheError(str(cache.folder), obtained.problem)
            yield cache.folder / obtained.key.file_name


def verify_plans(settings: NodeSettings) -> list[Verdict]:
    """Check that plans are whole and, on their GPU, agree with the reference.

    Raises: BundleError, WrongBundleError: if a configured model cannot be read.
    """
    cache, bundles = PlanCache(settings.engine_folder), _bundles(settings)
    runnable = _runnable(settings, bundles)
    verdicts = []
    for entry in cache.entries():
        if entry.problem or entry.key is None:
            verdicts.append(Verdict(entry.path, False, entry.problem))
        elif entry.key in runnable:
            backend, bundle, precision = runnable[entry.key]
            plan = cache.find(entry.key) or b""
            verdicts.append(_prove(settings, backend, bundle, precision, entry.path, plan))
        else:
            verdicts.append(Verdict(entry.path, True, "whole; not run: its GPU or its model is not here"))
    return verdicts


def prune_plans(settings: NodeSettings) -> Iterator[Path]:
    """Remove plans that are damaged, of no configured model, or of a TensorRT or converter that was replaced.

    What was compiled from a plan goes with it, also where somebody else removed the plan.
    Plans for other GPUs stay: several machines may share the folder. So do those of a TensorRT that is not
    installed here at all, and with it what converts for it.

    Raises: PlanCacheError: if a file cannot be removed.
    """
    cache = PlanCache(settings.engine_folder)
    models = {bundle.manifest.model.sha256 for bundle in _bundles(settings)}
    versions = {kind.value: installed for kind in FLAVOURS if (installed := installed_version(kind))}
    converters = {precision.value: converter_of(precision) for precision in Precision}
    for entry in cache.entries():
        if entry.problem or entry.key is None or not _is_wanted(entry.key, models, versions, converters):
            cache.remove(entry.path)
            yield entry.path
    for path in cache.strays():
        cache.remove(path)
        yield path


def _is_wanted(
    key: PlanKey, models: Set[str], versions: Mapping[str, str], converters: Mapping[str, str]
) -> bool:
    installed = versions.get(key.flavour), converters.get(key.precision)
    is_replaced = key.flavour in versions and installed != (key.version, key.converter)
    return key.onnx_sha256 in models and not is_replaced


def _bundles(settings: NodeSettings) -> list[Bundle]:
    return [load_configured(segment, folder) for segment, folder in settings.segmentors.items()]


def _runnable(
    settings: NodeSettings, bundles: Sequence[Bundle]
) -> dict[PlanKey, tuple[TensorRtBackend, Bundle, Precision]]:
    """Find the keys whose plans this machine can open."""
    found = {}
    for kind in FLAVOURS:
        with suppress(RunnerUnavailableError):
            backend = TensorRtBackend(kind, settings.engines, settings.engine_folder)
            for bundle in bundles:
                for precision in Precision:
                    found[backend.key(bundle, precision)] = (backend, bundle, precision)
    return found


def _prove(
    settings: NodeSettings,
    backend: TensorRtBackend,
    bundle: Bundle,
    precision: Precision,
    path: Path,
    plan: bytes,
) -> Verdict:
    def reference() -> Runner:
        return OnnxRuntimeRunner(bundle.model_path, bundle.manifest.model, settings.runner_limits)

    referee = Referee(reference, read_samples(bundle), bundle.manifest.postprocessing)
    try:
        with backend.open(plan, bundle, precision) as runner:
            agreement = referee.check(runner)
    except RunnerError as exc:
        return Verdict(path, False, str(exc))
    return Verdict(path, agreement.agrees, agreement.reason)
