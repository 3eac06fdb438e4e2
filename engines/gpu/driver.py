"""What NVIDIA driver and GPU are here, asked before anything is loaded that crashes without them.

TensorRT ends the process when it opens a plan without a driver, so that nothing of it is called before
``find_gpu`` returned. NVML and the CUDA runtime of ``cuda-bindings`` report a missing driver as an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import NoDriverError, OldDriverError, RunnerUnavailableError

PACKAGES_MISSING = "the GPU packages are not installed: pip install 'csvd-node[gpu]' or 'csvd-node[rtx]'"
"""Said where an import of them fails."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that models run on, and its driver.

    Attributes:
        name: as the driver calls it: ``NVIDIA H100 80GB HBM3``.
        capability: compute capability times ten: 90 for 9.0.
        driver: the driver's own version: ``580.95.05``.
        cuda: newest CUDA version that the driver speaks, major and minor.
    """

    name: str
    capability: int
    driver: str
    cuda: tuple[int, int]


def find_gpu(runner: str, needed_cuda: int) -> Gpu:
    """Return the first visible GPU.

    Args:
        runner: who asks, for the message.
        needed_cuda: major version of CUDA that the runtime was built for.

    Raises:
        RunnerUnavailableError: if the packages are not installed.
        NoDriverError: if there is no driver or no GPU.
        OldDriverError: if the driver speaks only an older CUDA.
    """
    driver, cuda = _read_driver(runner)
    check_driver(runner, driver, cuda, needed_cuda)
    name, capability = _read_device(runner)
    return Gpu(name, capability, driver, cuda)


def check_driver(runner: str, driver: str, cuda: tuple[int, int], needed_cuda: int) -> None:
    """Refuse a driver of an older major version of CUDA; within one, minor versions go together.

    Raises: OldDriverError
    Source: CUDA Compatibility, "Minor Version Compatibility".
    """
    if cuda[0] < needed_cuda:
        raise OldDriverError(runner, driver, f"{cuda[0]}.{cuda[1]}", f"{needed_cuda}.0")


def _read_driver(runner: str) -> tuple[str, tuple[int, int]]:
    """Return the driver's version and the CUDA version that it speaks."""
    try:
        import pynvml
    except ImportError as exc:
        raise RunnerUnavailableError(runner, PACKAGES_MISSING) from exc
    try:
        pynvml.nvmlInit()
        try:
            cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
            return str(pynvml.nvmlSystemGetDriverVersion()), (cuda // 1000, cuda % 1000 // 10)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as exc:
        raise NoDriverError(runner, f"there is no NVIDIA driver ({exc})") from exc


def _read_device(runner: str) -> tuple[str, int]:
    """Return name and compute capability of the first GPU that CUDA shows to this process."""
    try:
        from cuda.bindings import runtime
    except ImportError as exc:
        raise RunnerUnavailableError(runner, PACKAGES_MISSING) from exc
    error, properties = runtime.cudaGetDeviceProperties(0)
    if error != runtime.cudaError_t.cudaSuccess:
        _, text = runtime.cudaGetErrorString(error)
        raise NoDriverError(runner, f"CUDA shows no GPU: {bytes(text).decode()}")
    return bytes(properties.name).rstrip(b"\0").decode(), 10 * properties.major + properties.minor
