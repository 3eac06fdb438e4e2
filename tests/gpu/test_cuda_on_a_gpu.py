"""The runner's memory, batches, streams and graphs on a real GPU, with PyTorch in TensorRT's place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.gpu.cuda import CudaRuntime
from engines.manifest import BatchProfile
from engines.runners.tensorrt import TensorRtRunner

torch = pytest.importorskip("torch")

from tests.support.torch_engine import CountingCuda, TorchEngine  # noqa: E402 - needs PyTorch

pytestmark = pytest.mark.gpu

LEVEL, GAIN = 1.5, 20.0
SHAPE = (1, 64, 64)
LARGE = (1, 1024, 1024)
LARGE_BYTES = 4 * 1024 * 1024
PER_SLICE = 5 * LARGE_BYTES
"""Two lanes of input and output, and the working memory that they share."""


@pytest.fixture(autouse=True)
def _cuda(gpu: object) -> None:
    if not torch.cuda.is_available():
        pytest.skip(f"this PyTorch ({torch.__version__}) has no CUDA")
    torch.zeros(1, device="cuda")


def runner_of(
    cuda: CudaRuntime, shape: tuple[int, int, int] = SHAPE, level: float = LEVEL, opt: int = 8
) -> TensorRtRunner:
    profile = BatchProfile(min=1, opt=opt, max=32)
    return TensorRtRunner("torch", TorchEngine(shape, level, GAIN), cuda, shape, profile)


def slices(count: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(count).uniform(0, 2, (count, *shape)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 24, 37])
def test_every_slice_gets_its_own_logits_through_a_graph(count: int) -> None:
    cuda = CountingCuda()
    with runner_of(cuda) as runner:
        first, again = slices(count), slices(count)[::-1].copy()
        np.testing.assert_allclose(runner.run(first), GAIN * (first - LEVEL), atol=1e-4)
        np.testing.assert_allclose(runner.run(again), GAIN * (again - LEVEL), atol=1e-4)
    assert cuda.launches == 2 * -(-count // 8)


def test_memory_is_taken_once_and_given_back() -> None:
    """The smallest buffer on the GPU is that of a lane's eight slices."""
    cuda = CudaRuntime()
    with runner_of(cuda, LARGE):
        pass
    before = torch.cuda.mem_get_info()[0]
    with runner_of(cuda, LARGE) as runner:
        held = torch.cuda.mem_get_info()[0]
        assert before - held >= 8 * PER_SLICE
        for _ in range(3):
            runner.run(slices(20, LARGE))
        assert held - torch.cuda.mem_get_info()[0] < 8 * LARGE_BYTES
    assert before - torch.cuda.mem_get_info()[0] < 8 * LARGE_BYTES


def test_four_runners_share_the_gpu_from_threads_of_their_own() -> None:
    cuda, image = CudaRuntime(), slices(40)
    with ThreadPoolExecutor(4) as pool:
        runners = list(pool.map(lambda number: runner_of(cuda, level=number), range(4)))
        for _ in range(10):
            for number, logits in enumerate(pool.map(lambda runner: runner.run(image), runners)):
                np.testing.assert_allclose(logits, GAIN * (image - number), atol=1e-4)
    for runner in runners:
        with runner:
            pass


def test_a_full_gpu_halves_the_batch() -> None:
    cuda = CudaRuntime()
    with runner_of(cuda):
        pass
    taken = cuda.allocate(torch.cuda.mem_get_info()[0] - 20 * PER_SLICE)
    try:
        with runner_of(cuda, LARGE, opt=32) as runner:
            assert runner.batch in {8, 16}
            image = slices(5, LARGE)
            np.testing.assert_allclose(runner.run(image), GAIN * (image - LEVEL), atol=1e-4)
    finally:
        cuda.free(taken)


def test_a_network_is_trained_resumed_and_exported_on_the_gpu(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from tests.support.training_cases import bright_spot_case, tiny_recipe
    from training.export import check_parity, write_onnx
    from training.inference import device_at_hand, predict
    from training.loop import train
    from training.slices import store_cases

    folder = tmp_path_factory.mktemp("training")
    recipe = tiny_recipe()
    schedule = recipe.schedule.model_copy(update={"epoch_steps": 30, "epochs": 3, "learning_rate": 0.02})
    recipe = recipe.model_copy(update={"schedule": schedule})
    cases = store_cases([bright_spot_case(str(n), seed=n) for n in range(3)], recipe, folder / "store")
    train(recipe, cases[:2], cases[2:], folder / "run", stop_after=40)
    network = train(recipe, cases[:2], cases[2:], folder / "run")
    device = device_at_hand()
    assert (device.type, next(network.parameters()).device.type) == ("cuda", "cuda")
    image, lesion = np.asarray(cases[2].images, np.float32), np.asarray(cases[2].targets) == 1
    found = predict(network, image, device)[:, 0] > 0
    assert 2 * (found & lesion).sum() > 0.5 * (found.sum() + lesion.sum())
    write_onnx(network, recipe, folder / "model.onnx")
    check_parity(network, folder / "model.onnx", image)
