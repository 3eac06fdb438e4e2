from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import BundleError
from engines.graph import Tensor, read_graph
from tests.support.onnx_models import write_threshold_model


def test_a_graph_tells_tensors_operators_and_weights(tmp_path: Path) -> None:
    """A 1x1 convolution of three channels to one: three weights and a bias."""
    path = tmp_path / "model.onnx"
    write_threshold_model(path, channels=3)
    graph = read_graph(path)
    assert graph.inputs == (Tensor("slices", "float32", ("batch", 3, 64, 64)),)
    assert graph.outputs == (Tensor("logits", "float32", ("batch", 1, 64, 64)),)
    assert graph.operators == {"Conv": 1}
    assert graph.parameters == 4
    assert graph.opset == 18
    assert graph.size_bytes == path.stat().st_size


@pytest.mark.parametrize("standard", [18, 0], ids=["both-sets", "no-standard-set"])
def test_operators_outside_the_standard_bear_their_domain(tmp_path: Path, standard: int) -> None:
    path = tmp_path / "model.onnx"
    shape = ["batch", 1, 64, 64]
    graph = helper.make_graph(
        [helper.make_node("Shine", ["slices"], ["logits"], domain="org.example")],
        "own",
        [helper.make_tensor_value_info("slices", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("org.example", 1)]
    opsets += [helper.make_opsetid("", standard)] if standard else []
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    found = read_graph(path)
    assert (found.operators, found.opset) == ({"org.example:Shine": 1}, standard)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_threshold_model(path)
    model = onnx.load(str(path))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4096, np.float32), "ballast"))
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(BundleError, match="another file"):
        read_graph(path)


@pytest.mark.parametrize("content", [b"not a model", None], ids=["damaged", "missing"])
def test_a_file_that_is_no_onnx_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"mine\.onnx"):
        read_graph(path)
