"""No driver, an old driver, a runtime that leaves the GPU out: each an error that says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines.bundle import load_bundle, shipped_bundles
from engines.engine_report import PassedOver
from engines.errors import (
    DeviceError,
    NoDriverError,
    OldDriverError,
    RunnerUnavailableError,
    WrongGpuError,
)
from engines.gpu.backend import TensorRtBackend, check_capability
from engines.gpu.cuda import CudaRuntime
from engines.gpu.driver import Gpu, check_driver, find_gpu
from engines.gpu.flavour import Flavour, FlavourKind, check_version, cuda_of
from engines.runners.base import RunnerKind
from engines.runners.choice import AUTO_ORDER, choose_runner
from engines.runners.onnx_cuda import check_providers
from engines.settings import EngineSettings
from tests.support.host_gpu import HostProbe, without_gpu
from tests.support.onnx_models import write_threshold_bundle

GPU_KINDS = (RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX, RunnerKind.ONNXRUNTIME_CUDA)


@without_gpu
def test_a_missing_driver_is_an_error_and_no_crash() -> None:
    with pytest.raises(NoDriverError, match="tensorrt cannot be used: there is no NVIDIA driver"):
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


@pytest.mark.parametrize(
    ("tensorrt", "bindings", "needed"),
    [
        pytest.param("cu12", "12.9.10", 12, id="both-of-cuda-12"),
        pytest.param("cu12", "13.5.0", 13, id="newer-bindings"),
        pytest.param("cu13", "12.9.10", 13, id="newer-tensorrt"),
    ],
)
def test_the_driver_has_to_serve_what_holds_the_memory_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorrt: str, bindings: str, needed: int
) -> None:
    """The CUDA runtime in cuda-bindings refuses an older driver only when all plans are compiled."""
    for name, version in ((f"tensorrt_{tensorrt}", "11.4.0.106"), ("cuda-bindings", bindings)):
        record = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
        record.parent.mkdir()
        record.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert cuda_of(RunnerKind.TENSORRT) == needed


@pytest.mark.parametrize("installed", ["8.6.1.post1", "10.10.0.31"])
def test_a_tensorrt_that_lacks_what_is_called_of_it_is_refused_before_it_compiles(
    monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    """``ICudaEngine.create_runtime_config`` came with TensorRT 10.11."""
    module = SimpleNamespace(__version__=installed, ILogger=object)
    monkeypatch.setitem(sys.modules, "tensorrt", module)  # type: ignore[arg-type]
    with pytest.raises(RunnerUnavailableError, match=rf"{installed} is installed, 10\.11 is needed: pip"):
        Flavour(RunnerKind.TENSORRT)


@pytest.mark.parametrize(
    ("kind", "installed"),
    [
        (RunnerKind.TENSORRT, "10.11.0.33"),
        (RunnerKind.TENSORRT, "10.14.1.48.post1"),
        (RunnerKind.TENSORRT, "11.4.0.106"),
        (RunnerKind.TENSORRT_RTX, "1.7.1.116"),
    ],
)
def test_a_tensorrt_that_has_what_is_called_of_it_is_taken(kind: FlavourKind, installed: str) -> None:
    check_version(kind, installed)


def test_the_first_gpu_that_cuda_shows_is_taken() -> None:
    probe = HostProbe(shown=(("NVIDIA T4", 75), ("NVIDIA L4", 89)))
    found = find_gpu("tensorrt", 13, probe, {"CUDA_VISIBLE_DEVICES": "1,0"})
    assert found == Gpu("NVIDIA T4", 75, "580.95.05", (13, 0))


@pytest.mark.parametrize("chosen", ["2", "-1", "", "GPU-0badc0de"])
def test_a_variable_that_names_no_gpu_is_said_with_those_that_are_here(chosen: str) -> None:
    with pytest.raises(WrongGpuError) as caught:
        find_gpu("tensorrt", 13, HostProbe(), {"CUDA_VISIBLE_DEVICES": chosen})
    assert str(caught.value) == (
        f"tensorrt cannot be used: CUDA_VISIBLE_DEVICES is '{chosen}' and names none of the GPUs that are "
        "here (0: NVIDIA L4, 1: NVIDIA T4): set it to the number or UUID of one, or unset it"
    )


@pytest.mark.parametrize("shown", ["none", "void", ""])
@pytest.mark.parametrize(
    "probe", [HostProbe(has_driver=False), HostProbe(here=())], ids=["no-driver", "no-gpu"]
)
def test_a_container_that_was_given_no_gpu_is_told_by_which_variable(probe: HostProbe, shown: str) -> None:
    sentence = (
        f"tensorrt-rtx cannot be used: NVIDIA_VISIBLE_DEVICES is '{shown}', so that .* gets no GPU: set it"
    )
    with pytest.raises(WrongGpuError, match=sentence):
        find_gpu("tensorrt-rtx", 13, probe, {"NVIDIA_VISIBLE_DEVICES": shown})


@pytest.mark.parametrize(
    ("probe", "environment", "problem"),
    [
        pytest.param(
            HostProbe(has_driver=False),
            {"NVIDIA_VISIBLE_DEVICES": "all"},
            r"there is no NVIDIA driver \(NVML Shared Library Not Found\)",
            id="no-driver",
        ),
        pytest.param(
            HostProbe(here=()), {"CUDA_VISIBLE_DEVICES": "0"}, "CUDA shows no GPU: no CUDA-capable", id="lost"
        ),
        pytest.param(HostProbe(), {}, "CUDA shows no GPU: no CUDA-capable device", id="nobody-chose"),
    ],
)
def test_what_may_come_later_is_waited_for(
    probe: HostProbe, environment: dict[str, str], problem: str
) -> None:
    """The start waits for ``NoDriverError``, and for nothing else of a GPU."""
    with pytest.raises(NoDriverError, match=problem):
        find_gpu("tensorrt", 13, probe, environment)


@pytest.mark.parametrize(
    ("kind", "name", "capability", "instead"),
    [
        (RunnerKind.TENSORRT_RTX, "NVIDIA H100 80GB HBM3", 90, "tensorrt"),
        (RunnerKind.TENSORRT_RTX, "Tesla V100-PCIE-16GB", 70, "onnxruntime-cuda"),
        (RunnerKind.TENSORRT, "Tesla V100-PCIE-16GB", 70, "onnxruntime-cuda"),
        (RunnerKind.TENSORRT, "NVIDIA H100 80GB HBM3", 90, ""),
        (RunnerKind.TENSORRT, "Tesla T4", 75, ""),
        (RunnerKind.TENSORRT_RTX, "NVIDIA L4", 89, ""),
    ],
)
def test_a_gpu_that_a_flavour_does_not_serve_is_named_with_the_runner_that_does(
    kind: FlavourKind, name: str, capability: int, instead: str
) -> None:
    gpu = Gpu(name, capability, "580.95.05", (13, 0))
    if not instead:
        check_capability(kind, gpu)
        return
    with pytest.raises(WrongGpuError) as caught:
        check_capability(kind, gpu)
    assert str(caught.value) == (
        f"{kind.value} cannot be used: it does not serve {name} (compute capability {capability / 10}): "
        f"use runner {instead}, or name another GPU in CUDA_VISIBLE_DEVICES"
    )


def test_a_gpu_that_it_does_not_serve_is_no_reason_to_install_tensorrt(tmp_path: Path) -> None:
    probe = HostProbe(shown=(("Tesla V100-PCIE-16GB", 70),))
    with pytest.raises(WrongGpuError, match="does not serve Tesla V100-PCIE-16GB"):
        TensorRtBackend(RunnerKind.TENSORRT, EngineSettings(), tmp_path, probe=probe)


DRIVER_OF_CUDA_12 = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("NO_GPU") ? 100 : 0; }
int cuDriverGetVersion(int *version) { *version = 12080; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strcpy(name, "NVIDIA L4"); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 9; return 0; }
int cuGetErrorString(int error, const char **text) {
    *text = error == 100 ? "no CUDA-capable device is detected" : "another";
    return 0;
}
int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long flags, int *status) {
    *function = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
    return *function ? 0 : 500;
}
"""
"""What ``cuda-bindings`` asks of a driver to name a GPU, as one of CUDA 12.8 answers."""


