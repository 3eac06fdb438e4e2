"""Agreement of two measurements of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LIMIT_FACTOR = 1.96
"""Standard deviations from the bias to a limit; 95% of normally distributed differences lie within."""


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Differences of found and reference volumes, ml.

    Attributes:
        cases: number of pairs.
        bias_ml: mean of found minus reference.
        sd_ml: standard deviation of the differences, n - 1 in the denominator.
        lower_ml: lower limit of agreement.
        upper_ml: upper limit of agreement.
    """

    cases: int
    bias_ml: float
    sd_ml: float
    lower_ml: float
    upper_ml: float


def bland_altman(volumes_ml: Sequence[tuple[float, float]]) -> BlandAltman | None:
    """Return bias and limits of agreement of (found, reference) volumes; None for fewer than two pairs.

    Source: Bland and Altman, Lancet 1986.
    """
    if len(volumes_ml) < 2:
        return None
    differences = np.array([found - reference for found, reference in volumes_ml])
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    return BlandAltman(
        len(volumes_ml), bias, spread, bias - LIMIT_FACTOR * spread, bias + LIMIT_FACTOR * spread
    )
