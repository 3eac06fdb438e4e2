"""PyTorch in the place of TensorRT: what runs on the memory, the streams and the graphs of a real GPU."""

from __future__ import annotations

from math import prod

import torch

from engines.gpu.cuda import CudaRuntime


class CountingCuda(CudaRuntime):
    """The real CUDA, counting the graphs that it launches."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        super().launch(graph, stream)


class TorchEngine:
    """A plan that computes ``gain * (slice - level)``."""

    def __init__(
        self, shape: tuple[int, int, int], level: float, gain: float, *, max_batch: int = 32
    ) -> None:
        self.shape, self.level, self.gain, self.max_batch = shape, level, gain, max_batch

    def create_context(self) -> TorchContext:
        return TorchContext(self)


class TorchContext:
    """Runs without allocating anything, so that it can be recorded in a graph."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine

    def prepare(self, batch: int) -> int:
        self._shape = (batch, *self._engine.shape)
        return 4 * prod(self._shape)

    def bind(self, slices: int, logits: int, working: int, working_bytes: int) -> None:
        assert working_bytes == 4 * prod(self._shape)
        self._slices, self._logits, self._working = (
            torch.as_tensor(_Memory(address, self._shape), device="cuda")
            for address in (slices, logits, working)
        )

    def enqueue(self, stream: int) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            torch.sub(self._slices, self._engine.level, out=self._working)
            torch.mul(self._working, self._engine.gain, out=self._logits)


class _Memory:
    """Device memory as PyTorch takes it, without a copy.

    Source: Numba, CUDA Array Interface, version 3.
    """

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": "<f4",
            "data": (address, False),
            "version": 3,
        }
