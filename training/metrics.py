"""Scores of a mask against a reference, voxel by voxel and lesion by lesion.

Convention: masks are bool (slices, rows, columns) on one grid; lesions are 26-connected components; spacing
is (slices, rows, columns) in mm. A ratio without a denominator is 1 where nothing was to be found and nothing
was found, else 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.components import label, sizes
from engines.findings import SizeClass
from engines.lesions import LARGE_ABOVE_MM2, SMALL_BELOW_MM2

Mask = NDArray[np.bool_]

HIT_SHARE = 0.4
"""Share of a lesion that must be found for a hit under the stricter rule of the FLAIR study."""


@dataclass(frozen=True, slots=True)
class VoxelScores:
    """Overlap of two masks; ``accuracy`` is the share of all voxels on which they agree."""

    dice: float
    precision: float
    recall: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class LesionScores:
    """Agreement counted in lesions.

    Attributes:
        hits: reference lesions that were found.
        missed: reference lesions that were not.
        right: predicted lesions that touch a reference lesion.
        false: predicted lesions that do not.
    """

    hits: int
    missed: int
    right: int
    false: int

    @property
    def recall(self) -> float:
        """Share of reference lesions that were found; also called sensitivity."""
        return _ratio(self.hits, self.hits + self.missed, self.false == 0)

    @property
    def precision(self) -> float:
        """Share of predicted lesions that are right."""
        return _ratio(self.right, self.right + self.false, self.missed == 0)

    @property
    def rates_what_was_found(self) -> bool:
        """Whether there is a precision: within a size class, what hit its lesions may belong to another."""
        return self.right + self.false > 0 or self.hits == 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; under the 40% rule the lesion-wise Dice."""
        if self.missed == 0 and self.false == 0:
            return 1.0
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0

    def __add__(self, other: LesionScores) -> LesionScores:
        return LesionScores(
            self.hits + other.hits,
            self.missed + other.missed,
            self.right + other.right,
            self.false + other.false,
        )


def pooled(parts: Iterable[LesionScores]) -> LesionScores:
    """Return the counts of several cases, added up."""
    return sum(parts, start=LesionScores(0, 0, 0, 0))


def voxel_scores(found: Mask, reference: Mask) -> VoxelScores:
    """Return Dice, precision, recall and accuracy of voxels."""
    hit, in_found, in_reference = (
        int(mask.sum(dtype=np.int64)) for mask in (found & reference, found, reference)
    )
    nothing = in_found == 0 and in_reference == 0
    return VoxelScores(
        dice=_ratio(2 * hit, in_found + in_reference, nothing),
        precision=_ratio(hit, in_found, nothing),
        recall=_ratio(hit, in_reference, nothing),
        accuracy=1 - (in_found + in_reference - 2 * hit) / found.size,
    )


def lesion_f1(found: Mask, reference: Mask) -> LesionScores:
    """Count lesions, any overlap being a hit: the region-wise score of the method paper."""
    return lesion_scores(found, reference, hit_share=0.0)


def lesion_scores(found: Mask, reference: Mask, hit_share: float = HIT_SHARE) -> LesionScores:
    """Count lesions, a hit being a lesion more than ``hit_share`` of which lies in the other mask.

    With 0 any overlap is a hit. The same rule holds for both sides: a predicted lesion is right if more than
    this share of it is reference.
    """
    hits, missed = _covered(reference, found, hit_share)
    right, false = _covered(found, reference, hit_share)
    return LesionScores(hits, missed, right, false)


def scores_by_size(
    parts: Mapping[SizeClass, tuple[Mask, Mask]], found: Mask, reference: Mask, hit_share: float = 0.0
) -> dict[SizeClass, LesionScores]:
    """Count lesions within each size class.

    What hits a lesion may belong to another class: a found lesion that covers two belongs to one of them.

    Args:
        parts: what ``split_by_size`` makes of both masks.
        found: the whole mask.
        reference: likewise.
        hit_share: as in ``lesion_scores``.
    """
    result: dict[SizeClass, LesionScores] = {}
    for size, (part, own) in parts.items():
        hits, missed = _covered(own, found, hit_share)
        right, false = _covered(part, reference, hit_share)
        result[size] = LesionScores(hits, missed, right, false)
    return result


