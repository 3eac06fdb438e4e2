"""Whether a faster runner may stand for the reference: the same lesions on the same slices."""

from __future__ import annotations

from collections.abc import Callable
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

NO_SLICES = "there are no sample slices to prove it on"
"""Why a candidate of a bundle without samples is not taken."""

NO_LESION = "the slices show no lesion, so they prove nothing"
"""Why a candidate is not taken on slices that the reference finds nothing on."""


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


class Referee:
    """Compares candidates with the reference, which runs once.

    Args:
        open_reference: opens the runner that is right by definition.
        slices: (n, channels, rows, columns), neighbouring slices with lesions, or None if there are none.
        threshold: probability from which on a pixel is lesion.
    """

    def __init__(
        self, open_reference: Callable[[], Runner], slices: NDArray[np.float32] | None, threshold: float
    ) -> None:
        self._open_reference, self._slices, self._threshold = open_reference, slices, threshold
        self._expected: NDArray[np.float32] | None = None

    @property
    def can_judge(self) -> bool:
        """Whether there are slices to compare on."""
        return self._slices is not None

    def check(self, candidate: Runner) -> Agreement:
        """Run a candidate on the slices and compare what it finds.

        Raises: RunnerError: if it fails, or the reference does.
        """
        if self._slices is None:
            return Agreement(False, NO_SLICES, 0.0, 1.0, (0, 0))
        if self._expected is None:
            with self._open_reference() as reference:
                self._expected = reference.run(self._slices)
        return compare(self._expected, candidate.run(self._slices), self._threshold)


def compare(reference: NDArray[np.float32], candidate: NDArray[np.float32], threshold: float) -> Agreement:
    """Compare two sets of logits (n, 1, rows, columns) as masks of lesions."""
    if reference.shape != candidate.shape or not np.isfinite(candidate).all():
        return Agreement(False, "the logits have another shape or are not finite", 0.0, 1.0, (0, 0))
    level = logit(threshold)
    expected, found = reference[:, 0] >= level, candidate[:, 0] >= level
    total = int(expected.sum())
    if total == 0:
        return Agreement(False, NO_LESION, 0.0, 1.0, (0, 0))
    dice = 2 * int((expected & found).sum()) / (total + int(found.sum()))
    change = abs(int(found.sum()) - total) / total
    lesions = (label(expected)[1], label(found)[1])
    agrees = dice >= MIN_DICE and change <= MAX_VOLUME_CHANGE and lesions[0] == lesions[1]
    facts = f"Dice {dice:.4f}, volume {change:.2%} off, {lesions[1]} of {lesions[0]} lesions"
    return Agreement(agrees, facts, dice, change, lesions)
