"""The operating point: what it maximises, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from engines.postprocessing import PostprocessingSpec, lesion_mask
from engines.volume import Grid, Volume
from training.cases import CaseKind
from training.evaluation import Prediction, score_case
from training.metrics import LesionScores
from training.operating_point import THRESHOLDS, Joint, choose, find_candidates, joint, score

GRID = Grid((1, 10, 10), np.eye(4)[[2, 1, 0, 3]])


def predicted(probability: np.ndarray, reference: np.ndarray) -> Prediction:
    volume = Volume(probability.astype(np.float32)[None], GRID)
    return Prediction("a", "p", CaseKind.REAL, volume, volume, Volume(reference[None], GRID))


def spots() -> Prediction:
    """A lesion of 9 voxels of which all are found at 0.85, and a false spot of one voxel at 0.55."""
    probability, reference = np.zeros((10, 10)), np.zeros((10, 10), dtype=bool)
    reference[1:4, 1:4] = True
    probability[1:4, 1:4], probability[8, 8] = 0.85, 0.55
    return predicted(probability, reference)


def test_an_operating_point_is_chosen_by_the_scores_that_are_reported() -> None:
    # found are 2 voxels of a lesion with 8 unsure ones, 10 in all; 9 unsure ones alone; and 4 false ones
    probability, reference, unsure = (np.zeros((10, 10)), *np.zeros((2, 10, 10), dtype=bool))
    probability[0:2, 0:5], probability[4:7, 4:7], probability[8:10, 8:10] = 0.6, 0.7, 0.8
    reference[0:2, 0:1] = unsure[0:2, 1:5] = unsure[4:7, 4:7] = True
    case = replace(predicted(probability, reference), unsure=Volume(unsure[None], GRID))
    for min_lesion_ml, min_peak in ((0.0, 0.0), (0.005, 0.0), (0.0, 0.65)):
        spec = PostprocessingSpec(threshold=0.5, min_lesion_ml=min_lesion_ml, min_peak=min_peak)
        reported = score_case(case, spec)
        candidates = find_candidates(case)[THRESHOLDS.index(0.5)]
        chosen_by = score(candidates, min_lesion_ml, min_peak)
        assert chosen_by == (pytest.approx(reported.dice), reported.any_overlap)


def test_a_smaller_component_than_the_smallest_lesion_does_not_count() -> None:
    case = find_candidates(spots())[THRESHOLDS.index(0.5)]
    assert score(case, 0.0) == (2 * 9 / (10 + 9), LesionScores(1, 0, 1, 1))
    assert score(case, 0.005) == (1.0, LesionScores(1, 0, 1, 0))


def test_a_lesion_of_exactly_the_smallest_volume_counts() -> None:
    case = find_candidates(spots())[THRESHOLDS.index(0.7)]
    assert score(case, 0.009)[1].hits == 1


def test_a_component_below_the_least_peak_does_not_count() -> None:
    case = find_candidates(spots())[THRESHOLDS.index(0.5)]
    assert case.peaks.tolist() == pytest.approx([0.85, 0.55])
    assert score(case, 0.0, min_peak=0.6) == (1.0, LesionScores(1, 0, 1, 0))
    assert score(case, 0.0, min_peak=0.9) == (0.0, LesionScores(0, 1, 0, 0))


def test_a_peak_is_asked_for_where_only_it_tells_the_lesion_from_a_false_spot() -> None:
    probability, reference = np.zeros((10, 10)), np.zeros((10, 10), dtype=bool)
    reference[1:5, 1:5] = True
    probability[1:5, 1:5], probability[2, 2] = 0.45, 0.95
    probability[6:10, 5:10] = 0.65
    chosen = choose([[find_candidates(predicted(probability, reference))]])
    assert chosen.threshold <= 0.4
    assert chosen.min_peak >= 0.7


def test_a_threshold_above_the_probability_misses() -> None:
    case = find_candidates(spots())[THRESHOLDS.index(0.9)]
    assert score(case, 0.0) == (0.0, LesionScores(0, 1, 0, 0))


def test_the_chosen_point_finds_the_lesion_without_the_false_spot() -> None:
    chosen = choose([[find_candidates(spots())]])
    prediction = spots()
    found = lesion_mask(prediction.probability, chosen).array
    np.testing.assert_array_equal(found, prediction.reference.array)


def test_false_alarms_on_healthy_cases_are_fined_beyond_one_half() -> None:
    scores = LesionScores(1, 0, 1, 0)
    assert Joint(0.8, scores, 1, 0.5).quality == pytest.approx(0.9)
    assert Joint(0.8, scores, 1, 0.5).fine == 0.0
    assert Joint(0.8, scores, 1, 1.5).fine == pytest.approx(0.1)


def test_false_alarms_in_one_kind_of_cases_are_not_hidden_by_many_of_another() -> None:
    probability, reference = np.zeros((10, 10)), np.zeros((10, 10), dtype=bool)
    for number, corner in enumerate((row, column) for row in (0, 4, 8) for column in (1, 7)):
        place = tuple(slice(start, start + 2) for start in corner)
        reference[place], probability[place] = True, 0.25 if number == 5 else 0.95
    clean, spots = np.zeros((10, 10)), np.zeros((10, 10))
    spots[2:4, 2:4] = spots[8:10, 8:10] = 0.25
    nothing = np.zeros((10, 10), dtype=bool)
    ill, healthy, mistaken = (
        find_candidates(predicted(*one))
        for one in ((probability, reference), (clean, nothing), (spots, nothing))
    )
    simulated, painted = [ill, *[healthy] * 4], [mistaken]
    for kinds, real, drops in (
        ([simulated + painted], [], False),
        ([simulated, painted], [], True),
        ([], [ill, *[healthy] * 4, mistaken], False),
        ([], [ill, mistaken], True),
        ([simulated], [ill, mistaken], True),
    ):
        point = choose(kinds, real)
        assert (max(point.threshold, point.min_peak) > 0.25) is drops


def test_one_blob_over_several_lesions_is_worse_than_an_outline_of_each() -> None:
    # three lesions, the faintest of which is found only where the brighter two run together
    probability, reference = np.zeros((10, 10)), np.zeros((10, 10), dtype=bool)
    probability[1:9, 1:9], probability[5:, 5:] = 0.25, 0.0
    for corner, height in (((1, 1), 0.95), ((1, 6), 0.95), ((6, 1), 0.25)):
        place = tuple(slice(start, start + 3) for start in corner)
        reference[place], probability[place] = True, height
    case = find_candidates(predicted(probability, reference))
    blob, outlines = (joint([case[THRESHOLDS.index(at)]], 0.0) for at in (0.2, 0.5))
    assert (blob.lesions, blob.pairs) == (LesionScores(3, 0, 1, 0), 1)
    assert (outlines.lesions, outlines.pairs) == (LesionScores(2, 1, 2, 0), 2)
    # by hand: Dice 2 x 27 / (48 + 27) and 2 x 18 / (18 + 27), pairs 2 x 1 / (3 + 1) and 2 x 2 / (3 + 2)
    assert blob.quality == pytest.approx((54 / 75 + 1 / 2) / 2)
    assert outlines.quality == pytest.approx((36 / 45 + 4 / 5) / 2)
    assert choose([[case]]).threshold >= 0.3


def test_real_cases_judge_the_quality_where_there_are_any() -> None:
    faint = predicted(np.full((10, 10), 0.25), np.ones((10, 10), dtype=bool))
    inner = np.zeros((10, 10), dtype=bool)
    inner[2:5, 2:5] = True
    sharp = predicted(np.where(inner, 0.85, 0.55), inner)
    assert choose([[find_candidates(faint)]]).threshold <= 0.2
    assert choose([[find_candidates(faint)]], [find_candidates(sharp)]).threshold > 0.55
    assert choose([], [find_candidates(sharp)]).threshold > 0.55


def test_without_cases_the_middle_is_taken() -> None:
    assert choose([]).threshold == 0.5
