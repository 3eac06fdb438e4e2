"""Whether a faster runner may stand for the reference: the same lesions on the same slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.components import label
from engines.postprocessing import PostprocessingSpec, lesion_pixels
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
        lesions: number of lesions of the reference and of the candidate, those without a peak left out.
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
        spec: what counts as a lesion.
    """

    def __init__(
        self,
        open_reference: Callable[[], Runner],
        slices: NDArray[np.float32] | None,
        spec: PostprocessingSpec,
    ) -> None:
        self._open_reference, self._slices, self._spec = open_reference, slices, spec
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
        return compare(self._expected, candidate.run(self._slices), self._spec)


def compare(
    reference: NDArray[np.float32], candidate: NDArray[np.float32], spec: PostprocessingSpec
) -> Agreement:
    """Compare two sets of logits as masks of the lesions that would be reported.

    Args:
        reference: (slices, 1, rows, columns) logits that are right by definition.
        candidate: the same of the other runner.
        spec: what counts as a lesion; of that, the smallest volume does not count here.
    """
    for logits, whose in ((reference, "the reference's"), (candidate, "its")):
        if logits.shape != reference.shape or not np.isfinite(logits).all():
            return Agreement(False, f"{whose} logits have another shape or are not finite", 0.0, 1.0, (0, 0))
    expected, found = lesion_pixels(reference, spec), lesion_pixels(candidate, spec)
    total = int(expected.sum())
    if total == 0:
        return Agreement(False, NO_LESION, 0.0, 1.0, (0, 0))
    dice = 2 * int((expected & found).sum()) / (total + int(found.sum()))
    change = abs(int(found.sum()) - total) / total
    lesions = (label(expected)[1], label(found)[1])
    agrees = dice >= MIN_DICE and change <= MAX_VOLUME_CHANGE and lesions[0] == lesions[1]
    facts = f"Dice {dice:.4f}, volume {change:.2%} off, {lesions[1]} of {lesions[0]} lesions"
    return Agreement(agrees, facts, dice, change, lesions)
