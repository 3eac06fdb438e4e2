"""Our GPU Protocols on host memory: queues run at once, memory is limited, graphs replay."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from engines.errors import DeviceError, DeviceMemoryError, RunnerUnavailableError
from engines.gpu.driver import NothingFoundError, find_gpu


def _has_gpu() -> bool:
    try:
        find_gpu("test", 12)
    except RunnerUnavailableError:
        return False
    return True


without_gpu = pytest.mark.skipif(_has_gpu(), reason="this machine has a GPU")
"""Of tests that are about a machine without one."""

without_full = pytest.mark.skipif(find_spec("tensorrt") is not None, reason="here is full TensorRT")
"""Of tests that are about a machine that has at most TensorRT for RTX."""


@dataclass(frozen=True)
class HostProbe:
    """A machine with a driver, GPUs, and what CUDA shows of them."""

    has_driver: bool = True
    here: tuple[str, ...] = ("NVIDIA L4", "NVIDIA T4")
    shown: tuple[tuple[str, int], ...] = ()

    def driver(self) -> tuple[str, tuple[int, int]]:
        if not self.has_driver:
            raise NothingFoundError("NVML Shared Library Not Found")
        return "580.95.05", (13, 0)

    def names(self) -> tuple[str, ...]:
        return self.here

    def first(self) -> tuple[str, int]:
        if not self.shown:
            raise NothingFoundError("no CUDA-capable device is detected")
        return self.shown[0]


class HostCuda:
    """A GPU of so many bytes.

    Attributes:
        used: bytes that are allocated now.
        allocations: number of allocations so far.
        launches: number of graphs that were replayed.
        broken: True lets every copy to the device fail.
    """

    def __init__(self, limit: int = 1 << 40, *, records: bool = True) -> None:
        self.limit, self.used, self.allocations, self.launches = limit, 0, 0, 0
        self.broken = False
        self._records = records
        self._memory: dict[int, tuple[object, int]] = {}
        self._handles: dict[int, Callable[[], None]] = {}
        self._next = 1
        self.open_handles: set[int] = set()

    def allocate(self, size: int) -> int:
        if self.used + size > self.limit:
            raise DeviceMemoryError("The GPU is out of memory")
        block = (ctypes.c_byte * size)()
        address = ctypes.addressof(block)
        self._memory[address] = (block, size)
        self.used += size
        self.allocations += 1
        return address

    def free(self, address: int) -> None:
        self.used -= self._memory.pop(address)[1]

    def allocate_pinned(self, shape: tuple[int, ...]) -> np.ndarray:
        self.allocations += 1
        return np.full(prod(shape), np.nan, np.float32).reshape(shape)

    def free_pinned(self, array: np.ndarray) -> None: ...

    def _handle(self) -> int:
        self._next += 1
        self.open_handles.add(self._next)
        return self._next

    def create_stream(self) -> int:
        return self._handle()

    def destroy_stream(self, stream: int) -> None:
        self.open_handles.remove(stream)

    def create_event(self) -> int:
        return self._handle()

    def destroy_event(self, event: int) -> None:
        self.open_handles.remove(event)

    def record(self, event: int, stream: int) -> None:
        assert {event, stream} <= self.open_handles

    def wait(self, event: int) -> None:
        assert event in self.open_handles

    def copy_in(self, address: int, source: np.ndarray, stream: int) -> None:
        if self.broken:
            raise DeviceError("The GPU failed in cudaMemcpyAsync: unspecified launch failure")
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def copy_out(self, target: np.ndarray, address: int, stream: int) -> None:
        ctypes.memmove(target.ctypes.data, address, target.nbytes)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        if not self._records:
            raise DeviceError("The GPU failed in cudaStreamEndCapture: operation not permitted")
        graph = self._handle()
        self._handles[graph] = work
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        self._handles[graph]()

    def destroy_graph(self, graph: int) -> None:
        self.open_handles.remove(graph)


class HostEngine:
    """A plan that onnxruntime executes on the memory of a ``HostCuda``."""

    def __init__(self, model: Path, shape: tuple[int, int, int], max_batch: int = 32) -> None:
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._shape, self.max_batch = shape, max_batch
        self.batches: list[int] = []

    def create_context(self) -> HostContext:
        return HostContext(self, self._session, self._shape)


class HostContext:
    def __init__(
        self, engine: HostEngine, session: onnxruntime.InferenceSession, shape: tuple[int, int, int]
    ) -> None:
        self._engine, self._session, self._shape = engine, session, shape

    def prepare(self, batch: int) -> int:
        self._batch = batch
        return 4 * batch * prod(self._shape)

    def bind(self, slices: int, logits: int, working: int, working_bytes: int) -> None:
        rows, columns = self._shape[1:]
        self._slices = _view(slices, (self._batch, *self._shape))
        self._logits = _view(logits, (self._batch, 1, rows, columns))

    def enqueue(self, stream: int) -> None:
        self._engine.batches.append(self._batch)
        self._logits[:] = self._session.run(None, {"slices": self._slices})[0]


def _view(address: int, shape: tuple[int, ...]) -> np.ndarray:
    memory = (ctypes.c_float * prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)
