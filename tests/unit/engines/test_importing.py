from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import load_bundle, read_samples
from engines.errors import BundleError, RunnerUnavailableError
from engines.importing import import_bundle
from engines.runners import choice
from engines.runners.base import RunnerKind, RunnerSettings
from engines.runners.choice import Machine
from tests.support.onnx_models import write_threshold_model

DAY = date(2026, 11, 25)

HERE = Machine()

DESCRIPTION: dict[str, Any] = {
    "name": "other",
    "version": "1.0",
    "segment": "WMH",
    "inputs": ["T2_FLAIR"],
    "preprocessing": {"pixel_grid": [64, 64], "fit": "pad_resize", "normalisation": "white_matter_peak"},
    "licence": "CC0-1.0",
    "training_data": "none",
    "recipe": "none",
    "scores": [],
}


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "description.yaml"
    path.write_text(yaml.safe_dump(DESCRIPTION))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.onnx"
    write_threshold_model(path, input_name="image", output_name="mask")
    return path


def with_lesion(_: object) -> np.ndarray:
    slices = np.ones((4, 1, 64, 64), np.float32)
    slices[1:3, 0, 20:30, 20:30] = 2.0
    return slices


def save(path: Path, nodes: list[Any], initializers: list[Any] | None = None, **shapes: Any) -> None:
    """Write a graph from ``slices`` to ``logits``, unchecked as some exporters write them."""
    shape = shapes.get("shape", ["batch", 1, 64, 64])
    inputs = [helper.make_tensor_value_info("slices", TensorProto.FLOAT, shape)]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in shapes.get("more", [])
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shapes.get("output", shape))]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers or [])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("org.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))


def test_what_the_files_say_themselves_is_filled_in(tmp_path: Path, model: Path, description: Path) -> None:
    bundle, trials = import_bundle(model, description, tmp_path / "mine", DAY, HERE, with_lesion)
    manifest = bundle.manifest
    assert (manifest.model.input, manifest.model.output) == ("image", "mask")
    assert manifest.created == DAY
    assert load_bundle(tmp_path / "mine") == bundle
    samples = read_samples(bundle)
    assert samples is not None
    np.testing.assert_array_equal(samples, with_lesion(None))
    assert trials[0].runner is RunnerKind.ONNXRUNTIME
    assert {RunnerKind.ONNXRUNTIME, RunnerKind.OPENVINO} <= {trial.runner for trial in trials}
    for trial in trials:
        if trial.runner in (RunnerKind.ONNXRUNTIME, RunnerKind.OPENVINO):
            assert trial.agreement is not None
            assert trial.agreement.agrees
            assert trial.agreement.lesions == (1, 1)


def test_a_trial_keeps_to_the_configured_machine(
    tmp_path: Path, model: Path, description: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans that a GPU's runner compiles for the trial lie where the node looks for them, not anywhere."""
    asked: list[Machine] = []

    def refuse(candidate: choice._Candidate) -> NoReturn:
        asked.append(candidate.machine)
        raise RunnerUnavailableError("tensorrt", "this is a test")

    monkeypatch.setitem(choice.OPENERS, RunnerKind.TENSORRT, refuse)
    configured = Machine(RunnerSettings(threads=1), folder=tmp_path / "plans")
    import_bundle(model, description, tmp_path / "mine", DAY, configured, with_lesion)
    assert [(one.folder, one.limits.threads) for one in asked] == [(tmp_path / "plans", 1)]


def test_without_samples_the_bundle_has_none(tmp_path: Path, model: Path, description: Path) -> None:
    bundle, trials = import_bundle(model, description, tmp_path / "mine", DAY, HERE)
    assert bundle.manifest.samples is None
    assert trials[0].largest_difference == 0.0


def test_a_folder_that_is_there_is_never_touched(tmp_path: Path, model: Path, description: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match="is there already"):
        import_bundle(model, description, tmp_path / "mine", DAY, HERE)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(lambda d: d.pop("licence"), "licence", id="missing"),
        pytest.param(lambda d: d.update(inputs=["T3"]), "inputs", id="series"),
        pytest.param(lambda d: d.update(thresold=1), "thresold", id="unknown"),
        pytest.param(lambda d: d.update(model="theirs.onnx"), "model", id="model-no-mapping"),
        pytest.param(lambda d: d["preprocessing"].update(pixel_grid=[64, 96]), "model.input", id="grid"),
        pytest.param(lambda d: d["preprocessing"].update(neighbours=1), "model.input", id="channels"),
    ],
)
def test_a_wrong_description_is_refused_by_field_and_leaves_nothing(
    tmp_path: Path, model: Path, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    content = yaml.safe_load(yaml.safe_dump(DESCRIPTION))
    change(content)
    path = tmp_path / "description.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(BundleError, match=field):
        import_bundle(model, path, tmp_path / "made" / "mine", DAY, HERE)
    assert not list((tmp_path / "made").glob("**/*"))


@pytest.mark.parametrize("text", ["just text", "a: ["], ids=["no-mapping", "broken"])
def test_a_description_that_can_not_be_read_is_refused(tmp_path: Path, model: Path, text: str) -> None:
    path = tmp_path / "description.yaml"
    path.write_text(text)
    with pytest.raises(BundleError, match=r"description\.yaml"):
        import_bundle(model, path, tmp_path / "mine", DAY, HERE)


def test_an_operator_that_no_runner_has_is_named(tmp_path: Path, description: Path) -> None:
    path = tmp_path / "theirs.onnx"
    save(path, [helper.make_node("Shine", ["slices"], ["logits"], domain="org.example")])
    with pytest.raises(BundleError, match="Shine"):
        import_bundle(path, description, tmp_path / "mine", DAY, HERE)
    assert not (tmp_path / "mine").exists()


def test_an_operator_that_one_runner_lacks_is_named_and_the_others_serve(
    tmp_path: Path, description: Path
) -> None:
    """OpenVINO has no Det; onnxruntime has. The determinant of zeros adds nothing."""
    path = tmp_path / "theirs.onnx"
    zero = numpy_helper.from_array(np.zeros((2, 2), np.float32), "zero")
    save(
        path,
        [
            helper.make_node("Det", ["zero"], ["none"]),
            helper.make_node("Add", ["slices", "none"], ["logits"]),
        ],
        [zero],
    )
    _, trials = import_bundle(path, description, tmp_path / "mine", DAY, HERE)
    lacking = {trial.runner: trial.lacking for trial in trials}
    assert lacking[RunnerKind.ONNXRUNTIME] == ()
    assert lacking[RunnerKind.OPENVINO] == ("Det",)
    assert not any(re.search(r"\n|\.cpp:", trial.problem) for trial in trials)


def test_a_network_with_two_inputs_is_refused_with_their_names(tmp_path: Path, description: Path) -> None:
    path = tmp_path / "theirs.onnx"
    save(path, [helper.make_node("Add", ["slices", "age"], ["logits"])], more=["age"])
    with pytest.raises(BundleError, match=r"model\.input.*age"):
        import_bundle(path, description, tmp_path / "mine", DAY, HERE)


def test_a_network_whose_slices_depend_on_their_batch_is_refused(tmp_path: Path, description: Path) -> None:
    """Subtracting the mean over the batch is what batch normalisation does in training mode."""
    path = tmp_path / "theirs.onnx"
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    save(
        path,
        [
            helper.make_node("ReduceMean", ["slices", "axes"], ["mean"]),
            helper.make_node("Sub", ["slices", "mean"], ["logits"]),
        ],
        [axes],
    )
    with pytest.raises(BundleError, match="training mode"):
        import_bundle(path, description, tmp_path / "mine", DAY, HERE, with_lesion)


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([helper.make_node("Sigmoid", ["slices"], ["logits"])], "Sigmoid"),
        (
            [
                helper.make_node("Greater", ["slices", "slices"], ["mask"]),
                helper.make_node("Cast", ["mask"], ["logits"], to=TensorProto.FLOAT),
            ],
            "Greater",
        ),
    ],
)
def test_probabilities_and_masks_are_not_taken_for_logits(
    tmp_path: Path, description: Path, nodes: list[Any], named: str
) -> None:
    """Of probabilities the node would make probabilities from 0.5 to 0.73: all of the head a lesion."""
    save(tmp_path / "theirs.onnx", nodes)
    with pytest.raises(BundleError, match=rf"model\.output: comes of {named}, so it is no logit"):
        import_bundle(tmp_path / "theirs.onnx", description, tmp_path / "mine", DAY, HERE)
    assert not (tmp_path / "mine").exists()


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path, description: Path) -> None:
    nodes = [helper.make_node("Neg", ["slices"], ["minus"]), helper.make_node("Log", ["minus"], ["logits"])]
    save(tmp_path / "theirs.onnx", nodes)
    with pytest.raises(BundleError, match="some logits are no finite numbers"):
        import_bundle(tmp_path / "theirs.onnx", description, tmp_path / "mine", DAY, HERE)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        pytest.param(["batch", 64, 64, 1], "channels are the last axis", id="input"),
        pytest.param(["batch", 2, 64, 64], "2 channels, expected 1: export the logit of lesion", id="output"),
    ],
)
def test_axes_and_classes_of_other_frameworks_get_advice(
    tmp_path: Path, description: Path, shape: list[Any], problem: str
) -> None:
    double = [helper.make_node("Concat", ["slices", "slices"], ["logits"], axis=1)]
    same = [helper.make_node("Neg", ["slices"], ["logits"])]
    last = shape[-1] == 1
    save(
        tmp_path / "theirs.onnx",
        same if last else double,
        shape=shape if last else ["batch", 1, 64, 64],
        output=shape,
    )
    with pytest.raises(BundleError, match=problem):
        import_bundle(tmp_path / "theirs.onnx", description, tmp_path / "mine", DAY, HERE)
