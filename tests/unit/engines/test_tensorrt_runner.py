"""The TensorRT runner's own work - memory, batches, lanes, graphs - over a GPU on host memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle
from engines.errors import DeviceError, DeviceMemoryError, RunnerError
from engines.manifest import BatchProfile
from engines.runners.base import Notice, RunnerSettings, unheard
from engines.runners.halving import run_halving
from engines.runners.onnx_runtime import OnnxRuntimeRunner
from engines.runners.reserve import ReservedRunner
from engines.runners.tensorrt import TensorRtRunner
from tests.support.host_gpu import HostCuda, HostEngine
from tests.support.onnx_models import write_threshold_bundle

LEVEL, GAIN = 1.5, 20.0
SHAPE = (1, 64, 64)
SLICE_BYTES = 4 * 64 * 64
PER_SLICE = 5 * SLICE_BYTES
"""Two lanes of input and output, and the working memory that they share."""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_threshold_bundle(tmp_path / "wmh", level=LEVEL, gain=GAIN)


def runner_on(bundle: Bundle, cuda: HostCuda, batch: BatchProfile | None = None) -> TensorRtRunner:
    engine = HostEngine(bundle.model_path, SHAPE)
    return TensorRtRunner("tensorrt test", engine, cuda, SHAPE, batch or BatchProfile(min=1, opt=8, max=32))


def slices(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(0, 2, (count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 24, 37])
@pytest.mark.parametrize("records", [True, False], ids=["graph", "no-graph"])
def test_every_slice_gets_its_own_logits(bundle: Bundle, count: int, records: bool) -> None:
    cuda = HostCuda(records=records)
    with runner_on(bundle, cuda) as runner:
        first, again = slices(count), slices(count)[::-1].copy()
        np.testing.assert_allclose(runner.run(first), GAIN * (first - LEVEL), atol=1e-4)
        np.testing.assert_allclose(runner.run(again), GAIN * (again - LEVEL), atol=1e-4)
    assert (cuda.launches > 0) is records


def test_nothing_is_allocated_for_a_run_and_all_is_given_back(bundle: Bundle) -> None:
    cuda = HostCuda()
    with runner_on(bundle, cuda) as runner:
        held, allocations = cuda.used, cuda.allocations
        for _ in range(3):
            runner.run(slices(20))
        assert (cuda.used, cuda.allocations) == (held, allocations)
        assert held == 8 * PER_SLICE
    assert cuda.used == 0
    assert cuda.open_handles == set()


@pytest.mark.parametrize(
    ("room", "batch"), [(8, 8), (7, 4), (4, 4), (3, 2), (1, 1)], ids=lambda value: str(value)
)
def test_a_full_gpu_halves_the_batch(bundle: Bundle, room: int, batch: int) -> None:
    cuda = HostCuda(limit=room * PER_SLICE)
    with runner_on(bundle, cuda) as runner:
        assert runner.batch == batch
        image = slices(11)
        np.testing.assert_allclose(runner.run(image), GAIN * (image - LEVEL), atol=1e-4)
    assert cuda.used == 0


def test_what_slows_a_runner_down_is_said_when_it_opens(bundle: Bundle) -> None:
    notices: list[str] = []
    engine, cuda = HostEngine(bundle.model_path, SHAPE), HostCuda(4 * PER_SLICE, records=False)
    profile = BatchProfile(min=1, opt=8, max=32)
    with TensorRtRunner("tensorrt test", engine, cuda, SHAPE, profile, notices.append) as runner:
        graph, memory = notices
        assert graph == (
            "the GPU records no graph of it, so that each batch is queued anew "
            "(The GPU failed in cudaStreamEndCapture: operation not permitted)"
        )
        assert memory == "the GPU was short of memory: slices ran in batches of 4 instead of 8"
        heard: list[str] = []
        runner.run(slices(5), heard.append)
        assert heard == [], "no reader of a report needs to know"


def test_what_a_failed_attempt_made_is_gone_before_the_next(bundle: Bundle) -> None:
    """An execution context holds memory of the GPU until Python lets go of it."""
    made: list[weakref.ref[set[int]]] = []

    def attempt(batch: int) -> bool:
        assert [one() for one in made] == [None] * len(made)
        context = {batch}
        made.append(weakref.ref(context))
        if batch > 2:
            raise DeviceMemoryError("The GPU is out of memory")
        return True

    gc.disable()
    try:
        assert run_halving(8, 1, attempt, unheard) == (2, True)
        assert [one() for one in made] == [None] * 3
    finally:
        gc.enable()


def test_a_gpu_without_room_for_the_smallest_batch_is_refused(bundle: Bundle) -> None:
    cuda = HostCuda(limit=3 * PER_SLICE)
    with pytest.raises(DeviceMemoryError, match="no memory for 4 slices"):
        runner_on(bundle, cuda, BatchProfile(min=4, opt=8, max=8))
    assert cuda.used == 0
    assert cuda.open_handles == set()


def test_memory_that_others_take_meanwhile_halves_the_batch_and_the_report_says_so(bundle: Bundle) -> None:
    cuda = HostCuda()
    engine = HostEngine(bundle.model_path, SHAPE)
    with TensorRtRunner("tensorrt test", engine, cuda, SHAPE, BatchProfile(min=1, opt=8, max=8)) as runner:
        notices: list[str] = []
        _fail_once(engine, cuda)
        image = slices(20)
        np.testing.assert_allclose(runner.run(image, notices.append), GAIN * (image - LEVEL), atol=1e-4)
        assert notices == ["the GPU was short of memory: slices ran in batches of 4 instead of 8"]
        assert runner.batch == 4


def _fail_once(engine: HostEngine, cuda: HostCuda) -> None:
    """Let the GPU shrink to half of what the runner holds, and its next launch fail for it."""
    launch = cuda.launch

    def fail(graph: int, stream: int) -> None:
        cuda.launch = launch  # type: ignore[method-assign]
        cuda.limit = cuda.used // 2
        raise DeviceMemoryError("The GPU is out of memory")

    cuda.launch = fail  # type: ignore[method-assign]


def test_a_gpu_that_fails_leaves_the_study_to_the_cpu(bundle: Bundle) -> None:
    cuda = HostCuda()

    def reserve() -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(bundle.model_path, bundle.manifest.model, RunnerSettings(threads=1))

    with ReservedRunner(runner_on(bundle, cuda), reserve) as runner:
        image, notices = slices(3), list[str]()
        cuda.broken = True
        np.testing.assert_allclose(runner.run(image, notices.append), GAIN * (image - LEVEL), atol=1e-4)
        assert len(notices) == 1
        assert "onnxruntime" in notices[0]
        assert "unspecified launch failure" in notices[0]
        cuda.broken = False
        notices.clear()
        np.testing.assert_allclose(runner.run(image, notices.append), GAIN * (image - LEVEL), atol=1e-4)
        assert notices == []


class LostCuda(HostCuda):
    """A GPU that may fail for good, as after a fault in its memory: every call says so from then on."""

    lost = False

    def _check(self, function: str) -> None:
        if self.lost:
            raise DeviceError(f"The GPU failed in {function}: an illegal memory access was encountered")

    def launch(self, graph: int, stream: int) -> None:
        self._check("cudaGraphLaunch")
        super().launch(graph, stream)

    def free(self, address: int) -> None:
        self._check("cudaFree")
        super().free(address)

    def destroy_stream(self, stream: int) -> None:
        self._check("cudaStreamDestroy")
        super().destroy_stream(stream)

    def create_stream(self) -> int:
        self._check("cudaStreamCreateWithFlags")
        return super().create_stream()


def test_a_gpu_that_fails_for_good_says_what_failed_first_and_lets_the_node_stop(bundle: Bundle) -> None:
    cuda = LostCuda()
    with runner_on(bundle, cuda) as runner:
        cuda.lost = True
        with pytest.raises(DeviceError, match="cudaGraphLaunch"):
            runner.run(slices(3))
        with pytest.raises(DeviceError, match="cudaStreamCreate"):
            runner.run(slices(3))
    cuda = LostCuda()
    with runner_on(bundle, cuda):
        cuda.lost = True


def test_a_study_that_neither_gpu_nor_cpu_can_do_says_why_of_both(bundle: Bundle, tmp_path: Path) -> None:
    cuda = HostCuda()

    def reserve() -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(tmp_path / "gone.onnx", bundle.manifest.model, RunnerSettings(threads=1))

    with ReservedRunner(runner_on(bundle, cuda), reserve) as runner:
        cuda.broken = True
        with pytest.raises(RunnerError, match=r"unspecified launch failure.*nor the CPU.*gone\.onnx"):
            runner.run(slices(3))


@pytest.mark.parametrize("overflow", [np.inf, -np.inf, np.nan])
def test_a_gpu_that_overflows_leaves_the_study_to_the_cpu(bundle: Bundle, overflow: float) -> None:
    """What a proof on sample slices cannot foresee: values beyond the largest float16."""

    class Overflowing(TensorRtRunner):
        def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
            logits = super().run(slices, notice)
            logits[-1, 0, 3, 4] = overflow
            return logits

    def reserve() -> OnnxRuntimeRunner:
        return OnnxRuntimeRunner(bundle.model_path, bundle.manifest.model, RunnerSettings(threads=1))

    engine, profile = HostEngine(bundle.model_path, SHAPE), BatchProfile(min=1, opt=8, max=32)
    first = Overflowing("tensorrt test", engine, HostCuda(), SHAPE, profile)
    with ReservedRunner(first, reserve) as runner:
        image, notices = slices(3), list[str]()
        np.testing.assert_allclose(runner.run(image, notices.append), GAIN * (image - LEVEL), atol=1e-4)
    (told,) = notices
    assert "logits are not all finite numbers" in told
    assert "CPU f32 ran instead of tensorrt test" in told


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((0, *SHAPE), np.float32), id="zero-slices"),
        pytest.param(np.zeros((2, *SHAPE)), id="double"),
        pytest.param(np.zeros((2, *SHAPE), np.int16), id="integers"),
        pytest.param(np.zeros((2, 3, 64, 64), np.float32), id="channels"),
        pytest.param(np.zeros((2, 1, 64, 32), np.float32), id="size"),
    ],
)
def test_slices_that_do_not_fit_are_refused(bundle: Bundle, wrong: np.ndarray) -> None:
    with runner_on(bundle, HostCuda()) as runner, pytest.raises(RunnerError, match=r"[Ss]lices"):
        runner.run(wrong)


def test_a_closed_runner_does_not_run(bundle: Bundle) -> None:
    with runner_on(bundle, HostCuda()) as runner:
        pass
    with pytest.raises(RunnerError, match="closed"):
        runner.run(slices(1))


def test_the_whole_gpu_failing_is_an_error_that_names_it(bundle: Bundle) -> None:
    cuda = HostCuda()
    with runner_on(bundle, cuda) as runner:
        cuda.broken = True
        with pytest.raises(DeviceError, match="unspecified launch failure"):
            runner.run(slices(1))
    assert cuda.used == 0
