"""Losses against the imbalance of tiny lesions: an overlap and a voxel term, unlabelled pixels left out.

Convention: logits and targets are (batch, 1, rows, columns); targets are 0, 1 or ``IGNORE``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.recipe import LossSettings

IGNORE = 255
"""Target value of a pixel that neither rewards nor punishes: one data set labels it, another does not."""

FALSE_ALARM = 2
"""Target value of a pixel that a network took for a lesion: background that training looks at more often."""

SMOOTHING = 1.0
"""Added to both parts of an overlap ratio, pixels; keeps slices without a lesion defined."""


def tversky_loss(logits: Tensor, targets: Tensor, valid: Tensor, miss_weight: float) -> Tensor:
    """Return one minus the Tversky index over the whole batch; 0.5 makes it the Dice loss.

    Args:
        logits: (batch, 1, rows, columns) float.
        targets: same shape, 0 or 1.
        valid: same shape, 1 where the target counts.
        miss_weight: weight of a missed pixel; a false one weighs ``1 - miss_weight``.

    Source: Salehi et al., 2017, Tversky loss for lesions that few pixels make up.
    """
    found = torch.sigmoid(logits) * valid
    hit = (found * targets).sum()
    missed = ((valid - found) * targets).sum()
    false = (found * (1 - targets)).sum()
    overlap = hit + SMOOTHING
    return 1 - overlap / (overlap + miss_weight * missed + (1 - miss_weight) * false)


def focal_loss(
    logits: Tensor, targets: Tensor, valid: Tensor, gamma: float, positive_weight: float
) -> Tensor:
    """Return the focal cross-entropy, mean over valid pixels; ``gamma`` 0 makes it the plain one.

    Args:
        logits: (batch, 1, rows, columns) float.
        targets: same shape, 0 or 1.
        valid: same shape, 1 where the target counts.
        gamma: how strongly easy pixels are played down.
        positive_weight: weight of a lesion pixel against another one.

    Source: Lin et al., ICCV 2017.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    modulation = (1 - torch.exp(-entropy)) ** gamma
    weight = valid * (1 + (positive_weight - 1) * targets)
    return (modulation * entropy * weight).sum() / valid.sum().clamp(min=1)


def build(settings: LossSettings) -> Callable[[Tensor | Sequence[Tensor], Tensor], Tensor]:
    """Return the recipe's loss: logits (one tensor, or finest first) and targets to a scalar.

    Coarser logits meet targets that are pooled by maximum, so that a tiny lesion survives; a cell with a
    pixel that does not count is left out. Each level has half the weight of the finer one.
    """

    def at_one_level(logits: Tensor, targets: Tensor) -> Tensor:
        valid = (targets != IGNORE).to(logits.dtype)
        lesion = (targets == 1).to(logits.dtype)
        overlap = tversky_loss(logits, lesion, valid, settings.miss_weight)
        entropy = focal_loss(logits, lesion, valid, settings.focal_gamma, settings.positive_weight)
        return settings.overlap_weight * overlap + settings.entropy_weight * entropy

    def loss(logits: Tensor | Sequence[Tensor], targets: Tensor) -> Tensor:
        levels = [logits] if isinstance(logits, Tensor) else list(logits)
        total, weights = torch.zeros((), device=targets.device), 0.0
        for depth, level in enumerate(levels):
            stride = targets.shape[-1] // level.shape[-1]
            pooled = functional.max_pool2d(targets.float(), stride) if stride > 1 else targets.float()
            total = total + 0.5**depth * at_one_level(level.float(), pooled)
            weights += 0.5**depth
        return total / weights

    return loss
