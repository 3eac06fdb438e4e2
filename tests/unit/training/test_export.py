"""Export: what the node will run is what was trained."""

import numpy as np
import pytest
import torch

from engines.bundle import load_bundle, read_samples
from engines.manifest import Score
from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment
from tests.support.training_cases import tiny_recipe
from training import networks
from training.errors import ExportError
from training.export import check_parity, write_bundle, write_onnx


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return networks.build(tiny_recipe().network, 3).eval()


def slices(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 32, 32), dtype=np.float32)


def test_a_written_bundle_is_one_that_the_node_loads(network, tmp_path, recwarn) -> None:
    spec = PostprocessingSpec(threshold=0.4, min_lesion_ml=0.01)
    scores = [Score(name="dice", value=0.5, on="three cases")]
    write_bundle(tmp_path / "wmh", network, tiny_recipe(), spec, slices(), scores, "spots", "# card", "none")
    bundle = load_bundle(tmp_path / "wmh")
    assert bundle.manifest.segment is Segment.WMH
    assert bundle.manifest.postprocessing == spec
    assert bundle.manifest.scores == tuple(scores)
    assert read_samples(bundle).shape == (3, 3, 32, 32)
    assert (tmp_path / "wmh" / "card.md").read_text() == "# card"
    assert not recwarn.list  # of the exporter's own code


def test_an_export_that_fails_leaves_the_bundle_that_was_there(network, tmp_path) -> None:
    spec, scores = PostprocessingSpec(threshold=0.4), [Score(name="dice", value=0.5, on="three cases")]
    rest = (spec, slices(), scores, "spots", "# card", "none")
    write_bundle(tmp_path / "wmh", network, tiny_recipe(), *rest)
    before = {path.name: path.read_bytes() for path in (tmp_path / "wmh").iterdir()}
    other = tiny_recipe(network=tiny_recipe().network.model_copy(update={"channels": (8, 800)}))
    with pytest.raises(ExportError, match=r"Export of wmh: .* at most 16"):
        write_bundle(tmp_path / "wmh", networks.build(other.network, 3), other, *rest)
    assert {path.name: path.read_bytes() for path in (tmp_path / "wmh").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["wmh"]


def test_torch_and_onnxruntime_agree_for_any_batch(network, tmp_path) -> None:
    write_onnx(network, tiny_recipe(), tmp_path / "model.onnx")
    for count in (1, 5):
        assert check_parity(network, tmp_path / "model.onnx", slices(count)) < 1e-4


def test_other_weights_than_the_exported_ones_are_noticed(network, tmp_path) -> None:
    write_onnx(network, tiny_recipe(), tmp_path / "model.onnx")
    with torch.no_grad():
        network.head.bias.add_(1.0)
    with pytest.raises(ExportError, match="logits differ"):
        check_parity(network, tmp_path / "model.onnx", slices())


def test_a_network_that_is_too_large_for_a_bundle_is_refused(tmp_path) -> None:
    recipe = tiny_recipe(network=tiny_recipe().network.model_copy(update={"channels": (8, 800)}))
    with pytest.raises(ExportError, match="at most 16"):
        write_onnx(networks.build(recipe.network, 3), recipe, tmp_path / "model.onnx")
