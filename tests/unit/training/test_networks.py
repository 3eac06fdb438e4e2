"""Networks: layer counts, shapes, and what training adds."""

import pytest
import torch
from torch import nn

from training import networks
from training.networks import SlabBlock
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


def test_a_block_of_a_slab_is_a_3d_convolution() -> None:
    torch.manual_seed(0)
    block = SlabBlock(2, 4, slab=5).eval()
    x = torch.rand(3 * 5, 2, 8, 8)  # three slabs
    first = block.body[0]
    weight = first.weight.view(4, 3, 2, 3, 3).transpose(1, 2)  # (out, in, slices, rows, columns)
    volume = x.view(3, 5, 2, 8, 8).transpose(1, 2)
    expected = nn.functional.conv3d(volume, weight, padding=1).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(block(x), nn.Sequential(*list(block.body)[1:])(expected), rtol=1e-4, atol=1e-5)


def test_a_slab_network_answers_for_the_middle_slice() -> None:
    network = build(10, channels=(8, 8), slab=5).eval()  # two Series
    assert network(torch.zeros(2, 10, 16, 16)).shape == (2, 1, 16, 16)
    torch.manual_seed(0)
    x = torch.rand(1, 10, 16, 16)
    changed = x.clone()
    changed[0, 7, 4, 4] += 10  # the middle slice of the second Series
    difference = (network(changed) - network(x)).abs()[0, 0]
    assert difference[4, 4] > 0


def test_a_slim_decoder_narrows_each_level_before_it_is_upsampled() -> None:
    network = build(channels=(8, 16, 32), slim_decoder=True).eval()
    assert [(layer.in_channels, layer.out_channels) for layer in network.narrowing] == [(32, 16), (16, 8)]
    assert [block[0].in_channels for block in network.decoder] == [16 + 16, 8 + 8]
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)


def test_deep_supervision_adds_coarser_logits_in_training_only() -> None:
    network = build(channels=(8, 8, 8), fold=2, deep_supervision=True)
    shapes = [tuple(level.shape[2:]) for level in network(torch.zeros(2, 1, 32, 32))]
    assert shapes == [(32, 32), (8, 8)]
    assert network.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)


def test_an_untrained_network_sees_no_lesion_in_an_empty_slice() -> None:
    network = build(channels=(8, 8)).eval()
    assert network(torch.zeros(1, 1, 16, 16)).max() < -3


def test_the_average_of_networks_has_their_mean_weights() -> None:
    members = [build(channels=(8, 8), fold=2) for _ in range(2)]
    mean = networks.average(members)
    for name, value in mean.state_dict().items():
        if value.is_floating_point():
            expected = (members[0].state_dict()[name] + members[1].state_dict()[name]) / 2
            torch.testing.assert_close(value, expected)
