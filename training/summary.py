"""Scores of a set of cases, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engines.findings import SizeClass
from training.agreement import BlandAltman, bland_altman
from training.evaluation import CaseScores
from training.metrics import LesionScores, pooled


@dataclass(frozen=True, slots=True)
class SizeSummary:
    """Scores of one size class over a set of cases.

    Attributes:
        lesions: reference lesions of the class.
        dice: of voxels, mean over cases with a lesion of the class; None without one.
        patch_dice: of patches, likewise.
        any_overlap: lesions pooled over cases, any overlap being a hit.
        strict: lesions pooled over cases, by the 40% rule.
    """

    lesions: int
    dice: float | None
    patch_dice: float | None
    any_overlap: LesionScores
    strict: LesionScores


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a set of cases, means over cases that have a lesion unless said otherwise; None without one.

    Attributes:
        cases: with a lesion.
        free_cases: without.
        heads: persons, or the anatomies of simulated cases, that the cases show; those of one are alike.
        accuracy: share of voxels on which masks agree.
        auc: area under the ROC curve of each case's voxels.
        patch_dice: Dice of patches.
        strict_recall: of lesions pooled over all cases with a lesion, by the 40% rule.
        strict_precision: likewise.
        strict_f1: likewise; the lesion-wise Dice.
        agreement: of found and reference volumes over all cases; None for fewer than two.
        by_size: the scores within each size class.
        lesion_f1: of lesions pooled over all cases with a lesion, any overlap.
        lesion_f1_per_case: mean over cases of their own F1.
        false_per_case: false lesions per case, cases with a lesion.
        false_per_free_case: false lesions per case without a lesion; None without such cases.
    """

    cases: int
    free_cases: int
    heads: int
    dice: float | None
    precision: float | None
    recall: float | None
    accuracy: float | None
    auc: float | None
    patch_dice: float | None
    lesion_f1: float | None
    lesion_f1_per_case: float | None
    lesion_recall: float | None
    lesion_precision: float | None
    strict_recall: float | None
    strict_precision: float | None
    strict_f1: float | None
    volume_difference: float | None
    hausdorff95_mm: float | None
    false_per_case: float | None
    false_per_free_case: float | None
    agreement: BlandAltman | None = None
    by_size: dict[SizeClass, SizeSummary] = field(default_factory=dict)


def summarise(scores: Sequence[CaseScores]) -> Summary:
    """Sum up cases of one kind.

    Raises: ValueError: if there is no case.
    """
    if not scores:
        raise ValueError("There is no case to sum up")
    ill, free = [s for s in scores if s.has_lesion], [s for s in scores if not s.has_lesion]
    lesions = pooled(s.any_overlap for s in ill) if ill else None
    strict = pooled(s.strict for s in ill) if ill else None
    return Summary(
        cases=len(ill),
        free_cases=len(free),
        heads=len({s.patient for s in scores}),
        dice=_mean([s.dice for s in ill]),
        precision=_mean([s.precision for s in ill]),
        recall=_mean([s.recall for s in ill]),
        accuracy=_mean([s.accuracy for s in ill]),
        auc=_mean([s.auc for s in ill if s.auc is not None]),
        patch_dice=_mean([s.patch_dice for s in ill]),
        lesion_f1=lesions.f1 if lesions else None,
        lesion_f1_per_case=_mean([s.any_overlap.f1 for s in ill]),
        lesion_recall=lesions.recall if lesions else None,
        lesion_precision=lesions.precision if lesions else None,
        strict_recall=strict.recall if strict else None,
        strict_precision=strict.precision if strict else None,
        strict_f1=strict.f1 if strict else None,
        volume_difference=_mean([s.volume_difference for s in ill]),
        hausdorff95_mm=_mean([s.hausdorff95_mm for s in ill if np.isfinite(s.hausdorff95_mm)]),
        false_per_case=_mean([s.any_overlap.false for s in ill]),
        false_per_free_case=_mean([s.any_overlap.false for s in free]),
        agreement=bland_altman([s.volumes_ml for s in scores]),
        by_size={size: _summarise_size(ill, size) for size in SizeClass},
    )


def _summarise_size(scores: Sequence[CaseScores], size: SizeClass) -> SizeSummary:
    having = [s.sizes[size] for s in scores if s.sizes[size].has_lesion]
    lesions = pooled(s.by_size[size] for s in scores)
    return SizeSummary(
        lesions=lesions.hits + lesions.missed,
        dice=_mean([s.dice for s in having]),
        patch_dice=_mean([s.patch_dice for s in having]),
        any_overlap=lesions,
        strict=pooled(s.sizes[size].strict for s in scores),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
