"""Weights of a bundle as the start of a training: nothing is lost on the way out and back."""

import pytest
import torch

from tests.support.training_cases import tiny_recipe
from training import networks
from training.errors import WarmStartError
from training.export import write_onnx
from training.warm_start import load_bundle_weights


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A folder with an exported network whose normalisations have seen something, and its logits."""
    torch.manual_seed(0)
    network, batch = networks.build(tiny_recipe().network, 3), torch.rand(8, 3, 32, 32)
    for _ in range(5):
        network.train()(torch.rand(8, 3, 32, 32))
    with torch.no_grad():
        logits = network.eval()(batch)
    folder = tmp_path_factory.mktemp("bundle")
    write_onnx(network, tiny_recipe(), folder / "model.onnx")
    return folder, batch, logits


def test_a_network_with_a_bundles_weights_finds_the_same(bundle) -> None:
    folder, batch, logits = bundle
    network = networks.build(tiny_recipe().network, 3)
    load_bundle_weights(network, folder, batch)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(batch), logits, atol=1e-3, rtol=0)
        torch.testing.assert_close(network.train()(batch), logits, atol=0.1, rtol=0)


def test_weights_of_another_architecture_are_refused(bundle) -> None:
    settings = tiny_recipe().network.model_copy(update={"channels": (8, 16)})
    with pytest.raises(WarmStartError, match=r"model\.onnx is of another network than the recipe's"):
        load_bundle_weights(networks.build(settings, 3), bundle[0], bundle[1])


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:
    with pytest.raises(WarmStartError, match="cannot be read"):
        load_bundle_weights(networks.build(tiny_recipe().network, 3), tmp_path, torch.zeros(1, 3, 32, 32))


def test_a_model_that_is_damaged_is_refused(bundle, tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(WarmStartError, match="cannot be read"):
        load_bundle_weights(networks.build(tiny_recipe().network, 3), tmp_path, bundle[1])
