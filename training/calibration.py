"""Calibration: probabilities that mean what they say on whole slices.

Batches hold more lesions than patients do, so a network that learned from them is too sure of itself. A scale
and a shift of its logits, fitted on validation slices, mend that; they are folded into the last layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_expit

from training.errors import MissingWeightsError
from training.inference import predict
from training.losses import IGNORE
from training.networks import UNet
from training.run_folder import CALIBRATION
from training.slices import PreparedCase
from training.whole_files import write_text_whole

LIMIT, BINS = 40.0, 1600
"""Logits are counted from minus to plus this, in so many bins of 0.05: finer than any threshold needs."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logit x becomes ``scale * x + shift``."""

    scale: float = 1.0
    shift: float = 0.0

    def fold_into(self, network: UNet) -> None:
        """Change the last layer so that the network's logits are calibrated."""
        bias = network.head.bias
        with torch.no_grad():
            network.head.weight.mul_(self.scale)
            if bias is not None:
                bias.mul_(self.scale).add_(self.shift)


def count_logits(network: UNet, cases: Iterable[PreparedCase]) -> NDArray[np.int64]:
    """Return (2, bins): how many pixels outside and inside lesions have which logit."""
    counts = np.zeros((2, BINS), dtype=np.int64)
    device = next(network.parameters()).device
    for case in cases:
        logits = predict(network, np.asarray(case.images, dtype=np.float32), device)[:, 0]
        bins = ((logits + LIMIT) * (BINS / (2 * LIMIT))).astype(np.int64).clip(0, BINS - 1)
        targets = np.asarray(case.targets)
        for value in (0, 1):
            counts[value] += np.bincount(bins[(targets == value) & (targets != IGNORE)], minlength=BINS)
    return counts


def fit(counts: NDArray[np.int64]) -> Calibration:
    """Return the scale and shift of the least cross-entropy; unchanged without a pixel of each kind.

    Args:
        counts: (2, bins) as of ``count_logits``.

    Source: Platt, Probabilistic outputs for support vector machines, 1999.
    """
    if not counts.any(axis=1).all():
        return Calibration()
    logits = (np.arange(BINS) + 0.5) * (2 * LIMIT / BINS) - LIMIT
    outside, inside = counts / counts.sum()

    def entropy(point: NDArray[np.float64]) -> float:
        # The scale is fitted as a logarithm, so that more suspicion never means less probability.
        scaled = np.exp(point[0]) * logits + point[1]
        return float(-(inside * log_expit(scaled) + outside * log_expit(-scaled)).sum())

    best = minimize(entropy, np.zeros(2), method="Nelder-Mead")
    return Calibration(float(np.exp(best.x[0])), float(best.x[1]))


def write_calibration(calibration: Calibration, folder: Path) -> None:
    """Write a calibration into a run folder."""
    write_text_whole(folder / CALIBRATION, json.dumps(asdict(calibration)))


def read_calibration(folder: Path) -> Calibration:
    """Read the calibration of a run folder.

    Raises: MissingWeightsError: if the training ended before it was calibrated.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        raise MissingWeightsError(path)
    return Calibration(**json.loads(path.read_text(encoding="utf-8")))
