"""Metrics against cases that are worked out by hand."""

import numpy as np
import pytest

from engines.findings import SizeClass
from training.metrics import (
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


def mask(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    array = np.zeros((4, 20, 20), dtype=bool)
    for box in boxes:
        array[box] = True
    return array


def box(start: int, size: int, plane: int = 1) -> tuple[slice, slice, slice]:
    """``size`` x ``size`` pixels from (start, start) on one slice."""
    return (slice(plane, plane + 1), slice(start, start + size), slice(start, start + size))


EMPTY = mask()


def test_dice_precision_and_recall_count_voxels() -> None:
    # found 16 voxels, reference 16, common 2 x 4 = 8
    scores = voxel_scores(mask(np.s_[1:2, 0:4, 0:4]), mask(np.s_[1:2, 2:6, 0:4]))
    assert (scores.dice, scores.precision, scores.recall) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("found", "reference", "expected"),
    [
        pytest.param(EMPTY, EMPTY, (1.0, 1.0, 1.0), id="nothing-to-find"),
        pytest.param(mask(box(0, 2)), EMPTY, (0.0, 0.0, 0.0), id="false-alarm"),
        pytest.param(EMPTY, mask(box(0, 2)), (0.0, 0.0, 0.0), id="missed"),
    ],
)
def test_empty_masks_have_defined_scores(found, reference, expected) -> None:
    scores = voxel_scores(found, reference)
    assert (scores.dice, scores.precision, scores.recall) == expected


def test_a_single_common_voxel_is_a_hit_for_both_sides() -> None:
    scores = lesion_f1(mask(np.s_[1:2, 3:8, 3:8]), mask(box(0, 4), box(12, 2)))
    assert scores == LesionScores(hits=1, missed=1, right=1, false=0)
    assert scores.recall == 0.5
    assert scores.precision == 1.0
    assert scores.f1 == pytest.approx(2 / 3)


def test_forty_percent_rule_asks_for_more_than_forty_percent_of_the_lesion() -> None:
    reference = mask(np.s_[1:2, 0:1, 0:10])  # ten voxels
    four, five = mask(np.s_[1:2, 0:1, 0:4]), mask(np.s_[1:2, 0:1, 0:5])
    assert lesion_scores(four, reference) == LesionScores(0, 1, 1, 0)
    assert lesion_scores(five, reference) == LesionScores(1, 0, 1, 0)


def test_forty_percent_rule_holds_for_found_lesions_too() -> None:
    found, reference = mask(np.s_[1:2, 0:1, 0:10]), mask(np.s_[1:2, 0:1, 0:4])
    assert lesion_scores(found, reference) == LesionScores(hits=1, missed=0, right=0, false=1)


def test_lesions_that_touch_by_a_corner_are_one() -> None:
    assert lesion_f1(EMPTY, mask(box(0, 2, plane=1), box(2, 2, plane=2))).missed == 1


def test_f1_is_one_when_nothing_was_there_and_nothing_found() -> None:
    assert lesion_f1(EMPTY, EMPTY).f1 == 1.0


def test_lesion_counts_add_up_over_cases() -> None:
    assert LesionScores(1, 2, 3, 4) + LesionScores(10, 20, 30, 40) == LesionScores(11, 22, 33, 44)


def by_size(found: Mask, reference: Mask) -> dict[SizeClass, LesionScores]:
    """Count lesions by size on pixels of 2 mm."""
    return scores_by_size(split_by_size(found, reference, (5.0, 2.0, 2.0)), found, reference)


def test_lesions_are_counted_in_the_class_of_their_largest_slice() -> None:
    # pixels of 2 mm x 2 mm: 2x2 = 16 mm2 small, 4x4 = 64 mm2 medium, 7x7 = 196 mm2 large
    reference = mask(box(0, 2), box(4, 4), box(10, 7))
    scores = by_size(mask(box(10, 7)), reference)
    assert scores[SizeClass.SMALL] == LesionScores(0, 1, 0, 0)
    assert scores[SizeClass.MEDIUM] == LesionScores(0, 1, 0, 0)
    assert scores[SizeClass.LARGE] == LesionScores(1, 0, 1, 0)


def test_what_was_found_counts_in_the_class_of_the_lesion_that_it_covers() -> None:
    # of a large lesion 4x4 pixels of 2 mm, which would be medium by themselves; 2x2 elsewhere are small
    scores = by_size(mask(box(10, 4), box(0, 2)), mask(box(10, 7)))
    assert scores[SizeClass.LARGE] == LesionScores(1, 0, 1, 0)
    assert scores[SizeClass.MEDIUM] == LesionScores(0, 0, 0, 0)
    assert scores[SizeClass.SMALL] == LesionScores(0, 0, 0, 1)


def test_one_found_lesion_hits_lesions_of_two_classes_and_belongs_to_one() -> None:
    # a bar of 2 x 16 pixels over a large and a small lesion; the second small one is missed
    found, reference = mask(np.s_[1:2, 0:2, 0:16]), mask(box(0, 7), np.s_[1:2, 0:2, 14:16], box(15, 2))
    scores = by_size(found, reference)
    assert scores[SizeClass.LARGE] == LesionScores(1, 0, 1, 0)
    assert scores[SizeClass.SMALL] == LesionScores(1, 1, 0, 0)
    assert not scores[SizeClass.SMALL].rates_what_was_found


@pytest.mark.parametrize(
    ("found", "reference", "expected"),
    [
        pytest.param(mask(box(0, 2)), mask(box(0, 4)), 0.75, id="4-against-16"),
        pytest.param(mask(box(0, 4)), mask(box(0, 2)), 3.0, id="16-against-4"),
        pytest.param(EMPTY, EMPTY, 0.0, id="both-empty"),
        pytest.param(mask(box(0, 2)), EMPTY, float("inf"), id="no-reference"),
    ],
)
def test_volume_difference_is_a_share_of_the_reference(found, reference, expected) -> None:
    assert volume_difference(found, reference) == expected


def test_hausdorff_distance_is_in_mm_of_the_slice_spacing() -> None:
    assert hausdorff95_mm(mask(box(5, 3, plane=1)), mask(box(5, 3, plane=2)), (6.5, 1, 1)) == 6.5


def test_hausdorff_distance_of_a_shift_in_plane() -> None:
    # each surface pixel of a line of 10 shifted by 3 pixels of 2 mm across it is 6 mm from the other line
    assert hausdorff95_mm(mask(np.s_[1:2, 2:3, 0:10]), mask(np.s_[1:2, 5:6, 0:10]), (5, 2, 2)) == 6.0


def test_hausdorff_distance_is_the_larger_one_and_leaves_out_the_farthest_twentieth() -> None:
    # a line of 20 pixels; of 21 found ones one lies 10 mm off, which is less than 5%; of 22 two do
    line, off = np.s_[1:2, 5:6, 0:20], np.s_[1:2, 15:16, 0:1]
    assert hausdorff95_mm(mask(line, off), mask(line), (5, 1, 1)) == 0.0
    two = mask(line, off, np.s_[1:2, 15:16, 19:20])
    # rank 0.95 x 21 = 19.95 of the distances 0 (twenty times), 10, 10
    assert hausdorff95_mm(two, mask(line), (5, 1, 1)) == pytest.approx(9.5)
    assert hausdorff95_mm(mask(line), two, (5, 1, 1)) == pytest.approx(9.5)


def test_hausdorff_distance_to_nothing_is_infinite() -> None:
    assert hausdorff95_mm(EMPTY, mask(box(0, 2)), (1, 1, 1)) == float("inf")
    assert hausdorff95_mm(EMPTY, EMPTY, (1, 1, 1)) == 0.0
