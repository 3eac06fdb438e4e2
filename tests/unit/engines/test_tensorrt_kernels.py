"""What TensorRT for RTX compiles when a plan is opened serves the next start, too."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.bundle import Bundle
from engines.cache import PlanCache, read_scratch, write_scratch
from engines.gpu import backend as backend_module
from engines.gpu.backend import TensorRtBackend
from engines.gpu.flavour import Complaints, Flavour
from engines.precision import Precision
from engines.runners.base import RunnerKind
from engines.settings import EngineSettings
from tests.support.host_gpu import HostCuda, HostProbe
from tests.support.onnx_models import write_threshold_bundle

GPU = "NVIDIA L4"
PRECISION = Precision.FP16
KERNELS, OTHERS = b"kernels for NVIDIA L4", b"kernels for NVIDIA T4"


class KernelCache:
    """A runtime cache of TensorRT for RTX, which takes nothing that another GPU compiled."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, blob: bytes) -> bool:
        assert blob in (KERNELS, OTHERS), "what is damaged might crash TensorRT"
        if blob == KERNELS:
            self.content = blob
        return bool(self.content)

    def serialize(self) -> bytes:
        return self.content


class Rtx:
    """As much of TensorRT for RTX as opening a plan takes; it counts what it compiles."""

    __version__ = "1.7"
    ILogger = object
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER=1)

    def __init__(self) -> None:
        self.compiled = 0

    def Runtime(self, _logger: object) -> SimpleNamespace:  # noqa: N802 - TensorRT's name
        return SimpleNamespace(deserialize_cuda_engine=lambda _plan: self)

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(1, 1, 64, 64), (8, 1, 64, 64), (32, 1, 64, 64)]

    def create_runtime_config(self) -> SimpleNamespace:
        config = SimpleNamespace(
            set_execution_context_allocation_strategy=lambda _strategy: None, create_runtime_cache=KernelCache
        )
        config.set_runtime_cache = lambda cache: setattr(config, "cache", cache)
        return config

    def create_execution_context(self, config: SimpleNamespace) -> SimpleNamespace:
        assert config.dynamic_shapes_kernel_specialization_strategy == 1
        if not config.cache.content:
            self.compiled += 1
            config.cache.content = KERNELS
        return SimpleNamespace(
            set_input_shape=lambda _name, _shape: True,
            update_device_memory_size_for_shapes=lambda: 64,
            set_device_memory=lambda _address, _size: None,
            set_tensor_address=lambda _name, _address: True,
            execute_async_v3=lambda _stream: True,
        )


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> Rtx:
    trt = Rtx()
    flavour = object.__new__(Flavour)
    flavour.kind, flavour.version = RunnerKind.TENSORRT_RTX, trt.__version__
    flavour.complaints = Complaints()
    flavour.trt, flavour.logger = trt, None
    monkeypatch.setattr(backend_module, "flavour_of", lambda _kind: flavour)
    monkeypatch.setattr(backend_module, "CudaRuntime", HostCuda)
    return trt


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_threshold_bundle(tmp_path / "wmh")


def open_once(folder: Path, bundle: Bundle) -> TensorRtBackend:
    probe = HostProbe(here=(GPU,), shown=((GPU, 89),))
    backend = TensorRtBackend(RunnerKind.TENSORRT_RTX, EngineSettings(), folder, probe=probe)
    with backend.open(b"plan", bundle, PRECISION):
        pass
    return backend


def test_the_next_start_compiles_nothing(rtx: Rtx, bundle: Bundle, tmp_path: Path) -> None:
    open_once(tmp_path / "plans", bundle)
    assert rtx.compiled == 1, "the two lanes share their kernels"
    open_once(tmp_path / "plans", bundle)
    assert rtx.compiled == 1


def test_kernels_that_are_refused_are_compiled_and_kept_anew(
    rtx: Rtx, bundle: Bundle, tmp_path: Path
) -> None:
    open_once(tmp_path, bundle)
    (kept,) = tmp_path.glob("*.kernels")
    write_scratch(kept, OTHERS)
    open_once(tmp_path, bundle)
    assert rtx.compiled == 2
    assert read_scratch(kept) == KERNELS


@pytest.mark.parametrize("left", [0, 10, 64, 65, -1], ids=["nothing", "cut", "digest", "line", "but-one"])
def test_damaged_kernels_do_not_reach_tensorrt(rtx: Rtx, bundle: Bundle, tmp_path: Path, left: int) -> None:
    open_once(tmp_path, bundle)
    (kept,) = tmp_path.glob("*.kernels")
    kept.write_bytes(kept.read_bytes()[:left])
    open_once(tmp_path, bundle)
    assert rtx.compiled == 2
    assert read_scratch(kept) == KERNELS


def test_kernels_that_can_not_be_kept_do_not_hinder(rtx: Rtx, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("a file where the folder should be")
    open_once(tmp_path / "plans", bundle)
    assert rtx.compiled == 1


def test_kernels_go_with_their_plan(rtx: Rtx, bundle: Bundle, tmp_path: Path) -> None:
    cache = PlanCache(tmp_path / "plans")
    key = open_once(cache.folder, bundle).key(bundle, PRECISION)
    cache.put(key, b"plan")
    (kept,) = cache.folder.glob("*.kernels")
    assert kept.name == f"{key.file_name}.NVIDIA-L4.kernels"
    (other := kept.with_name(f"other.plan.{GPU}.kernels")).write_bytes(KERNELS)
    cache.discard(key)
    assert list(cache.folder.glob("*.kernels")) == [other]


def test_kernels_that_tensorrt_does_not_give_do_not_hinder(
    rtx: Rtx, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelCache, "serialize", lambda _self: None)
    open_once(tmp_path, bundle)
    assert not list(tmp_path.glob("*.kernels"))
