"""Losses against values worked out by hand."""

import math

import pytest
import torch

from training import losses
from training.losses import IGNORE, focal_loss, tversky_loss
from training.recipe import LossSettings

SURE = 100.0  # a logit whose sigmoid is 1


def as_map(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_tversky_loss_weighs_misses_and_false_alarms() -> None:
    # one hit, one missed, one false: 1 - (1 + 1) / (1 + 1 + 0.7 + 0.3)
    loss = tversky_loss(as_map(SURE, -SURE, SURE), as_map(1.0, 1.0, 0.0), as_map(1.0, 1.0, 1.0), 0.7)
    assert loss.item() == pytest.approx(1 - 2 / 3)


def test_tversky_loss_of_a_perfect_mask_is_zero() -> None:
    loss = tversky_loss(as_map(SURE, -SURE), as_map(1.0, 0.0), as_map(1.0, 1.0), 0.5)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_focal_loss_without_focus_is_the_cross_entropy() -> None:
    loss = focal_loss(as_map(0.0, 0.0), as_map(1.0, 0.0), as_map(1.0, 1.0), gamma=0.0, positive_weight=1.0)
    assert loss.item() == pytest.approx(math.log(2))


def test_focal_loss_plays_easy_pixels_down() -> None:
    # probability one half: (1 - 1/2) ** 2 * ln 2, and a lesion pixel three times that
    loss = focal_loss(as_map(0.0, 0.0), as_map(1.0, 0.0), as_map(1.0, 1.0), gamma=2.0, positive_weight=3.0)
    assert loss.item() == pytest.approx(0.25 * math.log(2) * (3 + 1) / 2)


def test_ignored_pixels_change_nothing() -> None:
    loss = losses.build(LossSettings(overlap_weight=1.0, entropy_weight=1.0))
    targets = torch.tensor([1, 0, IGNORE], dtype=torch.uint8).view(1, 1, 1, 3)
    assert loss(as_map(2.0, -1.0, 9.0), targets) == loss(as_map(2.0, -1.0, -9.0), targets)


def test_a_lesion_of_one_pixel_survives_in_the_coarser_target() -> None:
    loss = losses.build(LossSettings(overlap_weight=0.0, entropy_weight=1.0))
    targets = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    targets[0, 0, 3, 3] = 1
    fine, coarse = torch.full((1, 1, 4, 4), -SURE), torch.full((1, 1, 2, 2), -SURE)
    fine[0, 0, 3, 3] = coarse[0, 0, 1, 1] = SURE
    assert loss([fine, coarse], targets).item() == pytest.approx(0.0, abs=1e-6)
