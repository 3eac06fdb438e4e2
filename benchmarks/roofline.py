"""The least time that a network can take on a device: its arithmetic and its traffic over what was measured.

Convention: one multiply-add is two FLOP. Values are those of every layer's input, output and weights once:
what crosses the memory when no layer keeps its result in a cache. A fused runtime moves less, so the bound by
traffic may be passed, the bound by arithmetic not. A GPU is measured in float16 and a CPU in float32, as the
node uses them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from onnx import shape_inference

SIDE = 4096
"""Rows and columns of the matrices that are multiplied on a GPU; a quarter of them on a CPU."""

CONVOLVED = (8, 64, 112, 112)
"""Batch, channels, rows and columns of what is convolved, 3x3, with as many channels again: a usual layer."""

COPIED_BYTES = 1 << 28
"""Size of what is copied."""

PEAK_ROUNDS = 20
"""Times that a peak is measured; the best counts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a network does to one slice: floating point operations, and values in and out of its layers."""

    flop: float
    values: float


@dataclass(frozen=True, slots=True)
class Device:
    """What a device was measured to do: FLOP a second in a matrix product or a convolution, bytes in copies.

    Attributes:
        name: of the hardware.
        value_bytes: size of the values it was measured with.
        flop_s: FLOP a second.
        bytes_s: bytes a second, read and written.
    """

    name: str
    value_bytes: int
    flop_s: float
    bytes_s: float

    def least_ms(self, work: Work, slices: int) -> tuple[float, float]:
        """Return the least time of so many slices, ms: by arithmetic and by traffic."""
        traffic = slices * work.values * self.value_bytes
        return 1e3 * slices * work.flop / self.flop_s, 1e3 * traffic / self.bytes_s


def work_of(path: Path) -> Work:
    """Count what the network in an ONNX file does to one slice, from its convolutions and its tensors."""
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = dict(weights)
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    flop = 0.0
    for node in graph.node:
        if node.op_type == "Conv":
            _, inner, rows, columns = weights[node.input[1]]
            flop += 2.0 * math.prod(shapes[node.output[0]]) * inner * rows * columns
    tensors = [name for node in graph.node for name in (*node.input, *node.output) if name in shapes]
    return Work(flop, float(sum(math.prod(shapes[name]) for name in tensors)))


def measure(processor: str) -> Device:
    """Measure arithmetic and copies with PyTorch: on the GPU if it sees one, else on this processor."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    name = torch.cuda.get_device_name() if on_gpu else processor
    side, dtype = (SIDE, torch.float16) if on_gpu else (SIDE // 4, torch.float32)
    left, right = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.ones(COPIED_BYTES // dtype.itemsize, device=device, dtype=dtype)
    target = torch.empty_like(source)
    wait = torch.cuda.synchronize if on_gpu else _nothing
    batch, channels, rows, columns = CONVOLVED
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    layer = layer.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    values = torch.rand(CONVOLVED, device=device, dtype=dtype).to(memory_format=torch.channels_last)

    def fastest(step: Callable[[], object]) -> float:
        return min(_seconds(step, wait) for _ in range(PEAK_ROUNDS))

    with torch.inference_mode():
        product = 2.0 * side**3 / fastest(lambda: torch.mm(left, right))
        convolution = 18.0 * batch * channels**2 * rows * columns / fastest(lambda: layer(values))
        copied = 2.0 * COPIED_BYTES / fastest(lambda: target.copy_(source))
    return Device(name, dtype.itemsize, max(product, convolution), copied)


def _nothing() -> None:
    """Wait for a CPU, which is ready when its call returns."""


def _seconds(step: Callable[[], object], wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - start
