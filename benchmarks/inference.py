"""Times preparing, running and restoring 24 slices with every runner of this machine, side by side.

Run with ``python benchmarks/inference.py [BUNDLE]``. The runners take turns, so that another job on the
machine slows all of them alike; the best of the rounds is printed, which it disturbed least.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from engines.bundle import Bundle, load_bundle, shipped_bundles
from engines.postprocessing import lesion_mask, probabilities
from engines.preprocessing import prepare
from engines.proof import compare
from engines.runners.base import Runner, RunnerSettings
from engines.runners.choice import available_runners
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from engines.runners.open_vino import OpenVinoRunner, has_bf16
from engines.volume import Grid, Volume

ROUNDS = 7
"""Times that everything is measured."""

SHAPE = (24, 256, 256)
"""Slices, rows and columns of the usual clinical Series."""


def ellipsoid() -> Volume:
    """Return a head-like ellipsoid with noise, 0.9 x 0.9 x 6 mm."""
    places = np.stack(np.indices(SHAPE)) / (np.array(SHAPE).reshape(3, 1, 1, 1) / 2) - 1
    inside = (places**2).sum(axis=0) < 0.7
    noise = np.random.default_rng(0).normal(0, 15, SHAPE)
    affine = np.diag([6.0, 0.9, 0.9, 1.0])[[2, 1, 0, 3]]
    return Volume((inside * 500 + noise).astype(np.float32), Grid(SHAPE, affine))


@contextmanager
def runners(bundle: Bundle) -> Iterator[list[Runner]]:
    """Open every runner, bfloat16 without its proof."""
    path, model, settings = bundle.model_path, bundle.manifest.model, RunnerSettings()
    with ExitStack() as stack:
        opened: list[Runner] = [
            OnnxRuntimeRunner(path, model, settings),
            OpenVinoRunner(path, model, settings),
        ]
        if has_bf16():
            opened.append(OpenVinoRunner(path, model, settings, "bf16"))
        yield [stack.enter_context(runner) for runner in opened]


def measure(steps: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the best wall and CPU time of each step, ms, over rounds in which they take turns."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[name].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
    return {name: (min(w for w, _ in pairs), min(c for _, c in pairs)) for name, pairs in times.items()}


def main(folder: Path) -> None:
    """Measure one bundle and print a table."""
    bundle = load_bundle(folder)
    volume, manifest = ellipsoid(), bundle.manifest
    prepared = prepare([volume] * len(manifest.inputs), manifest.preprocessing)
    print(f"{manifest.name} {manifest.version}, slices {prepared.slices.shape}, {available_runners()}")
    with runners(bundle) as opened:
        logits = [runner.run(prepared.slices) for runner in opened]
        for runner, found in zip(opened[1:], logits[1:], strict=True):
            gap = float(np.abs(found - logits[0]).max())
            agreement = compare(logits[0], found, manifest.postprocessing.threshold)
            print(f"{runner.name}: largest difference of a logit {gap:.4f}; {agreement.reason}")
        steps: dict[str, Callable[[], object]] = {
            "prepare": lambda: prepare([volume] * len(manifest.inputs), manifest.preprocessing),
            "restore": lambda: lesion_mask(probabilities(logits[0], prepared), manifest.postprocessing),
        }
        for runner in opened:
            steps[runner.name] = lambda runner=runner: runner.run(prepared.slices)  # type: ignore[misc]
        for name, (wall_ms, cpu_ms) in measure(steps).items():
            print(f"{name:32s} {wall_ms:8.1f} ms {cpu_ms:8.1f} ms CPU")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else shipped_bundles() / "wmh")
