"""Tests of whether raters agree and whether groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True, slots=True)
class Concordance:
    """Kendall's W of raters who rank the same objects: 0 no agreement, 1 full agreement.

    Attributes:
        w: corrected for ties.
        chi2: with ``objects - 1`` degrees of freedom.
        p: of W being 0; the approximation holds for more than seven objects.
    """

    raters: int
    objects: int
    w: float
    chi2: float
    p: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tukey's honestly significant difference of two groups: mean difference, its 95% interval, p."""

    first: str
    second: str
    difference: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True, slots=True)
class Variance:
    """One-way analysis of variance of groups, and Tukey's comparisons of all pairs."""

    f: float
    p: float
    pairs: tuple[Comparison, ...]


def kendall_w(ratings: ArrayLike) -> Concordance | None:
    """Return how far raters rank objects alike.

    Args:
        ratings: (raters, objects), any scale; equal values share a rank.

    Returns: None with fewer than two raters or objects, or if every rater gives all objects the same value.
    Source: Kendall and Babington Smith, 1939; Siegel and Castellan, 1988 (ties).
    """
    values = np.atleast_2d(np.asarray(ratings, dtype=float))
    raters, objects = values.shape
    if raters < 2:
        return None
    ranks = stats.rankdata(values, axis=1)
    tied = [np.unique(row, return_counts=True)[1].astype(float) for row in values]
    ties = sum(float((counts**3 - counts).sum()) for counts in tied)
    whole = raters**2 * (objects**3 - objects) - raters * ties
    if whole == 0:
        return None
    sums = ranks.sum(axis=0)
    w = 12 * float(((sums - sums.mean()) ** 2).sum()) / whole
    chi2 = raters * (objects - 1) * w
    return Concordance(raters, objects, w, chi2, float(stats.chi2.sf(chi2, objects - 1)))


def compare_groups(groups: Mapping[str, Sequence[float]]) -> Variance | None:
    """Compare the means of groups by one-way analysis of variance and Tukey's test.

    The test takes values of different groups for independent, as the papers do, although the same cases are
    in all groups; that makes it cautious.

    Returns: None for fewer than two groups, a group of fewer than two values, or no variance within groups.
    """
    values = [np.asarray(group, dtype=float) for group in groups.values()]
    if len(values) < 2 or min(map(len, values)) < 2 or not any(np.ptp(group) > 0 for group in values):
        return None
    analysis, tukey = stats.f_oneway(*values), stats.tukey_hsd(*values)
    bounds = tukey.confidence_interval(confidence_level=0.95)
    low, high = np.asarray(bounds.low), np.asarray(bounds.high)
    names = list(groups)
    pairs = tuple(
        Comparison(
            names[i],
            names[j],
            float(tukey.statistic[i, j]),
            float(low[i, j]),
            float(high[i, j]),
            float(tukey.pvalue[i, j]),
        )
        for i, j in combinations(range(len(names)), 2)
    )
    return Variance(float(analysis.statistic), float(analysis.pvalue), pairs)
