"""Whether a faster runner may stand for the reference: the same lesions on the same slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from engines.components import label
from engines.runners.base import Runner

MIN_DICE = 0.999
"""Least overlap of the two masks."""

MAX_VOLUME_CHANGE = 0.005
"""Largest difference of the two volumes, share of the reference."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two runners agree on the same slices.

    Attributes:
        agrees: whether the candidate may be used.
        reason: one sentence.
        dice: overlap of the two masks, 0 to 1.
        volume_change: difference of the volumes, share of the reference.
        lesions: number of lesions of the reference and of the candidate.
    """

    agrees: bool
    reason: str
    dice: float
    volume_change: float
    lesions: tuple[int, int]


def prove(reference: Runner, candidate: Runner, slices: NDArray[np.float32], threshold: float) -> Agreement:
    """Run both on the same slices and compare what they find.

    Args:
        reference: the runner that is right by definition.
        candidate: the faster one.
        slices: (n, channels, rows, columns), neighbouring slices that show lesions.
        threshold: probability from which on a pixel is lesion.

    Raises: RunnerError: if one of them fails.
    """
    return compare(reference.run(slices), candidate.run(slices), threshold)


def compare(reference: NDArray[np.float32], candidate: NDArray[np.float32], threshold: float) -> Agreement:
    """Compare two sets of logits (n, 1, rows, columns) as masks of lesions."""
    if reference.shape != candidate.shape or not np.isfinite(candidate).all():
        return Agreement(False, "the logits have another shape or are not finite", 0.0, 1.0, (0, 0))
    level = logit(threshold)
    expected, found = reference[:, 0] >= level, candidate[:, 0] >= level
    total = int(expected.sum())
    if total == 0:
        return Agreement(False, "the slices show no lesion, so they prove nothing", 0.0, 1.0, (0, 0))
    dice = 2 * int((expected & found).sum()) / (total + int(found.sum()))
    change = abs(int(found.sum()) - total) / total
    lesions = (label(expected)[1], label(found)[1])
    agrees = dice >= MIN_DICE and change <= MAX_VOLUME_CHANGE and lesions[0] == lesions[1]
    facts = f"Dice {dice:.4f}, volume {change:.2%} off, {lesions[1]} of {lesions[0]} lesions"
    return Agreement(agrees, facts, dice, change, lesions)
