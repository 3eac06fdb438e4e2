"""The least time that a network can take on a device: its arithmetic and its traffic over what was measured.

Convention: one multiply-add is two FLOP. Bytes are those of every layer's input, output and weights once, in
float32: what crosses the memory when no layer keeps its result in a cache. A fused runtime moves less, so
the bound by traffic may be passed, the bound by arithmetic not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import shape_inference

FLOAT_BYTES = 4
"""Bytes of a float32."""

PEAK_ROUNDS = 5
"""Times that a peak is measured; the best counts."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a network does to one slice: floating point operations, and bytes in and out of its layers."""

    flop: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Device:
    """What a device was measured to do: FLOP a second in matrix products, bytes a second in copies."""

    name: str
    flop_s: float
    bytes_s: float

    def least_ms(self, work: Work, slices: int) -> tuple[float, float]:
        """Return the least time of so many slices, ms: by arithmetic and by traffic."""
        return 1e3 * slices * work.flop / self.flop_s, 1e3 * slices * work.bytes / self.bytes_s


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
    return Work(flop, float(FLOAT_BYTES * sum(math.prod(shapes[name]) for name in tensors)))


def measure_cpu(name: str) -> Device:
    """Measure float32 matrix products and copies with NumPy on all cores that it uses."""
    generator = np.random.default_rng(0)
    left, right = (generator.random((1536, 1536), np.float32) for _ in range(2))
    source = np.ones(1 << 26, np.float32)
    target = np.empty_like(source)
    product_s = min(_seconds(lambda: left @ right) for _ in range(PEAK_ROUNDS))
    copy_s = min(_seconds(lambda: np.copyto(target, source)) for _ in range(PEAK_ROUNDS))
    return Device(name, 2.0 * 1536**3 / product_s, 2.0 * source.nbytes / copy_s)


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
