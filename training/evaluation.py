"""Scores of a segmentor on whole cases, through the preprocessing and postprocessing that serving uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engines.components import keep, label
from engines.findings import SizeClass
from engines.postprocessing import PostprocessingSpec, lesion_mask, probabilities
from engines.preprocessing import prepare
from engines.volume import Volume
from training.cases import Case, CaseKind
from training.metrics import (
    LesionScores,
    hausdorff95_mm,
    lesion_f1,
    lesion_scores,
    scores_by_size,
    volume_difference,
    voxel_scores,
)
from training.recipe import SegmentRecipe
from training.slices import input_volumes

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Slices (n, channels, rows, columns) to logits (n, 1, rows, columns)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A case, what the network says of it, and what is true.

    Attributes:
        case: name.
        patient: of the case.
        kind: real, painted or simulated.
        image: the first input.
        probability: on its grid.
        reference: bool mask on its grid.
        unsure: bool mask of what does not count, or None.
    """

    case: str
    patient: str
    kind: CaseKind
    image: Volume
    probability: Volume
    reference: Volume
    unsure: Volume | None = None

    def judged(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask without what does not count.

        A found component that touches the unsure voxels and no lesion drops as a whole, since its border
        would else be taken for a false lesion.
        """
        return found if self.unsure is None else leave_out(found, self.unsure.array, self.reference.array)


@dataclass(frozen=True, slots=True)
class CaseScores:
    """All scores of one case.

    Attributes:
        any_overlap: lesions, any overlap being a hit.
        strict: lesions, a hit being more than 40% of the lesion.
        by_size: ``any_overlap`` by size class.
        volume_difference: absolute, as a share of the reference.
        hausdorff95_mm: inf if one of the masks is empty.
        volumes_ml: found and reference.
    """

    case: str
    patient: str
    kind: CaseKind
    dice: float
    precision: float
    recall: float
    any_overlap: LesionScores
    strict: LesionScores
    by_size: dict[SizeClass, LesionScores]
    volume_difference: float
    hausdorff95_mm: float
    volumes_ml: tuple[float, float]

    @property
    def has_lesion(self) -> bool:
        """Whether the reference marks anything."""
        return self.any_overlap.hits + self.any_overlap.missed > 0


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a set of cases, means over cases that have a lesion unless said otherwise.

    Attributes:
        lesion_f1: of lesions pooled over all cases with a lesion, any overlap.
        lesion_f1_per_case: mean over cases of their own F1.
        false_per_case: false lesions per case, cases with a lesion.
        false_per_free_case: false lesions per case without a lesion; None without such cases.
        recall_by_size: pooled lesion recall; None for a class without a lesion.
    """

    cases: int
    free_cases: int
    dice: float
    precision: float
    recall: float
    lesion_f1: float
    lesion_f1_per_case: float
    lesion_recall: float
    lesion_precision: float
    strict_f1: float
    volume_difference: float
    hausdorff95_mm: float | None
    false_per_case: float
    false_per_free_case: float | None
    recall_by_size: dict[SizeClass, float | None] = field(default_factory=dict)


def predict_cases(cases: Iterable[Case], recipe: SegmentRecipe, infer: Infer) -> Iterator[Prediction]:
    """Run a network over whole cases, on their own grids."""
    for case in cases:
        volumes = input_volumes(case, recipe)
        image = volumes[0]
        if image is None:
            continue
        prepared = prepare(volumes, recipe.preprocessing)
        found = probabilities(infer(prepared.slices), prepared)
        mask = case.masks[recipe.segment]
        reference = mask.with_array(mask.array != 0)
        origin = case.provenance
        unsure = case.unsure.get(recipe.segment)
        yield Prediction(case.name, origin.patient, origin.kind, image, found, reference, unsure)


def score_case(prediction: Prediction, spec: PostprocessingSpec) -> CaseScores:
    """Score one case at an operating point."""
    found = prediction.judged(lesion_mask(prediction.probability, spec).array)
    reference = prediction.reference.array
    grid = prediction.probability.grid
    voxels = voxel_scores(found, reference)
    return CaseScores(
        case=prediction.case,
        patient=prediction.patient,
        kind=prediction.kind,
        dice=voxels.dice,
        precision=voxels.precision,
        recall=voxels.recall,
        any_overlap=lesion_f1(found, reference),
        strict=lesion_scores(found, reference),
        by_size=scores_by_size(found, reference, grid.spacing_mm),
        volume_difference=volume_difference(found, reference),
        hausdorff95_mm=hausdorff95_mm(found, reference, grid.spacing_mm),
        volumes_ml=(found.sum() * grid.voxel_mm3 / 1000, reference.sum() * grid.voxel_mm3 / 1000),
    )


def leave_out(
    found: NDArray[np.bool_], unsure: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return a found mask without unsure voxels, and without components that touch these and no lesion."""
    labels, count = label(found)
    touching = np.bincount(labels[unsure], minlength=count + 1)[1:] > 0
    lesion = np.bincount(labels[reference], minlength=count + 1)[1:] > 0
    return keep(labels, lesion | ~touching) & ~unsure


def counting_unsure(prediction: Prediction) -> Prediction:
    """Return the prediction with its unsure voxels taken for lesion."""
    if prediction.unsure is None:
        return prediction
    wide = prediction.reference.with_array(prediction.reference.array | prediction.unsure.array)
    return replace(prediction, reference=wide, unsure=None)


def summarise(scores: Sequence[CaseScores]) -> Summary:
    """Sum up cases of one kind.

    Raises: ValueError: if there is no case.
    """
    if not scores:
        raise ValueError("There is no case to sum up")
    ill, free = [s for s in scores if s.has_lesion], [s for s in scores if not s.has_lesion]
    pooled, strict = _total(s.any_overlap for s in ill), _total(s.strict for s in ill)
    distances = [s.hausdorff95_mm for s in ill if np.isfinite(s.hausdorff95_mm)]
    return Summary(
        cases=len(ill),
        free_cases=len(free),
        dice=_mean([s.dice for s in ill]),
        precision=_mean([s.precision for s in ill]),
        recall=_mean([s.recall for s in ill]),
        lesion_f1=pooled.f1,
        lesion_f1_per_case=_mean([s.any_overlap.f1 for s in ill]),
        lesion_recall=pooled.recall,
        lesion_precision=pooled.precision,
        strict_f1=strict.f1,
        volume_difference=_mean([s.volume_difference for s in ill]),
        hausdorff95_mm=_mean(distances) if distances else None,
        false_per_case=pooled.false / max(1, len(ill)),
        false_per_free_case=_mean([s.any_overlap.false for s in free]) if free else None,
        recall_by_size={size: _recall(_total(s.by_size[size] for s in ill)) for size in SizeClass},
    )


def as_rows(scores: Sequence[CaseScores]) -> list[dict[str, object]]:
    """Return the scores as plain values for a JSON file."""
    return [asdict(score) for score in scores]


def _recall(scores: LesionScores) -> float | None:
    return scores.recall if scores.hits + scores.missed else None


def _total(parts: Iterable[LesionScores]) -> LesionScores:
    return sum(parts, start=LesionScores(0, 0, 0, 0))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
