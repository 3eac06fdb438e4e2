"""Which prepared slices a step of training learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.cases import CaseKind
from training.losses import FALSE_ALARM
from training.slices import PreparedCase

ALARM_SHARE = 0.6
"""Share of slices that are not drawn for a lesion, but for a false alarm if their case has one."""


class Sampler:
    """Draws batches of slices: first a kind of case by its weight, then a case evenly, then a slice of it.

    Where networks raised false alarms, slices with one are drawn more often, and the alarm is marked.

    Args:
        cases: what to draw from.
        weights: weight of each kind of case; kinds that no case has are left out.
        lesion_share: share of slices with a lesion; 0 draws evenly from all slices of a case.
        seed: a draw depends on this and on the step alone, so a resumed run goes on with the same batches.
    """

    def __init__(
        self, cases: Sequence[PreparedCase], weights: Mapping[CaseKind, float], lesion_share: float, seed: int
    ) -> None:
        self._cases, self._lesion_share, self._seed = list(cases), lesion_share, seed
        self._lesion_slices = [np.flatnonzero((case.targets == 1).any(axis=(1, 2))) for case in self._cases]
        self._by_kind = {
            kind: [number for number, case in enumerate(self._cases) if case.kind is kind] for kind in weights
        }
        kinds = [kind for kind in weights if self._by_kind[kind]]
        total = sum(weights[kind] for kind in kinds)
        self._kinds, self._shares = kinds, [weights[kind] / total for kind in kinds]

    @property
    def slices(self) -> int:
        """Number of slices that can be drawn."""
        return sum(
            len(self._cases[number].images) for numbers in self._by_kind.values() for number in numbers
        )

    def draw(self, step: int, batch: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return images (batch, channels, rows, columns) and targets (batch, 1, rows, columns) of a step."""
        rng = np.random.default_rng([self._seed, step])
        images, targets = [], []
        for _ in range(batch):
            kind = self._kinds[int(rng.choice(len(self._kinds), p=self._shares))]
            number = int(rng.choice(self._by_kind[kind]))
            case, lesions = self._cases[number], self._lesion_slices[number]
            wanted = rng.random() < self._lesion_share and len(lesions) > 0
            chosen = int(rng.choice(lesions)) if wanted else _other_slice(case, rng)
            target = np.array(case.targets[chosen])
            here = case.alarms[case.alarms[:, 0] == chosen]
            target[here[:, 1], here[:, 2]] = FALSE_ALARM
            images.append(case.images[chosen])
            targets.append(target[None])
        # torch widens several times as fast as numpy does
        return torch.from_numpy(np.stack(images)).float().numpy(), np.stack(targets)


def _other_slice(case: PreparedCase, rng: np.random.Generator) -> int:
    """Draw one with a false alarm, if the case has one, or any."""
    if len(case.alarms) and rng.random() < ALARM_SHARE:
        return int(rng.choice(case.alarms[:, 0]))
    return int(rng.integers(len(case.images)))
