"""What NVIDIA driver and GPU are here, asked before anything is loaded that crashes without them.

TensorRT ends the process when it opens a plan without a driver, so that nothing of it is called before
``find_gpu`` returned. NVML and the driver's own interface in ``cuda-bindings`` report a missing driver as an
error. The CUDA runtime in ``cuda-bindings`` is not asked: it refuses a driver older than itself, which may be
new enough for the runtime that a model is to run on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from engines.errors import NoDriverError, OldDriverError, RunnerUnavailableError, WrongGpuError

PACKAGES_MISSING = "the GPU packages are not installed: pip install 'csvd-node[gpu]' or 'csvd-node[rtx]'"
"""Said where an import of them fails."""

SHOWN_BY_CUDA = "CUDA_VISIBLE_DEVICES"
"""The variable that chooses and orders the GPUs that CUDA shows to a process, by number or UUID."""

SHOWN_TO_CONTAINER = "NVIDIA_VISIBLE_DEVICES"
"""The variable that chooses the GPUs that NVIDIA's runtime shows to a container."""

NAME_BYTES = 256
"""Room for the name of a GPU; CUDA's own structure of properties has as much."""

NO_GPU = ("", "none", "void")
"""Values of it with which a container gets none."""


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


class NothingFoundError(Exception):
    """A probe found no driver, or no GPU; its text is what NVIDIA's libraries say."""


class GpuProbe(Protocol):
    """Asks a machine for its GPUs. Every method raises ImportError if the packages are not installed."""

    def driver(self) -> tuple[str, tuple[int, int]]:
        """Return the driver's version, and major and minor of the CUDA that it speaks.

        Raises: NothingFoundError: if there is no driver.
        """

    def names(self) -> tuple[str, ...]:
        """Name the GPUs that the driver has, whatever CUDA shows of them."""

    def first(self) -> tuple[str, int]:
        """Return name and compute capability, times ten, of the first GPU that CUDA shows to this process.

        Raises: NothingFoundError: if it shows none.
        """


class NvidiaProbe:
    """Asks NVML and CUDA's driver."""

    def driver(self) -> tuple[str, tuple[int, int]]:
        """Ask NVML."""
        with _nvml() as nvml:
            cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
            return str(nvml.nvmlSystemGetDriverVersion()), (cuda // 1000, cuda % 1000 // 10)

    def names(self) -> tuple[str, ...]:
        """Ask NVML; one that does not answer any more has no name."""
        try:
            with _nvml() as nvml:
                handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
                return tuple(str(nvml.nvmlDeviceGetName(handle)) for handle in handles)
        except NothingFoundError:
            return ()

    def first(self) -> tuple[str, int]:
        """Ask CUDA's driver."""
        from cuda.bindings import driver

        attributes = driver.CUdevice_attribute
        try:
            _called(driver, "cuInit", 0)
            device = _called(driver, "cuDeviceGet", 0)
            name = bytes(_called(driver, "cuDeviceGetName", NAME_BYTES, device))
            major, minor = (
                int(_called(driver, "cuDeviceGetAttribute", attribute, device))
                for attribute in (
                    attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                    attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                )
            )
        except RuntimeError as exc:  # cuda-bindings finds no driver, or not such a function in it
            raise NothingFoundError(str(exc)) from exc
        # The driver ends the name with a zero and leaves the rest of the room as it was: full of spaces.
        return name.partition(b"\0")[0].decode(), 10 * major + minor


def _called(driver: Any, function: str, *arguments: object) -> Any:
    """Call a function of CUDA's driver and return its value, if it has one.

    Raises: NothingFoundError: with what the driver says.
    """
    error, *values = getattr(driver, function)(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(error)
        raise NothingFoundError(bytes(text).decode())
    return values[0] if values else None


@contextmanager
def _nvml() -> Iterator[ModuleType]:
    """Open NVML while the context is open.

    Raises: NothingFoundError: with what NVML says.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as exc:
        raise NothingFoundError(str(exc)) from exc


def find_gpu(
    runner: str,
    needed_cuda: int,
    probe: GpuProbe = NvidiaProbe(),  # noqa: B008 - without state
    environment: Mapping[str, str] = os.environ,
) -> Gpu:
    """Return the first visible GPU.

    Args:
        runner: who asks, for the message.
        needed_cuda: major version of CUDA that the runtime was built for.
        probe: asks the machine.
        environment: tells why a GPU is not visible.

    Raises:
        RunnerUnavailableError: if the packages are not installed.
        NoDriverError: if there is no driver or no GPU.
        WrongGpuError: if there are GPUs, and the environment chooses none of them.
        OldDriverError: if the driver speaks only an older CUDA.
    """
    try:
        driver, cuda = _driver_of(runner, probe, environment)
        check_driver(runner, driver, cuda, needed_cuda)
        name, capability = _first_of(runner, probe, environment)
    except ImportError as exc:
        raise RunnerUnavailableError(runner, PACKAGES_MISSING) from exc
    return Gpu(name, capability, driver, cuda)


def check_driver(runner: str, driver: str, cuda: tuple[int, int], needed_cuda: int) -> None:
    """Refuse a driver of an older major version of CUDA; within one, minor versions go together.

    Raises: OldDriverError
    Source: CUDA Compatibility, "Minor Version Compatibility".
    """
    if cuda[0] < needed_cuda:
        raise OldDriverError(runner, driver, f"{cuda[0]}.{cuda[1]}", f"{needed_cuda}.0")


def _driver_of(runner: str, probe: GpuProbe, environment: Mapping[str, str]) -> tuple[str, tuple[int, int]]:
    try:
        return probe.driver()
    except NothingFoundError as exc:
        _check_container(runner, environment)
        raise NoDriverError(runner, f"there is no NVIDIA driver ({exc})") from exc


def _first_of(runner: str, probe: GpuProbe, environment: Mapping[str, str]) -> tuple[str, int]:
    try:
        return probe.first()
    except NothingFoundError as exc:
        names, chosen = probe.names(), environment.get(SHOWN_BY_CUDA)
        if names and chosen is not None:
            here = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
            raise WrongGpuError(
                runner,
                f"{SHOWN_BY_CUDA} is '{chosen}' and names none of the GPUs that are here ({here}): "
                "set it to the number or UUID of one, or unset it",
            ) from exc
        _check_container(runner, environment)
        raise NoDriverError(runner, f"CUDA shows no GPU: {exc}") from exc


def _check_container(runner: str, environment: Mapping[str, str]) -> None:
    """Say so where the environment itself asks for no GPU."""
    shown = environment.get(SHOWN_TO_CONTAINER)
    if shown in NO_GPU:
        raise WrongGpuError(
            runner,
            f"{SHOWN_TO_CONTAINER} is '{shown}', so that this container gets no GPU: "
            "set it to all or to the UUID of one, on Kubernetes with gpu.enabled",
        )
