"""Scores of a segmentor on whole cases, through the preprocessing and postprocessing that serving uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engines.components import keep, label
from engines.findings import SizeClass
from engines.postprocessing import PostprocessingSpec, lesion_mask, probabilities
from engines.volume import Volume
from training.cases import Case, CaseKind, join_masks
from training.metrics import (
    HIT_SHARE,
    LesionScores,
    Mask,
    hausdorff95_mm,
    lesion_f1,
    lesion_scores,
    scores_by_size,
    split_by_size,
    volume_difference,
    voxel_scores,
)
from training.patches import patch_scores
from training.ranking import roc_auc, roc_curve
from training.slices import Seen, part_digests, prepare_case

SLICE_TRAITS = ((2.0, "slices below 2 mm"), (4.0, "slices of 2 to 4 mm"))
"""Distance of slices, mm, below which it is said of a scan."""

THICKEST = "slices from 4 mm"
"""What is said of all others."""

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
        unsure: bool mask of what one reader would mark and another not, which does not count, or None.
        traits: how the scan looks, for scores of cases that look alike.
        excluded: bool mask of what else does not count, or None.
        dataset: that the case belongs to.
        digests: of the reference with what does not count, and of each image that is seen.
    """

    case: str
    patient: str
    kind: CaseKind
    image: Volume
    probability: Volume
    reference: Volume
    unsure: Volume | None = None
    traits: tuple[str, ...] = ()
    excluded: Volume | None = None
    dataset: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def uncounted(self) -> Volume | None:
        """What does not count, unsure or excluded."""
        return join_masks(self.unsure, self.excluded)

    def judged(self, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask without what does not count, and without what else was found on it."""
        uncounted = self.uncounted
        return found if uncounted is None else leave_out(found, uncounted.array, self.reference.array)


@dataclass(frozen=True, slots=True)
class SizeScores:
    """Scores of one size class in one case; see ``metrics.split_by_size`` for what belongs to a class.

    Attributes:
        dice: of voxels.
        patch_dice: of patches.
        strict: lesions, a hit being more than 40% of the lesion.
        has_lesion: whether the reference has a lesion of this class.
    """

    dice: float
    patch_dice: float
    strict: LesionScores
    has_lesion: bool


@dataclass(frozen=True, slots=True)
class CaseScores:
    """All scores of one case.

    Attributes:
        accuracy: share of voxels on which masks agree; near 1 whatever was found, since lesions are rare.
        auc: area under the ROC curve over all voxels of the image but the unsure; None without a lesion.
        roc: true positive rates at ``ranking.FALSE_RATES``; None without a lesion.
        patch_dice: Dice of patches.
        any_overlap: lesions, any overlap being a hit.
        strict: lesions, a hit being more than 40% of the lesion.
        by_size: ``any_overlap`` by size class.
        sizes: the other scores by size class.
        volume_difference: absolute, as a share of the reference.
        hausdorff95_mm: inf if one of the masks is empty.
        volumes_ml: found and reference.
        dataset: that the case belongs to.
        digests: of the reference with what does not count, and of each image that is seen.
    """

    case: str
    patient: str
    kind: CaseKind
    dice: float
    precision: float
    recall: float
    accuracy: float
    auc: float | None
    roc: tuple[float, ...] | None
    patch_dice: float
    any_overlap: LesionScores
    strict: LesionScores
    by_size: dict[SizeClass, LesionScores]
    sizes: dict[SizeClass, SizeScores]
    volume_difference: float
    hausdorff95_mm: float
    volumes_ml: tuple[float, float]
    dataset: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_lesion(self) -> bool:
        """Whether the reference marks anything."""
        return self.any_overlap.hits + self.any_overlap.missed > 0


def predict_cases(cases: Iterable[Case], recipe: Seen, infer: Infer) -> Iterator[Prediction]:
    """Run a network over whole cases, on their own grids."""
    for case in cases:
        prepared = prepare_case(case, recipe)
        image = case.volumes[recipe.inputs[0]]
        found = probabilities(infer(prepared.slices), prepared)
        mask = case.masks[recipe.segment]
        reference = mask.with_array(mask.array != 0)
        origin = case.provenance
        traits = made_traits(case, image) if origin.kind is not CaseKind.REAL else ()
        yield Prediction(
            case=case.name,
            patient=origin.patient,
            kind=origin.kind,
            image=image,
            probability=found,
            reference=reference,
            unsure=_beside(case.unsure.get(recipe.segment), reference),
            traits=traits,
            excluded=_beside(case.excluded.get(recipe.segment), reference),
            dataset=origin.dataset,
            digests=part_digests(case, recipe),
        )


def _beside(mask: Volume | None, reference: Volume) -> Volume | None:
    """Return what of a mask lies beside the reference: a lesion counts, as it teaches, also there."""
    return None if mask is None else mask.with_array(mask.array & ~reference.array)


def made_traits(case: Case, image: Volume) -> tuple[str, ...]:
    """Return whether the skull of a made case was cut away, how thick slices are, and what diffusion."""
    details = case.provenance.details
    skull = "skull-stripped" if details.get("stripped") == "True" else "with skull"
    thickness = next((what for bound, what in SLICE_TRAITS if image.grid.spacing_mm[0] < bound), THICKEST)
    return skull, thickness, *([str(details["diffusion"])] if "diffusion" in details else [])


def score_case(prediction: Prediction, spec: PostprocessingSpec) -> CaseScores:
    """Score one case at an operating point."""
    found = prediction.judged(lesion_mask(prediction.probability, spec).array)
    reference = prediction.reference.array
    grid, probability = prediction.probability.grid, prediction.probability.array
    voxels, parts = voxel_scores(found, reference), split_by_size(found, reference, grid.spacing_mm)
    uncounted = prediction.uncounted
    sure = None if uncounted is None else ~uncounted.array
    return CaseScores(
        case=prediction.case,
        patient=prediction.patient,
        kind=prediction.kind,
        dice=voxels.dice,
        precision=voxels.precision,
        recall=voxels.recall,
        accuracy=voxels.accuracy,
        auc=roc_auc(probability, reference, sure),
        roc=roc_curve(probability, reference, sure),
        patch_dice=patch_scores(found, reference).dice,
        any_overlap=lesion_f1(found, reference),
        strict=lesion_scores(found, reference),
        by_size=scores_by_size(parts, found, reference),
        sizes=_score_sizes(parts, scores_by_size(parts, found, reference, HIT_SHARE)),
        volume_difference=volume_difference(found, reference),
        hausdorff95_mm=hausdorff95_mm(found, reference, grid.spacing_mm),
        volumes_ml=(found.sum() * grid.voxel_mm3 / 1000, reference.sum() * grid.voxel_mm3 / 1000),
        dataset=prediction.dataset,
        digests=prediction.digests,
    )


def _score_sizes(
    parts: Mapping[SizeClass, tuple[Mask, Mask]], strict: Mapping[SizeClass, LesionScores]
) -> dict[SizeClass, SizeScores]:
    return {
        size: SizeScores(
            voxel_scores(one, other).dice, patch_scores(one, other).dice, strict[size], bool(other.any())
        )
        for size, (one, other) in parts.items()
    }


def leave_out(
    found: NDArray[np.bool_], unsure: NDArray[np.bool_], reference: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return a found mask without unsure voxels, and without what lies beyond them.

    Of a component with unsure voxels only the pieces that touch a lesion stay: the others are its border.
    """
    whole, count = label(np.ascontiguousarray(found))
    doubtful = np.bincount(whole[unsure], minlength=count + 1) > 0
    pieces, number = label(np.ascontiguousarray(found & ~unsure))
    of = np.zeros(number + 1, np.intp)
    of[pieces] = whole
    touching = np.bincount(pieces[reference], minlength=number + 1) > 0
    return keep(pieces, (touching | ~doubtful[of])[1:])


def counting_unsure(prediction: Prediction) -> Prediction:
    """Return the prediction with its unsure voxels taken for lesion."""
    if prediction.unsure is None:
        return prediction
    wide = prediction.reference.with_array(prediction.reference.array | prediction.unsure.array)
    return replace(prediction, reference=wide, unsure=None)
