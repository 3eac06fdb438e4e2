"""Evaluation: whole cases on their own grid, unsure voxels left out, sums by hand."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from tests.support.training_cases import bright_spot_case, tiny_recipe
from training.cases import Case, CaseKind
from training.evaluation import (
    Prediction,
    counting_unsure,
    leave_out,
    predict_cases,
    score_case,
)
from training.judging import REAL_WITH_UNSURE, Predictions, judge
from training.metrics import LesionScores
from training.summary import summarise

GRID = Grid((1, 10, 10), np.eye(4)[[2, 1, 0, 3]])


def plane(*boxes: tuple[slice, slice]) -> np.ndarray:
    array = np.zeros((1, 10, 10), dtype=bool)
    for box in boxes:
        array[0][box] = True
    return array


def prediction(found: np.ndarray, reference: np.ndarray, unsure: np.ndarray | None = None) -> Prediction:
    probability = Volume(found.astype(np.float32) * 0.9, GRID)
    doubt = None if unsure is None else Volume(unsure, GRID)
    return Prediction("a", "p", CaseKind.REAL, probability, probability, Volume(reference, GRID), doubt)


LESION, RIM, ELSEWHERE = np.s_[1:4, 1:4], np.s_[6:8, 1:4], np.s_[6:8, 7:9]


def test_a_found_component_on_unsure_voxels_is_no_false_lesion() -> None:
    found = plane(LESION, np.s_[6:9, 1:4], ELSEWHERE)
    kept = leave_out(found, plane(RIM), plane(LESION))
    assert np.array_equal(kept, plane(LESION, ELSEWHERE))


def test_what_lies_beyond_the_unsure_rim_of_a_lesion_is_no_false_lesion() -> None:
    # a lesion of 3 columns, an unsure rim of 1, and found is one column more: no lesion too many
    found, rim = plane(np.s_[1:4, 1:6], ELSEWHERE), plane(np.s_[1:4, 4:5])
    kept = leave_out(found, rim, plane(LESION))
    assert np.array_equal(kept, plane(LESION, ELSEWHERE))
    scores = score_case(prediction(found, plane(LESION), rim), PostprocessingSpec(threshold=0.5))
    assert scores.any_overlap == LesionScores(hits=1, missed=0, right=1, false=1)


def test_unsure_voxels_leave_a_score_alone_and_count_in_the_wide_reading() -> None:
    spec = PostprocessingSpec(threshold=0.5)
    doubtful = prediction(plane(LESION), plane(LESION), plane(RIM))
    assert score_case(doubtful, spec).dice == 1.0
    # 9 of 9 + 6 voxels: 2 * 9 / (9 + 15)
    wide = score_case(counting_unsure(doubtful), spec)
    assert wide.dice == pytest.approx(0.75)
    assert wide.any_overlap.missed == 1


def test_excluded_voxels_count_in_no_reading() -> None:
    spec = PostprocessingSpec(threshold=0.5)
    other = replace(prediction(plane(LESION, RIM), plane(LESION)), excluded=Volume(plane(RIM), GRID))
    assert score_case(other, spec).any_overlap == LesionScores(hits=1, missed=0, right=1, false=0)
    both = replace(other, unsure=Volume(plane(ELSEWHERE), GRID))
    wide = score_case(counting_unsure(both), spec)
    assert wide.any_overlap == LesionScores(hits=1, missed=1, right=1, false=0)


def test_only_the_reading_with_unsure_voxels_takes_them_for_lesion_and_excluded_ones_have_none() -> None:
    excluded = replace(prediction(plane(LESION), plane(LESION)), excluded=Volume(plane(RIM), GRID))
    unsure = replace(prediction(plane(LESION), plane(LESION), plane(RIM)), case="b")
    evaluation, _ = judge(Predictions([], [[excluded, unsure]], [[]], []))
    assert [score.case for score in evaluation.scores[REAL_WITH_UNSURE]] == ["b"]


def test_a_case_is_known_by_what_it_holds() -> None:
    case, recipe = bright_spot_case("a"), tiny_recipe()

    def nothing(slices: np.ndarray) -> np.ndarray:
        return np.full((len(slices), 1, *slices.shape[2:]), -5.0, np.float32)

    def digests(case: Case) -> dict[str, str]:
        (result,) = predict_cases([case], recipe, nothing)
        score = score_case(result, PostprocessingSpec())
        assert score.dataset == "spots"
        return dict(score.digests)

    before, image, mask = digests(case), case.volumes[SeriesType.T2_FLAIR], case.masks[Segment.WMH]
    assert digests(bright_spot_case("b")) == before
    brighter = replace(case, volumes={SeriesType.T2_FLAIR: image.with_array(image.array + 1)})
    corrected = replace(case, masks={Segment.WMH: mask.with_array(np.roll(mask.array, 1))})
    doubted = replace(case, excluded={Segment.WMH: mask.with_array(np.roll(mask.array, 1))})
    for changed, what in ((brighter, "T2_FLAIR"), (corrected, "labels"), (doubted, "labels")):
        assert {name for name, digest in digests(changed).items() if digest != before[name]} == {what}


def test_a_perfect_network_scores_one_on_the_grid_of_the_case() -> None:
    case, recipe = bright_spot_case("a"), tiny_recipe()

    def bright(slices: np.ndarray) -> np.ndarray:
        return np.where(slices[:, 1:2] > 1.5, 5.0, -5.0).astype(np.float32)

    (result,) = predict_cases([case], recipe, bright)
    assert result.probability.array.shape == case.masks[Segment.WMH].array.shape
    assert score_case(result, PostprocessingSpec(threshold=0.5)).dice > 0.85


def test_a_lesion_that_is_marked_as_unsure_too_counts() -> None:
    case = bright_spot_case("a")
    lesion = case.masks[Segment.WMH]
    doubted = replace(case, unsure={Segment.WMH: lesion})

    def nothing(slices: np.ndarray) -> np.ndarray:
        return np.full((len(slices), 1, *slices.shape[2:]), -5.0, np.float32)

    (result,) = predict_cases([doubted], tiny_recipe(), nothing)
    exact = replace(result, probability=lesion.with_array(lesion.array.astype(np.float32)))
    assert score_case(exact, PostprocessingSpec(threshold=0.5)).dice == 1.0


def test_means_are_over_cases_with_lesions_and_false_alarms_over_those_without() -> None:
    spec = PostprocessingSpec(threshold=0.5)
    cases = [
        prediction(plane(LESION), plane(LESION)),
        prediction(plane(), plane(LESION)),
        prediction(plane(ELSEWHERE), plane()),
        prediction(plane(), plane()),
    ]
    summary = summarise([score_case(case, spec) for case in cases])
    assert (summary.cases, summary.free_cases) == (2, 2)
    assert summary.dice == 0.5
    assert summary.lesion_f1 == pytest.approx(2 / 3)  # one hit, one missed, none false
    assert summary.false_per_free_case == 0.5
    assert summary.false_per_case == 0.0


def test_what_only_cases_with_a_lesion_tell_is_not_told_without_one() -> None:
    summary = summarise([score_case(prediction(plane(ELSEWHERE), plane()), PostprocessingSpec())])
    assert (summary.cases, summary.free_cases, summary.heads) == (0, 1, 1)
    assert summary.dice is None
    assert summary.lesion_f1 is None
    assert summary.false_per_case is None
    assert summary.false_per_free_case == 1.0


def test_a_kept_operating_point_asks_no_validation_case() -> None:
    def unasked() -> Iterator[Prediction]:
        raise AssertionError("a network ran for nothing")
        yield

    test = [prediction(plane(LESION), plane(LESION))]
    evaluation, kept = judge(Predictions(unasked(), [], [], test), PostprocessingSpec(threshold=0.5))
    assert evaluation.point_was_kept
    assert evaluation.summaries["real, test"].dice == 1.0
    assert kept == test


def test_validation_cases_of_every_kind_choose_the_operating_point_as_they_come() -> None:
    boxes = [np.s_[row : row + 2, column : column + 2] for row in (0, 4, 8) for column in (1, 7)]
    heights = np.where(plane(boxes[-1]), 0.25, 0.95) * plane(*boxes)
    lesions = prediction(plane(*boxes), plane(*boxes))
    lesions = replace(lesions, probability=lesions.probability.with_array(heights.astype(np.float32)))
    spots = prediction(plane(*boxes[:2]), plane())
    spots = replace(spots, probability=spots.probability.with_array(spots.probability.array * 0.25 / 0.9))
    simulated = [lesions, *[prediction(plane(), plane())] * 4]

    def least(*cases: Prediction) -> float:
        evaluation, _ = judge(Predictions(iter(cases), [], [], []))
        return max(evaluation.postprocessing.threshold, evaluation.postprocessing.min_peak)

    assert least(*simulated, spots) < 0.25, "0.4 false lesions per lesion-free case"
    assert least(*simulated, replace(spots, kind=CaseKind.PAINTED)) > 0.25, "2 of them per painted one"
    assert least(*simulated) < 0.25


def test_there_is_no_summary_of_nothing() -> None:
    with pytest.raises(ValueError, match="no case"):
        summarise([])
