"""The precisions of a compiling runtime, tried from the fastest down until one agrees with the reference."""

from __future__ import annotations

from dataclasses import dataclass

from engines.build import PlanBackend, Progress
from engines.bundle import Bundle
from engines.cache import Obtained, PlanCache
from engines.engine_report import PassedOver
from engines.errors import DeviceError, DeviceMemoryError, NotProvenError, PlanError
from engines.precision import Precision, ladder
from engines.proof import NO_SLICES, Referee
from engines.runners.base import Notice, Runner


@dataclass(frozen=True, slots=True)
class Proven:
    """A runner that may serve.

    Attributes:
        runner: open.
        precision: of its computation.
        proof: on what ground it may serve, one sentence, and what makes it slower than it could be.
        passed_over: faster precisions that may not.
    """

    runner: Runner
    precision: Precision
    proof: str
    passed_over: tuple[PassedOver, ...] = ()


def climb_down(
    bundle: Bundle,
    backend: PlanBackend,
    cache: PlanCache,
    referee: Referee,
    first: Precision,
    progress: Progress,
) -> Proven:
    """Open the fastest precision that is proven.

    Args:
        bundle: the model.
        backend: compiles and opens plans.
        cache: keeps them.
        referee: compares with the reference.
        first: the fastest precision to try.
        progress: told how far a build is.

    Raises:
        NotProvenError: if no precision may serve; says of each why.
        DeviceMemoryError: if the GPU is full: a slower precision would take more.
    """
    if not referee.can_judge:
        raise NotProvenError(backend.kind.value, NO_SLICES)
    passed: list[PassedOver] = []
    for precision in ladder(first):
        notices: list[str] = []
        try:
            obtained, runner = _open(bundle, backend, cache, precision, progress, notices.append)
        except DeviceMemoryError:
            raise
        except (PlanError, DeviceError) as exc:
            passed.append(PassedOver(backend.kind, precision, str(exc)))
            continue
        reason, agrees = _judge(referee, runner)
        if agrees:
            said = "; ".join(filter(None, (reason, *notices, obtained.problem)))
            return Proven(runner, precision, said, tuple(passed))
        with runner:
            passed.append(PassedOver(backend.kind, precision, reason))
    raise NotProvenError(backend.kind.value, "; ".join(f"{one.precision}: {one.reason}" for one in passed))


def _judge(referee: Referee, runner: Runner) -> tuple[str, bool]:
    """Return on what ground a runner may serve or may not, and whether it may.

    Raises: DeviceMemoryError: if the GPU is full; then the runner is closed.
    """
    try:
        agreement = referee.check(runner)
    except DeviceMemoryError:
        with runner:
            raise
    except DeviceError as exc:
        return str(exc), False
    return agreement.reason, agreement.agrees


def _open(
    bundle: Bundle,
    backend: PlanBackend,
    cache: PlanCache,
    precision: Precision,
    progress: Progress,
    notice: Notice,
) -> tuple[Obtained, Runner]:
    """Open the kept or newly built plan; one that the runtime refuses is built again, once."""
    key = backend.key(bundle, precision)

    def build() -> bytes:
        return backend.build(bundle, precision, progress)

    obtained = cache.obtain(key, build)
    try:
        return obtained, backend.open(obtained.plan, bundle, precision, notice)
    except PlanError:
        if obtained.built:
            raise
        again = cache.replace(key, build)
        return again, backend.open(again.plan, bundle, precision, notice)
