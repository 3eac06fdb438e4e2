"""Device memory, pinned memory, streams and graphs of CUDA, behind a Protocol that tests need no GPU for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import DeviceError, DeviceMemoryError

FLOAT_BYTES = 4
"""Size of a float32."""


class Cuda(Protocol):
    """What a runner asks of a GPU. Addresses, streams, events and graphs are integers.

    Every method raises DeviceMemoryError if memory is lacking and DeviceError if anything else failed.
    """

    def allocate(self, size: int) -> int:
        """Return the address of ``size`` bytes of device memory."""

    def free(self, address: int) -> None:
        """Give device memory back."""

    def allocate_pinned(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a float32 array in memory that the GPU copies from and to while the CPU goes on."""

    def free_pinned(self, array: NDArray[np.float32]) -> None:
        """Give pinned memory back; the array must not be used again."""

    def create_stream(self) -> int:
        """Return a queue of work that does not wait for other queues."""

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""

    def create_event(self) -> int:
        """Return a mark that can be put into a stream."""

    def destroy_event(self, event: int) -> None:
        """Give an event back."""

    def record(self, event: int, stream: int) -> None:
        """Put the mark behind the work that is in the stream now."""

    def wait(self, event: int) -> None:
        """Wait until the GPU passed the mark; what failed in the stream before is raised here."""

    def copy_in(self, address: int, source: NDArray[np.float32], stream: int) -> None:
        """Queue a copy of a pinned array to the device."""

    def copy_out(self, target: NDArray[np.float32], address: int, stream: int) -> None:
        """Queue a copy from the device to a pinned array."""

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what ``work`` queues, without running it, and return it as a graph."""

    def launch(self, graph: int, stream: int) -> None:
        """Queue a recorded graph."""

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""


class CudaRuntime:
    """CUDA through ``cuda-bindings``; only made after ``engines.gpu.driver.find_gpu`` found a GPU."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._cuda: Any = runtime

    def allocate(self, size: int) -> int:
        """Return the address of device memory."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def allocate_pinned(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a float32 array over page-locked memory."""
        size = prod(shape) * FLOAT_BYTES
        address = int(self._call("cudaMallocHost", size))
        memory = (ctypes.c_byte * size).from_address(address)
        return np.ctypeslib.as_array(memory).view(np.float32).reshape(shape)

    def free_pinned(self, array: NDArray[np.float32]) -> None:
        """Give page-locked memory back."""
        self._call("cudaFreeHost", array.ctypes.data)

    def create_stream(self) -> int:
        """Return a stream that does not wait for the default stream."""
        return int(self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def create_event(self) -> int:
        """Return an event without timing, waiting for which does not spin."""
        flags = self._cuda.cudaEventDisableTiming | self._cuda.cudaEventBlockingSync
        return int(self._call("cudaEventCreateWithFlags", flags))

    def destroy_event(self, event: int) -> None:
        """Give an event back."""
        self._call("cudaEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        """Put an event into a stream."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, event: int) -> None:
        """Wait for an event."""
        self._call("cudaEventSynchronize", event)

    def copy_in(self, address: int, source: NDArray[np.float32], stream: int) -> None:
        """Queue a copy to the device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, source.ctypes.data, source.nbytes, kind, stream)

    def copy_out(self, target: NDArray[np.float32], address: int, stream: int) -> None:
        """Queue a copy from the device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, address, target.nbytes, kind, stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record a graph; other threads may go on using CUDA meanwhile."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            # The stream has to leave the capture, whatever came of it.
            self._cuda.cudaStreamEndCapture(stream)
            raise
        recorded = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", recorded, 0))
        finally:
            self._call("cudaGraphDestroy", recorded)

    def launch(self, graph: int, stream: int) -> None:
        """Queue a graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime and return its value, if it has one."""
        error, *values = getattr(self._cuda, function)(*arguments)
        if error == self._cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise DeviceMemoryError("The GPU is out of memory")
        if error != self._cuda.cudaError_t.cudaSuccess:
            _, text = self._cuda.cudaGetErrorString(error)
            raise DeviceError(f"The GPU failed in {function}: {bytes(text).decode()}")
        return values[0] if values else None
