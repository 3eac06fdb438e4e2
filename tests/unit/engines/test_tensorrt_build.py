"""TensorRT for RTX compiles on the CPU what it would run on a GPU of a chosen compute capability."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from engines import typed_onnx
from engines.build import BuildProgress, silent
from engines.bundle import Bundle, load_bundle, shipped_bundles
from engines.cache import PlanCache
from engines.errors import DeviceError, DeviceMemoryError, PlanError, RunnerError, RunnerUnavailableError
from engines.gpu.backend import TensorRtBackend
from engines.gpu.driver import PACKAGES_MISSING
from engines.gpu.execution import TensorRtEngine
from engines.gpu.flavour import RTX_CAPABILITIES, flavour_of
from engines.manifest import BatchProfile
from engines.precision import Precision
from engines.runners.base import RunnerKind
from engines.settings import EngineSettings
from tests.support.host_gpu import HostProbe, without_full
from tests.support.onnx_models import write_threshold_bundle

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX has no wheel for this machine")

BUNDLES = sorted(path.parent for path in shipped_bundles().glob("*/manifest.yaml"))
FLOATS = (Precision.FP16, Precision.BF16, Precision.TF32, Precision.FP32)


def backend(folder: Path, capability: int = 89) -> TensorRtBackend:
    return TensorRtBackend(RunnerKind.TENSORRT_RTX, EngineSettings(), folder, capability)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_threshold_bundle(tmp_path / "wmh")


@pytest.mark.slow
@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.name)
def test_every_shipped_model_compiles_in_every_precision(folder: Path, tmp_path: Path) -> None:
    shipped = load_bundle(folder)
    for precision in Precision:
        plan = backend(tmp_path).build(shipped, precision, silent)
        assert len(plan) > 100_000


@pytest.mark.parametrize("precision", FLOATS)
def test_a_model_compiles_in_every_precision(bundle: Bundle, precision: Precision, tmp_path: Path) -> None:
    steps: list[BuildProgress] = []
    plan = backend(tmp_path).build(bundle, precision, steps.append)
    assert plan
    assert steps[0].model == "threshold-wmh"
    assert any(0 < step.done == step.steps for step in steps)


def test_the_image_for_gpus_holds_what_compiling_loads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.gpu_image", str(BUNDLES[0]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [one.value for one in Precision]


def test_bfloat16_is_refused_in_words_where_the_gpu_has_none(bundle: Bundle, tmp_path: Path) -> None:
    """Compute capability 7.5 has no bfloat16 (CUDA Programming Guide, arithmetic instructions)."""
    with pytest.raises(PlanError, match="cannot compile it"):
        backend(tmp_path, 75).build(bundle, Precision.BF16, silent)


@pytest.mark.parametrize("capability", [70, 90, 100])
def test_a_capability_that_is_not_offered_is_named(bundle: Bundle, tmp_path: Path, capability: int) -> None:
    with pytest.raises(PlanError, match=f"capability {capability}, only {RTX_CAPABILITIES[0]}"):
        backend(tmp_path, capability).build(bundle, Precision.FP16, silent)


def test_a_damaged_model_is_a_plan_error_in_tensorrt_s_words(bundle: Bundle, tmp_path: Path) -> None:
    bundle.model_path.write_bytes(b"\x00 not an ONNX file")
    with pytest.raises(PlanError, match="threshold-wmh: TensorRT cannot"):
        backend(tmp_path).build(bundle, Precision.FP32, silent)


def test_slices_of_another_size_do_not_fit_the_network(bundle: Bundle, tmp_path: Path) -> None:
    grid = bundle.manifest.preprocessing.model_copy(update={"pixel_grid": (32, 32)})
    other = Bundle(bundle.folder, bundle.manifest.model_copy(update={"preprocessing": grid}))
    with pytest.raises(PlanError, match="threshold-wmh"):
        backend(tmp_path).build(other, Precision.FP32, silent)


def test_a_plan_made_ahead_of_time_is_for_every_gpu_of_the_capability(bundle: Bundle, tmp_path: Path) -> None:
    made = backend(tmp_path)
    key = made.key(bundle, Precision.FP16)
    assert (key.capability, key.gpu, key.driver, key.flavour) == (89, "", "", "tensorrt-rtx")
    found = PlanCache(tmp_path).obtain(key, lambda: made.build(bundle, Precision.FP16, silent))
    assert PlanCache(tmp_path).find(key) == found.plan
    with pytest.raises(RunnerError, match="no GPU"):
        made.open(found.plan, bundle, Precision.FP16)


@pytest.mark.parametrize(
    ("precision", "writer"),
    [
        (Precision.INT8, "onnxruntime "),
        (Precision.FP16, "onnxconverter-common "),
        (Precision.BF16, "onnxconverter-common "),
    ],
)
def test_a_plan_is_kept_under_the_version_of_what_wrote_its_precision(
    bundle: Bundle, precision: Precision, writer: str, tmp_path: Path
) -> None:
    own = hashlib.sha256(Path(typed_onnx.__file__).read_bytes()).hexdigest()
    key = backend(tmp_path).key(bundle, precision)
    assert key.converter.startswith(f"{writer}{version(writer.strip())}, ")
    assert own.startswith(key.converter.split()[-1])


@pytest.mark.parametrize("precision", [Precision.TF32, Precision.FP32])
def test_the_plan_of_the_bundle_s_own_file_depends_on_no_converter(
    bundle: Bundle, precision: Precision, tmp_path: Path
) -> None:
    assert backend(tmp_path).key(bundle, precision).converter == ""


def test_a_plan_made_on_a_gpu_is_that_of_its_capability(bundle: Bundle, tmp_path: Path) -> None:
    """Without it TensorRT for RTX leaves out Turing, which has no bfloat16."""
    turing, ada = (
        TensorRtBackend(
            RunnerKind.TENSORRT_RTX, EngineSettings(), tmp_path, probe=HostProbe(shown=((name, capability),))
        )
        for name, capability in (("Tesla T4", 75), ("NVIDIA L4", 89))
    )
    assert turing.key(bundle, Precision.FP16) == backend(tmp_path, 75).key(bundle, Precision.FP16)
    assert ada.key(bundle, Precision.FP16) == backend(tmp_path, 89).key(bundle, Precision.FP16)
    assert ada.build(bundle, Precision.BF16, silent)
    with pytest.raises(PlanError, match="cannot compile it"):
        turing.build(bundle, Precision.BF16, silent)


def test_a_plan_takes_no_memory_of_its_own_when_it_runs(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT for RTX asks for the flag where the work is recorded (its release notes, 1.2)."""
    trt, configs = flavour_of(RunnerKind.TENSORRT_RTX).trt, []

    class Builder(trt.Builder):  # type: ignore[name-defined,misc]
        def create_builder_config(self) -> object:
            configs.append(super().create_builder_config())
            return configs[-1]

    monkeypatch.setattr(trt, "Builder", Builder)
    assert backend(tmp_path).build(bundle, Precision.FP16, silent)
    (config,) = configs
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError], ids=["ctrl-c", "a-fault"])
@pytest.mark.parametrize("at", [1, 4, 30])
def test_what_the_progress_raises_ends_the_build(
    bundle: Bundle, tmp_path: Path, stop: type[BaseException], at: int
) -> None:
    """TensorRT drops it, so that Ctrl-C would only begin with the next precision."""
    told = 0

    def progress(_: BuildProgress) -> None:
        nonlocal told
        told += 1
        if told == at:
            raise stop("enough")

    with pytest.raises(stop, match="enough"):
        backend(tmp_path).build(bundle, Precision.FP16, progress)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(2, DeviceMemoryError, id="full"),
        pytest.param(46, DeviceError, id="taken"),
        pytest.param(201, DeviceError, id="another"),
    ],
)
def test_a_gpu_on_which_tensorrt_cannot_begin_is_an_error_in_its_words(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[DeviceError]
) -> None:
    """Its binding raises TypeError, and the reason is a warning (NVIDIA/TensorRT, issues 308 and 2913)."""
    flavour = flavour_of(RunnerKind.TENSORRT_RTX)
    said = f"CUDA initialization failure with error: {error}"

    def nothing(logger: Any) -> None:
        logger.log(flavour.trt.ILogger.Severity.WARNING, said)
        raise TypeError("pybind11::init(): factory function returned nullptr")

    for name in ("Builder", "Runtime"):
        monkeypatch.setattr(flavour.trt, name, nothing)
    model, shape = bundle.manifest.model, bundle.manifest.input_shape
    for begin in (
        lambda: backend(tmp_path).build(bundle, Precision.FP32, silent),
        lambda: TensorRtEngine(flavour, b"plan", model, shape, host_code=False),
    ):
        with pytest.raises(DeviceError, match=f"cannot begin: {said}$") as caught:
            begin()
        assert type(caught.value) is kind
    flavour.complaints.forget()


