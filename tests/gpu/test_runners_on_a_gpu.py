"""Every runner of a GPU on every shipped model, on the hardware that is here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle, load_bundle, read_samples, shipped_bundles
from engines.cache import PlanCache
from engines.errors import RunnerError, RunnerUnavailableError
from engines.gpu.driver import Gpu
from engines.proof import compare
from engines.runners.base import RunnerKind, RunnerSettings
from engines.runners.choice import Choice, Machine, choose_runner
from engines.runners.onnx_runtime import OnnxRuntimeRunner

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]
"""A test may have to wait until full TensorRT has compiled a model in every precision."""

GPU_KINDS = tuple(kind for kind in RunnerKind if kind.on_gpu)
BUNDLES = sorted(path.parent for path in shipped_bundles().glob("*/manifest.yaml"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(params=GPU_KINDS, ids=lambda kind: kind.value)
def kind(request: pytest.FixtureRequest) -> RunnerKind:
    return RunnerKind(request.param)


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.param)


@pytest.fixture
def choice(gpu: object, bundle: Bundle, kind: RunnerKind, folder: Path) -> Iterator[Choice]:
    try:
        chosen = choose_runner(bundle, kind, Machine(folder=folder))
    except RunnerUnavailableError as absent:
        pytest.skip(str(absent))
    with chosen.runner:
        yield chosen


def test_the_gpu_finds_what_the_reference_finds(choice: Choice, bundle: Bundle, measured: list[str]) -> None:
    slices = read_samples(bundle)
    assert slices is not None
    model = bundle.manifest.model
    with OnnxRuntimeRunner(bundle.model_path, model, RunnerSettings()) as reference:
        expected = reference.run(slices)
    found = choice.runner.run(slices, pytest.fail)
    agreement = compare(expected, found, bundle.manifest.postprocessing)
    measured.append(f"| {bundle.folder.name}, {choice.report.name}, proof | {agreement.reason} |")
    assert agreement.agrees


@pytest.mark.parametrize("count", [1, 23, 24, 25, 70])
def test_slices_keep_their_order_in_batches_of_any_size(choice: Choice, bundle: Bundle, count: int) -> None:
    slices = np.random.default_rng(0).normal(1, 0.3, (count, *bundle.manifest.input_shape))
    together = choice.runner.run(slices.astype(np.float32), pytest.fail)
    for place in {0, count // 2, count - 1}:
        alone = choice.runner.run(slices[place : place + 1].astype(np.float32), pytest.fail)
        np.testing.assert_allclose(together[place], alone[0], atol=0.1)


def test_the_second_start_finds_its_plan(
    choice: Choice, bundle: Bundle, kind: RunnerKind, folder: Path
) -> None:
    if kind is RunnerKind.ONNXRUNTIME_CUDA:
        pytest.skip("onnxruntime keeps no plans")
    before = {entry.path: entry.built_at for entry in PlanCache(folder).entries()}
    plans = [entry.path.name for entry in PlanCache(folder).entries() if entry.key.flavour == kind]
    kernels = {path for plan in plans for path in folder.glob(f"{plan}.*.kernels")}
    assert bool(kernels) is (kind is RunnerKind.TENSORRT_RTX)
    with choose_runner(bundle, kind, Machine(folder=folder)).runner:
        assert {entry.path: entry.built_at for entry in PlanCache(folder).entries()} == before
        assert {path for plan in plans for path in folder.glob(f"{plan}.*.kernels")} == kernels


def test_a_runner_of_the_gpu_serves(gpu: Gpu, folder: Path) -> None:
    """Where none does every other test is skipped."""
    bundle, reasons = load_bundle(BUNDLES[0]), []
    for kind in GPU_KINDS:
        try:
            with choose_runner(bundle, kind, Machine(folder=folder)).runner:
                return
        except RunnerError as exc:
            reasons.append(str(exc))
    pytest.fail(f"nothing runs on {gpu.name}: {'; '.join(reasons)}")


def test_four_models_share_the_gpu(gpu: object, kind: RunnerKind, folder: Path, measured: list[str]) -> None:
    """As in serving: all at the same time, each from a thread of its own."""
    with ExitStack() as opened:
        runs = []
        for path in BUNDLES:
            bundle = load_bundle(path)
            try:
                chosen = choose_runner(bundle, kind, Machine(folder=folder))
            except RunnerUnavailableError as absent:
                pytest.skip(str(absent))
            opened.enter_context(chosen.runner)
            shape = (24, *bundle.manifest.input_shape)
            slices = np.random.default_rng(0).normal(1, 0.3, shape).astype(np.float32)
            runs.append(partial(chosen.runner.run, slices, pytest.fail))
        pool = opened.enter_context(ThreadPoolExecutor(len(runs)))
        times_ms = []
        for _ in range(20):
            start = time.perf_counter()
            for done in [pool.submit(run) for run in runs]:
                done.result()
            times_ms.append(1000 * (time.perf_counter() - start))
        measured.append(f"| four models, {chosen.report.name}, 4 x 24 slices | {min(times_ms):.1f} ms |")
