"""A precision is written into all of a network, whether its numbers are weights or constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from engines.precision import Precision
from engines.typed_onnx import write_precision

TYPES = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}

FACTOR = 1e6
"""Beyond the largest float16, and a number of bfloat16 but for its rounding."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a network that enlarges twice and multiplies, both by constants as some exporters write them."""

    def constant(name: str, values: list[float]) -> onnx.NodeProto:
        tensor = numpy_helper.from_array(np.array(values, np.float32))
        return helper.make_node("Constant", [], [name], value=tensor)

    nodes = [
        constant("scales", [1, 1, 2, 2]),
        constant("factor", [FACTOR]),
        helper.make_node("Conv", ["slices", "weight"], ["filtered"]),
        helper.make_node("Resize", ["filtered", "", "scales"], ["larger"]),
        helper.make_node("Mul", ["larger", "factor"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constants",
        [helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "weight")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    return path


@pytest.mark.parametrize("precision", TYPES)
def test_constants_have_the_type_of_the_weights(model: Path, precision: Precision) -> None:
    typed = onnx.load_from_string(write_precision(model, precision, "slices", None))
    onnx.checker.check_model(typed)
    shape_inference.infer_shapes(typed, check_type=True, strict_mode=True)
    constants = {
        node.output[0]: node.attribute[0].t for node in typed.graph.node if node.op_type == "Constant"
    }
    assert constants["factor"].data_type == TYPES[precision]
    assert [tensor.data_type for tensor in typed.graph.initializer] == [TYPES[precision]]
    assert constants["scales"].data_type == TensorProto.FLOAT, "by the ONNX standard"
    np.testing.assert_array_equal(numpy_helper.to_array(constants["scales"]), [1, 1, 2, 2])
    factor = numpy_helper.to_array(constants["factor"]).astype(np.float32)
    expected = 65504 if precision is Precision.FP16 else FACTOR
    assert factor == pytest.approx(expected, rel=2**-8)
