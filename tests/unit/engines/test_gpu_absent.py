"""No driver, an old driver, a runtime that leaves the GPU out: each an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.bundle import load_bundle, shipped_bundles
from engines.engine_report import PassedOver
from engines.errors import DeviceError, NoDriverError, OldDriverError, RunnerUnavailableError
from engines.gpu.cuda import CudaRuntime
from engines.gpu.driver import check_driver, find_gpu
from engines.runners.base import RunnerKind
from engines.runners.choice import AUTO_ORDER, choose_runner
from engines.runners.onnx_cuda import check_providers
from tests.support.onnx_models import write_threshold_bundle

GPU_KINDS = (RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX, RunnerKind.ONNXRUNTIME_CUDA)


def has_driver() -> bool:
    try:
        find_gpu("test", 12)
    except RunnerUnavailableError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_driver(), reason="this machine has a GPU")


@without_gpu
def test_a_missing_driver_is_an_error_and_no_crash() -> None:
    with pytest.raises(NoDriverError, match="tensorrt can not be used: there is no NVIDIA driver"):
        find_gpu("tensorrt", 13)


@pytest.mark.parametrize(
    ("cuda", "needed", "enough"),
    [
        ((12, 8), 13, False),
        ((11, 4), 12, False),
        ((13, 0), 13, True),
        ((14, 1), 13, True),
        ((12, 0), 12, True),
    ],
)
def test_a_driver_serves_runtimes_of_its_own_and_older_cuda(
    cuda: tuple[int, int], needed: int, enough: bool
) -> None:
    """CUDA Compatibility: backward compatibility, and minor version compatibility within a major version."""
    if enough:
        check_driver("tensorrt", "570.86", cuda, needed)
        return
    with pytest.raises(OldDriverError, match=f"needs CUDA {needed}.0: update the driver"):
        check_driver("tensorrt", "570.86", cuda, needed)


def test_onnxruntime_that_fell_back_without_a_word_counts_as_absent() -> None:
    check_providers(["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(RunnerUnavailableError, match="fell back to CPUExecutionProvider"):
        check_providers(["CPUExecutionProvider"])


@without_gpu
@pytest.mark.parametrize("kind", GPU_KINDS)
def test_a_gpu_runner_that_was_asked_for_by_name_is_refused(tmp_path: Path, kind: RunnerKind) -> None:
    with pytest.raises(RunnerUnavailableError, match=f"{kind.value} can not be used"):
        choose_runner(write_threshold_bundle(tmp_path / "wmh"), kind)


@without_gpu
def test_every_call_of_cuda_fails_in_words() -> None:
    """The real CUDA runtime: its functions take what they are given, and say that there is no driver."""
    cuda, array = CudaRuntime(), np.zeros(4, np.float32)
    calls = (
        lambda: cuda.allocate(16),
        lambda: cuda.allocate_pinned((4,)),
        lambda: cuda.free(1),
        lambda: cuda.free_pinned(array),
        cuda.create_stream,
        lambda: cuda.destroy_stream(1),
        cuda.create_event,
        lambda: cuda.destroy_event(1),
        lambda: cuda.record(1, 1),
        lambda: cuda.wait(1),
        lambda: cuda.copy_in(1, array, 1),
        lambda: cuda.copy_out(array, 1, 1),
        lambda: cuda.capture(1, lambda: None),
        lambda: cuda.launch(1, 1),
        lambda: cuda.destroy_graph(1),
    )
    for call in calls:
        with pytest.raises(DeviceError, match="driver version is insufficient"):
            call()


@without_gpu
def test_auto_says_of_every_other_runner_why_it_was_not_taken() -> None:
    choice = choose_runner(load_bundle(shipped_bundles() / "wmh"))
    report = choice.report
    with choice.runner as runner:
        assert report.name == runner.name
    assert not report.runner.on_gpu
    assert report.proof.startswith("Dice")
    considered = {one.runner for one in report.passed_over}
    assert considered | {report.runner} == set(AUTO_ORDER)
    for kind in (RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX):
        (reason,) = [one.reason for one in report.passed_over if one.runner is kind]
        assert "there is no NVIDIA driver" in reason


def test_a_runner_that_was_passed_over_reads_as_one_line() -> None:
    assert str(PassedOver(RunnerKind.TENSORRT, None, "no driver")) == "tensorrt: no driver"