def test_what_tensorrt_complains_of_is_told_once_and_a_full_gpu_is_known() -> None:
    """A process has one logger: TensorRT keeps the first one that it is given."""
    flavour = flavour_of(RunnerKind.TENSORRT_RTX)
    assert flavour_of(RunnerKind.TENSORRT_RTX) is flavour
    flavour.complaints.forget()
    assert (flavour.complaint, flavour.is_out_of_memory) == ("TensorRT gave no reason", False)
    error = flavour.trt.ILogger.Severity.ERROR
    for said in ("setDeviceMemory: null", "setDeviceMemory: null", "another"):
        flavour.logger.log(error, said)
    assert (flavour.complaint, flavour.is_out_of_memory) == ("setDeviceMemory: null; another", False)
    flavour.logger.log(error, "Error Code 2: OutOfMemory (Requested size was 96 bytes.)")
    assert flavour.is_out_of_memory
    flavour.complaints.forget()


def test_what_tensorrt_complains_of_in_one_thread_is_no_reason_in_another() -> None:
    """Segmentors run at the same time: the GPU that is full for one did not fail the other for it."""
    flavour = flavour_of(RunnerKind.TENSORRT_RTX)
    error = flavour.trt.ILogger.Severity.ERROR
    both_began, first_heard = threading.Barrier(2), threading.Barrier(2)

    def fails(said: str) -> DeviceError:
        flavour.complaints.forget()
        both_began.wait(10)
        flavour.logger.log(error, said)
        first_heard.wait(10)
        return flavour.failure("TensorRT could not run the plan")

    with ThreadPoolExecutor(2) as threads:
        full, lost = threads.map(fails, ("Error Code 2: OutOfMemory", "Cask (Cask Convolution Execution)"))
    assert (type(full), type(lost)) == (DeviceMemoryError, DeviceError)
    assert str(full).endswith(": Error Code 2: OutOfMemory")
    assert str(lost).endswith(": Cask (Cask Convolution Execution)")


