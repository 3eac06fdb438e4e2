"""The choice of threshold, smallest lesion and least peak from predictions on cases not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

import numpy as np
from numpy.typing import NDArray

from engines.components import label, peaks, sizes
from engines.postprocessing import MM3_PER_ML, PostprocessingSpec
from training.evaluation import Prediction
from training.metrics import LesionScores, pooled

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.998)
"""Probabilities that are tried, as threshold and, above it, as peak."""

MIN_LESIONS_ML = (0.0, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1)
"""Smallest lesions that are tried, ml; a lesion of 2 mm diameter has 0.004 ml."""

FALSE_ALLOWED = 0.5
"""False lesions per lesion-free case that cost nothing."""

FALSE_PENALTY = 0.1
"""What each further one costs, in units of the joint score."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The components of one case at one threshold: enough to score any smallest lesion and least peak.

    Attributes:
        volumes_ml: (n,) of the components, unsure voxels included: by these serving keeps or drops them.
        voxels: (n,) of each that count.
        hit_voxels: (n,) voxels of each that are lesion.
        peaks: (n,) highest probability of each.
        pairs: (m, 2) component and reference lesion, 0-based, that touch.
        reference_voxels: voxels of all reference lesions.
        reference_lesions: number of reference lesions.
    """

    volumes_ml: NDArray[np.float64]
    voxels: NDArray[np.int64]
    hit_voxels: NDArray[np.int64]
    peaks: NDArray[np.float32]
    pairs: NDArray[np.int64]
    reference_voxels: int
    reference_lesions: int


@dataclass(frozen=True, slots=True)
class Joint:
    """Scores of a set of cases at one operating point.

    Attributes:
        dice: mean over cases with a lesion.
        lesions: summed over cases with a lesion.
        pairs: likewise, a found and a reference lesion that no other one shares: the most there can be.
        false_per_free: false lesions per lesion-free case; 0 without such a case.
    """

    dice: float
    lesions: LesionScores
    pairs: int
    false_per_free: float

    @property
    def quality(self) -> float:
        """The mean of Dice and of the share of lesions in pairs.

        Any overlap, as lesion F1 counts, would make one blob over five lesions better than five outlines.
        """
        there = self.lesions.hits + self.lesions.missed + self.lesions.right + self.lesions.false
        return (self.dice + (2 * self.pairs / there if there else 1.0)) / 2

    @property
    def fine(self) -> float:
        """What false alarms on cases without a lesion cost."""
        return FALSE_PENALTY * max(0.0, self.false_per_free - FALSE_ALLOWED)


def find_candidates(prediction: Prediction) -> list[Candidates]:
    """Find the components of a case at each of ``THRESHOLDS``."""
    reference = prediction.reference.array
    lesions, count = label(np.ascontiguousarray(reference))
    total = int(sizes(lesions, count).sum())
    return [_candidates(prediction, threshold, lesions, count, total) for threshold in THRESHOLDS]


def _candidates(
    prediction: Prediction, threshold: float, lesions: NDArray[np.int32], count: int, total: int
) -> Candidates:
    probability = prediction.probability
    found = probability.array >= threshold
    components, number = label(np.ascontiguousarray(found))
    voxels = np.bincount(components[prediction.judged(found)], minlength=number + 1)[1:]
    touching = (components > 0) & (lesions > 0)
    both = np.stack([components[touching], lesions[touching]], axis=1).astype(np.int64) - 1
    hits = np.bincount(both[:, 0], minlength=number)
    return Candidates(
        np.asarray(sizes(components, number) * probability.grid.voxel_mm3 / MM3_PER_ML, dtype=np.float64),
        voxels,
        hits,
        peaks(components, number, probability.array),
        np.unique(both, axis=0).reshape(-1, 2),
        total,
        count,
    )


def score(case: Candidates, min_lesion_ml: float, min_peak: float = 0.0) -> tuple[float, LesionScores]:
    """Return Dice and lesion counts (any overlap) of a case without its smaller and fainter components."""
    kept = (case.volumes_ml >= min_lesion_ml * (1 - 1e-9)) & (case.peaks >= min_peak)
    found, hit = int(case.voxels[kept].sum()), int(case.hit_voxels[kept].sum())
    whole = found + case.reference_voxels
    hits = len(np.unique(case.pairs[kept[case.pairs[:, 0]], 1]))
    right = int((case.hit_voxels[kept] > 0).sum())
    counted = int((case.voxels[kept] > 0).sum())
    lesions = LesionScores(hits, case.reference_lesions - hits, right, counted - right)
    return (2 * hit / whole if whole else 1.0), lesions


def joint(cases: Sequence[Candidates], min_lesion_ml: float, min_peak: float = 0.0) -> Joint:
    """Score a set of cases at one threshold."""
    results = [score(case, min_lesion_ml, min_peak) for case in cases]
    with_lesion = [r for case, r in zip(cases, results, strict=True) if case.reference_lesions]
    free = [r for case, r in zip(cases, results, strict=True) if not case.reference_lesions]
    return Joint(
        dice=float(np.mean([dice for dice, _ in with_lesion])) if with_lesion else 0.0,
        lesions=pooled(lesions for _, lesions in with_lesion),
        pairs=sum(min(lesions.hits, lesions.right) for _, lesions in with_lesion),
        false_per_free=float(np.mean([lesions.false for _, lesions in free])) if free else 0.0,
    )


def operating_points(
    groups: Sequence[Sequence[Sequence[Candidates]]],
) -> Iterator[tuple[PostprocessingSpec, list[Joint]]]:
    """Score every operating point on each group of cases (as real and simulated ones)."""
    for number, threshold in enumerate(THRESHOLDS):
        at_one = [[case[number] for case in group] for group in groups]
        for smallest, peak in product(MIN_LESIONS_ML, (0.0, *THRESHOLDS[number + 1 :])):
            spec = PostprocessingSpec(threshold=threshold, min_lesion_ml=smallest, min_peak=peak)
            yield spec, [joint(group, smallest, peak) for group in at_one]


def choose(
    validation: Sequence[Sequence[Sequence[Candidates]]], real: Sequence[Sequence[Candidates]] = ()
) -> PostprocessingSpec:
    """Return the operating point of the best quality, less the fine for false alarms.

    Args:
        validation: for each kind of made cases, their lists of candidates. Those without a lesion tell of
            false alarms; the kind that has the most of them is fined, for many simulated heads would hide
            what is found in the few scanned ones.
        real: lists of candidates of real cases, by which the quality is judged where there are any: what is
            small or faint enough to be left alone is for people to say. Healthy people tell of false alarms,
            too, and without made cases they alone do.
    """
    made = list(chain.from_iterable(validation))
    best = max(operating_points([real or made, *validation, real]), key=_merit)
    return best[0] if made or real else PostprocessingSpec()


def _merit(point: tuple[PostprocessingSpec, list[Joint]]) -> tuple[float, float, float]:
    """Return what points are ranked by; of equals the one that drops the most is the safest."""
    spec, (judging, *kinds) = point
    fine = max((kind.fine for kind in kinds), default=0.0)
    return round(judging.quality - fine, 6), spec.min_lesion_ml, spec.min_peak
