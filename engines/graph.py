"""What an ONNX file holds: tensors, operators and size, read without running it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, ValueInfoProto, checker, external_data_helper, numpy_helper

from engines.errors import BundleError

STANDARD_DOMAINS = ("", "ai.onnx")
"""Names of the domain whose operators need no prefix."""

PASSING = ("Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")
"""Operators that hand values on."""

Size = int | str | None
"""One axis of a tensor: its size, the name of a dynamic one, or None for a dynamic one without a name."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network: its name, element type (``float32``) and shape."""

    name: str
    dtype: str
    shape: tuple[Size, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} ({sizes})"


@dataclass(frozen=True, slots=True)
class Graph:
    """What an ONNX file holds.

    Attributes:
        opset: version of the standard operator set; 0 if it uses none of it.
        inputs: what has to be given, weights left out.
        outputs: what comes back.
        operators: how often each operator occurs, most frequent first; ``domain:Name`` outside the standard.
        ends_with: the operator that makes the first output, as ``Conv``; "" if there is none.
        parameters: number of weights.
        size_bytes: of the file.
    """

    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: dict[str, int]
    ends_with: str
    parameters: int
    size_bytes: int


def read_graph(path: Path) -> Graph:
    """Read what an ONNX file holds.

    Raises: BundleError: if it cannot be read, is no valid ONNX or keeps its weights in another file; names
        the file.
    """
    model = _load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = Counter(_operator(node.domain, node.op_type) for node in model.graph.node)
    return Graph(
        opset=max(
            (entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), default=0
        ),
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in weights),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        operators=dict(nodes.most_common()),
        ends_with=_last_operator(model),
        parameters=sum(numpy_helper.to_array(tensor).size for tensor in model.graph.initializer),
        size_bytes=path.stat().st_size,
    )


def _load(path: Path) -> ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
        if any(map(external_data_helper.uses_external_data, model.graph.initializer)):
            raise BundleError(
                path.name, "model.file", "keeps its weights in another file: save it as one file"
            )
        checker.check_model(model)
    except (OSError, DecodeError, checker.ValidationError) as exc:
        raise BundleError(path.name, "model.file", f"is no valid ONNX: {exc}") from exc
    return model


def _last_operator(model: ModelProto) -> str:
    """Return the operator that makes the first output, behind those that change no value."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name) if model.graph.output else None
    while node is not None and node.op_type in PASSING:
        node = makers.get(node.input[0])
    return "" if node is None else _operator(node.domain, node.op_type)


def _operator(domain: str, name: str) -> str:
    return name if domain in STANDARD_DOMAINS else f"{domain}:{name}"


def _tensor(value: ValueInfoProto) -> Tensor:
    held = value.type.tensor_type
    dtype = "no tensor" if not held.elem_type else onnx.helper.tensor_dtype_to_np_dtype(held.elem_type).name
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in held.shape.dim
    )
    return Tensor(value.name, dtype, shape)