def test_what_tensorrt_complains_of_in_a_thread_of_its_own_is_told_whoever_heard_nothing() -> None:
    flavour = flavour_of(RunnerKind.TENSORRT_RTX)
    flavour.complaints.forget()
    own = threading.Thread(
        target=lambda: flavour.logger.log(flavour.trt.ILogger.Severity.ERROR, "OutOfMemory while compiling")
    )
    own.start()
    own.join()
    assert flavour.complaint == "OutOfMemory while compiling"
    assert flavour.is_out_of_memory
    flavour.complaints.forget()
    assert flavour.complaint == "TensorRT gave no reason"


def test_plans_for_later_versions_are_left_to_full_tensorrt(bundle: Bundle, tmp_path: Path) -> None:
    """TensorRT for RTX has none: it would not compile at all."""
    wanted = EngineSettings(version_compatible=True)
    made = TensorRtBackend(RunnerKind.TENSORRT_RTX, wanted, tmp_path, 89)
    assert made.key(bundle, Precision.FP16) == backend(tmp_path).key(bundle, Precision.FP16)
    assert made.build(bundle, Precision.FP16, silent)


@pytest.mark.parametrize("batch", [{"min": 2, "opt": 1, "max": 4}, {"min": 1, "opt": 8, "max": 4}])
def test_a_batch_profile_rises(batch: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        BatchProfile.model_validate(batch)


@without_full
def test_tensorrt_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerUnavailableError, match="tensorrt cannot be used: "):
        TensorRtBackend(RunnerKind.TENSORRT, EngineSettings(), tmp_path)
    assert "csvd-node[gpu]" in PACKAGES_MISSING