def split_by_size(
    found: Mask, reference: Mask, spacing_mm: Sequence[float]
) -> dict[SizeClass, tuple[Mask, Mask]]:
    """Return for each size class what was found and what is reference.

    A reference lesion belongs to the class of its own largest slice. A found one belongs to the class of the
    reference lesion that it shares most voxels with, or to its own class if it touches none. So every voxel
    of both masks is in one class, and a class is scored like a whole mask.
    """
    own, other = _size_maps(reference, spacing_mm), _size_maps(found, spacing_mm)
    labels, count = label(np.ascontiguousarray(found))
    shared = np.zeros((len(SizeClass) + 1, count + 1), dtype=np.int64)
    for number in range(1, len(SizeClass) + 1):
        shared[number] = np.bincount(labels[own == number], minlength=count + 1)
    classes = np.zeros(count + 1, dtype=np.uint8)
    classes[labels] = other
    classes = np.where(shared.any(axis=0), shared.argmax(axis=0), classes).astype(np.uint8)
    classes[0] = 0
    other = classes[labels]
    return {size: (other == number, own == number) for number, size in enumerate(SizeClass, start=1)}


def volume_difference(found: Mask, reference: Mask) -> float:
    """Return the absolute difference of the volumes as a share of the reference's; inf without one."""
    total = int(reference.sum())
    difference = abs(int(found.sum()) - total)
    if total == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / total


def hausdorff95_mm(found: Mask, reference: Mask, spacing_mm: Sequence[float]) -> float:
    """Return the larger of the two 95th percentiles of surface distances, mm; inf if one mask is empty.

    A surface voxel has a face neighbour outside, above and below included. The WMH challenge 2017 (Kuijf et
    al., IEEE TMI 2019), whose percentile and maximum these are, looks at borders within slices instead.
    """
    if not found.any() and not reference.any():
        return 0.0
    if not found.any() or not reference.any():
        return float("inf")
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (found, reference)]
    distances = [ndimage.distance_transform_edt(~surface, sampling=tuple(spacing_mm)) for surface in surfaces]
    forth = np.percentile(distances[1][surfaces[0]], 95)
    back = np.percentile(distances[0][surfaces[1]], 95)
    return float(max(forth, back))


def _covered(lesions: Mask, by: Mask, share: float) -> tuple[int, int]:
    """Return how many components are covered by more than a share, and how many are not."""
    labels, count = label(np.ascontiguousarray(lesions))
    if count == 0:
        return 0, 0
    inside = np.bincount(labels[by], minlength=count + 1)[1:]
    covered = int((inside > share * sizes(labels, count)).sum())
    return covered, count - covered


def _size_maps(mask: Mask, spacing_mm: Sequence[float]) -> NDArray[np.uint8]:
    """Return the size class number (1 small, 2 medium, 3 large) of each lesion voxel; 0 outside."""
    labels, count = label(mask)
    areas = np.zeros(count + 1)
    for plane in labels:
        areas = np.maximum(areas, np.bincount(plane.ravel(), minlength=count + 1))
    areas *= spacing_mm[1] * spacing_mm[2]
    numbers = np.where(areas < SMALL_BELOW_MM2, 1, np.where(areas <= LARGE_ABOVE_MM2, 2, 3))
    numbers[0] = 0
    result: NDArray[np.uint8] = numbers.astype(np.uint8)[labels]
    return result


def _ratio(part: float, whole: float, nothing_expected: bool) -> float:
    if whole == 0:
        return 1.0 if nothing_expected else 0.0
    return part / whole
