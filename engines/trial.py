"""How a bundle's network fares on every runner: whether this machine can open it, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle, read_samples
from engines.errors import BundleError, RunnerError
from engines.graph import Graph, read_graph
from engines.proof import Agreement, compare
from engines.runners.base import RunnerKind
from engines.runners.choice import AUTO_ORDER, Machine, choose_runner

REFERENCE = RunnerKind.ONNXRUNTIME
"""The runner that is right by definition: float32 on the CPU."""

NOISE_SLICES = 5
"""Slices of noise that stand for samples where a bundle has none."""

BATCH_TOLERANCE = 1e-3
"""Largest difference of a logit between one batch and another: rounding in another order."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a network on one runner.

    Attributes:
        runner: which one.
        name: runtime, version and precision; empty if the network could not be opened.
        problem: why it cannot serve; empty if it ran.
        lacking: operators of the network that the problem names.
        largest_difference: of a logit, from the reference; None if it did not run.
        agreement: with the reference as masks of lesions; None if it did not run.
    """

    runner: RunnerKind
    name: str = ""
    problem: str = ""
    lacking: tuple[str, ...] = ()
    largest_difference: float | None = None
    agreement: Agreement | None = None


def try_runners(bundle: Bundle, machine: Machine) -> tuple[Trial, ...]:
    """Run a bundle's sample slices, or noise where it has none, on every runner.

    Args:
        bundle: the network.
        machine: what the runners may use, and where plans are kept that are compiled for the trial.

    Returns: one trial for each runner, the reference first; of one that this machine lacks, what is missing.
    Raises: BundleError: if the reference cannot run the network, or a slice's logits depend on the slices
        that it is run with.
    """
    graph, slices = read_graph(bundle.model_path), _slices(bundle)
    try:
        name, expected = _run(bundle, REFERENCE, machine, slices, batch=len(slices))
        alone = _run(bundle, REFERENCE, machine, slices, batch=1)[1]
    except RunnerError as exc:
        raise BundleError(bundle.folder.name, "model.file", _named(exc, graph)) from exc
    if not np.isfinite(expected).all():
        what = "its samples" if bundle.manifest.samples else "noise around 1"
        problem = f"some logits are no finite numbers on {what}"
        raise BundleError(
            bundle.folder.name, "model.file", f"{problem}: look for a logarithm, root or quotient"
        )
    gap = float(np.abs(expected - alone).max())
    if not gap <= BATCH_TOLERANCE:
        problem = f"a slice's logits change by {gap:.2g} with the slices beside it; is it in training mode?"
        raise BundleError(bundle.folder.name, "model.file", problem)
    reference = _compared(bundle, REFERENCE, name, expected, expected)
    others = [kind for kind in AUTO_ORDER if kind is not REFERENCE]
    return (reference, *(_try(bundle, graph, kind, machine, slices, expected) for kind in others))


def _slices(bundle: Bundle) -> NDArray[np.float32]:
    samples = read_samples(bundle)
    if samples is not None:
        return samples
    shape = (NOISE_SLICES, *bundle.manifest.input_shape)
    return np.random.default_rng(0).normal(1.0, 0.5, shape).astype(np.float32)


def _run(
    bundle: Bundle, kind: RunnerKind, machine: Machine, slices: NDArray[np.float32], batch: int
) -> tuple[str, NDArray[np.float32]]:
    limited = replace(machine, limits=machine.limits.model_copy(update={"batch": batch}))
    with choose_runner(bundle, kind, limited, samples=slices).runner as runner:
        return runner.name, runner.run(slices)


def _try(
    bundle: Bundle,
    graph: Graph,
    kind: RunnerKind,
    machine: Machine,
    slices: NDArray[np.float32],
    expected: NDArray[np.float32],
) -> Trial:
    try:
        name, found = _run(bundle, kind, machine, slices, batch=len(slices))
    except RunnerError as exc:
        return Trial(kind, problem=str(exc), lacking=tuple(_lacking(str(exc), graph.operators)))
    return _compared(bundle, kind, name, found, expected)


def _compared(
    bundle: Bundle,
    kind: RunnerKind,
    name: str,
    found: NDArray[np.float32],
    expected: NDArray[np.float32],
) -> Trial:
    difference = float(np.abs(found - expected).max())
    agreement = compare(expected, found, bundle.manifest.postprocessing)
    return Trial(kind, name, largest_difference=difference, agreement=agreement)


def _named(error: RunnerError, graph: Graph) -> str:
    """Put the operators that an error names before its text."""
    lacking = list(_lacking(str(error), graph.operators))
    return f"no runner for {', '.join(lacking)}: {error}" if lacking else str(error)


def _lacking(problem: str, operators: Iterable[str]) -> Iterator[str]:
    """Find the operators of a network in a runtime's message; each runtime words it in its own way."""
    for operator in operators:
        name = operator.rsplit(":", maxsplit=1)[-1]
        if re.search(rf"\b{re.escape(name)}\b", problem):
            yield operator
