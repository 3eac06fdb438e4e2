"""Networks: layer counts, shapes, and what training adds."""

import pytest
import torch
from torch import nn

from training import networks
from training.recipe import NetworkSettings


def build(inputs: int = 1, **settings) -> nn.Module:
    return networks.build(NetworkSettings(**settings), inputs)


def test_the_published_network_has_19_convolution_layers_in_nine_blocks() -> None:
    network = build(channels=(16, 32, 64, 128, 256))
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 19
    assert len(network.encoder) + len(network.decoder) == 9


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
def test_logits_have_the_size_of_the_input(fold, residual) -> None:
    network = build(3, channels=(8, 16), fold=fold, residual=residual).eval()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 32, 32)


def test_deep_supervision_adds_coarser_logits_in_training_only() -> None:
    network = build(channels=(8, 8, 8), fold=2, deep_supervision=True)
    shapes = [tuple(level.shape[2:]) for level in network(torch.zeros(2, 1, 32, 32))]
    assert shapes == [(32, 32), (8, 8)]
    assert network.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)


def test_an_untrained_network_sees_no_lesion_in_an_empty_slice() -> None:
    network = build(channels=(8, 8)).eval()
    assert network(torch.zeros(1, 1, 16, 16)).max() < -3