@without_gpu
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize(
    ("shown", "said"),
    [
        pytest.param({}, "('NVIDIA L4', 89)", id="a-gpu"),
        pytest.param({"NO_GPU": "1"}, "no CUDA-capable device is detected", id="no-gpu"),
    ],
)
def test_a_driver_older_than_the_bindings_names_its_gpu(
    tmp_path: Path, shown: dict[str, str], said: str
) -> None:
    """The CUDA runtime in cuda-bindings 13 refuses a driver of CUDA 12, where onnxruntime of CUDA 12 runs."""
    source, library = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text(DRIVER_OF_CUDA_12)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    code = (
        "from engines.gpu.driver import NothingFoundError, NvidiaProbe\n"
        "try:\n    print(NvidiaProbe().first())\nexcept NothingFoundError as error:\n    print(error)"
    )
    environment = {**os.environ, **shown, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == said


def test_onnxruntime_that_fell_back_without_a_word_counts_as_absent() -> None:
    check_providers(["CUDAExecutionProvider", "CPUExecutionProvider"], "")
    lacking = "Failed to load libcublasLt.so.13: no such file"
    with pytest.raises(
        RunnerUnavailableError, match=rf"fell back to CPUExecutionProvider.*{lacking}.*pip install"
    ):
        check_providers(["CPUExecutionProvider"], lacking)


@without_gpu
@pytest.mark.parametrize("kind", GPU_KINDS)
def test_a_gpu_runner_that_was_asked_for_by_name_is_refused(tmp_path: Path, kind: RunnerKind) -> None:
    with pytest.raises(RunnerUnavailableError, match=f"{kind.value} cannot be used"):
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
