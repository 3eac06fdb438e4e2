"""Receiver operating characteristic of probabilities, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.metrics import Mask

FALSE_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
"""False positive rates at which a curve is kept; lesions are so rare that all of interest lies below 1%."""


def roc_auc(probability: NDArray[np.floating], reference: Mask, valid: Mask | None = None) -> float | None:
    """Return the area under the ROC curve: the chance that a lesion voxel is rated above another one.

    Args:
        probability: any shape.
        reference: of the same shape.
        valid: voxels that count; all without it.

    Returns: 0 to 1, ties counting half; None without a voxel of either kind.
    Source: Hanley and McNeil, Radiology 1982 (Mann-Whitney statistic).
    """
    inside, outside = _split(probability, reference, valid)
    if not inside.size or not outside.size:
        return None
    below = np.searchsorted(outside, inside, side="left").astype(np.float64)
    ties = np.searchsorted(outside, inside, side="right") - below
    return float((below + ties / 2).mean() / outside.size)


def roc_curve(
    probability: NDArray[np.floating], reference: Mask, valid: Mask | None = None
) -> tuple[float, ...] | None:
    """Return the true positive rate at each of ``FALSE_RATES``; None without a voxel of either kind.

    The threshold is the lowest one that raises no more false positives than the rate allows.
    """
    inside, outside = _split(probability, reference, valid)
    if not inside.size or not outside.size:
        return None
    allowed = np.floor(np.asarray(FALSE_RATES) * outside.size).astype(np.int64)
    # ``outside`` ascends: above the value that is ``allowed`` places from its top lie at most as many
    bounds = np.append(-np.inf, outside)[np.maximum(outside.size - allowed, 0)]
    found = inside.size - np.searchsorted(inside, bounds, side="right")
    return tuple(float(share) for share in found / inside.size)


def _split(
    probability: NDArray[np.floating], reference: Mask, valid: Mask | None
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the sorted probabilities of voxels inside and outside of lesions."""
    counted = np.ones_like(reference) if valid is None else valid
    inside, outside = probability[reference & counted], probability[~reference & counted]
    return np.sort(inside), np.sort(outside)
