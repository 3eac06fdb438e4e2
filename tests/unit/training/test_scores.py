"""Patches, ranking, sizes and agreement: worked out by hand, and against scikit-learn and SimpleITK."""

import numpy as np
import pytest
import SimpleITK
from sklearn import metrics as sklearn_metrics

from engines.findings import SizeClass
from training.agreement import bland_altman
from training.metrics import hausdorff95_mm, split_by_size, voxel_scores
from training.patches import patch_scores, patch_side, patches
from training.ranking import FALSE_RATES, roc_auc, roc_curve


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two masks of a few boxes that overlap in part."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 12, 30, 40), dtype=bool)
    for place in rng.integers(0, 20, size=(4, 3)) // [4, 1, 1]:
        for mask in masks:
            z, y, x = 1 + place + rng.integers(0, 3, size=3)
            mask[z : z + 3, y : y + 5, x : x + 6] = True
    return masks[0], masks[1]


@pytest.mark.parametrize("seed", range(3))
def test_voxel_scores_are_those_of_scikit_learn(seed) -> None:
    found, reference = blobs(seed)
    scores, flat = voxel_scores(found, reference), (reference.ravel(), found.ravel())
    assert scores.dice == pytest.approx(sklearn_metrics.f1_score(*flat))
    assert scores.precision == pytest.approx(sklearn_metrics.precision_score(*flat))
    assert scores.recall == pytest.approx(sklearn_metrics.recall_score(*flat))
    assert scores.accuracy == pytest.approx(sklearn_metrics.accuracy_score(*flat))


def test_accuracy_by_hand() -> None:
    # of ten voxels one is missed and two are false
    found, reference = np.zeros((1, 1, 10), bool), np.zeros((1, 1, 10), bool)
    found[0, 0, 3:7], reference[0, 0, 2:5] = True, True
    assert voxel_scores(found, reference).accuracy == pytest.approx(0.7)


@pytest.mark.parametrize("decimals", [1, 8], ids=["many-ties", "no-ties"])
def test_area_under_the_curve_is_that_of_scikit_learn(decimals) -> None:
    _, reference = blobs(0)
    noise = np.random.default_rng(1).random(reference.shape)
    probability = np.round(0.3 * reference + 0.7 * noise, decimals)
    expected = sklearn_metrics.roc_auc_score(reference.ravel(), probability.ravel())
    assert roc_auc(probability, reference) == pytest.approx(expected)


def test_area_under_the_curve_by_hand() -> None:
    # lesion voxels 0.9 and 0.4 against 0.5, 0.4, 0.1: 3 + 1 + 0.5 of 6 pairs are ranked right
    probability = np.array([0.9, 0.4, 0.5, 0.4, 0.1])
    assert roc_auc(probability, np.array([1, 1, 0, 0, 0], bool)) == pytest.approx(4.5 / 6)


def test_voxels_that_do_not_count_change_no_area() -> None:
    probability, reference = np.array([0.9, 0.2, 0.5]), np.array([1, 0, 0], bool)
    valid = np.array([1, 1, 0], bool)
    assert roc_auc(probability, reference, valid) == 1.0
    assert roc_auc(1 - probability, reference, valid) == 0.0


def test_there_is_no_curve_without_a_lesion() -> None:
    assert roc_auc(np.zeros(4), np.zeros(4, bool)) is None
    assert roc_curve(np.zeros(4), np.zeros(4, bool)) is None


def test_curve_reaches_the_rate_that_its_false_positives_allow() -> None:
    # 1000 voxels outside with values 0.000 to 0.999; lesion voxels at 0.9985, 0.95 and 0.5
    probability = np.concatenate([np.arange(1000) / 1000, [0.9985, 0.95, 0.5]])
    reference = np.arange(1003) >= 1000
    curve = dict(zip(FALSE_RATES, roc_curve(probability, reference), strict=True))
    assert curve[1e-5] == 0.0  # no false positive allowed: above 0.999 lies no lesion voxel
    assert curve[1e-3] == pytest.approx(1 / 3)  # one allowed: 0.9985 is found
    assert curve[0.1] == pytest.approx(2 / 3)  # a hundred: down to 0.9, so 0.95 is found
    assert curve[1.0] == 1.0


@pytest.mark.parametrize(("size", "side"), [((384, 384), 20), ((224, 224), 15), ((256, 181), 16)])
def test_a_patch_is_about_the_square_root_of_the_image_size(size, side) -> None:
    assert patch_side(*size) == side


def test_a_patch_is_positive_when_any_of_its_pixels_is() -> None:
    mask = np.zeros((1, 10, 10), bool)  # patches of 3: rows and columns 0-2, 3-5, 6-8, 9
    mask[0, 2, 2] = mask[0, 9, 0] = mask[0, 4, 9] = True
    expected = np.zeros((1, 4, 4), bool)
    expected[0, 0, 0] = expected[0, 3, 0] = expected[0, 1, 3] = True
    assert np.array_equal(patches(mask), expected)


def test_patch_dice_forgives_a_shift_within_a_patch() -> None:
    found, reference = np.zeros((2, 1, 9, 9), bool)
    found[0, 0, 0] = found[0, 8, 8] = True
    reference[0, 2, 2] = reference[0, 0, 8] = True
    assert voxel_scores(found, reference).dice == 0.0
    assert patch_scores(found, reference).dice == 0.5  # one of two patches on each side


def test_found_lesions_belong_to_the_size_of_the_lesion_that_they_cover() -> None:
    # 1 mm pixels: 4 x 4 = 16 mm2 is small, 10 x 10 = 100 mm2 medium
    found, reference = np.zeros((2, 1, 40, 40), bool)
    reference[0, 0:4, 0:4] = reference[0, 20:30, 20:30] = True
    found[0, 0:6, 0:6] = True  # 36 mm2 by itself, covers the small lesion
    found[0, 22:26, 20:24] = True  # 16 mm2 by itself, in the medium one
    found[0, 35:38, 0:3] = True  # touches nothing, small
    parts = split_by_size(found, reference, (5.0, 1.0, 1.0))
    small, medium, large = (parts[size] for size in SizeClass)
    assert voxel_scores(*small).dice == pytest.approx(2 * 16 / (16 + 36 + 9))
    assert voxel_scores(*medium).dice == pytest.approx(2 * 16 / (16 + 100))
    assert not large[0].any()
    assert not large[1].any()


@pytest.mark.parametrize("seed", range(3))
def test_every_voxel_is_in_one_size_class(seed) -> None:
    found, reference = blobs(seed)
    parts = split_by_size(found, reference, (5.0, 1.5, 1.5)).values()
    assert np.array_equal(sum(part[0].astype(int) for part in parts), found.astype(int))
    assert np.array_equal(sum(part[1].astype(int) for part in parts), reference.astype(int))


@pytest.mark.parametrize("seed", range(3))
def test_hausdorff_distance_is_that_of_distance_maps_of_simpleitk(seed) -> None:
    found, reference = blobs(seed)
    spacing_mm = (5.0, 0.9, 1.1)
    images = []
    for mask in (found, reference):
        image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing_mm[::-1])
        images.append(image)
    contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in images]
    maps = [
        SimpleITK.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True) for c in contours
    ]
    distances = [np.abs(SimpleITK.GetArrayFromImage(image)) for image in maps]
    on = [SimpleITK.GetArrayFromImage(contour) > 0 for contour in contours]
    expected = max(np.percentile(distances[1][on[0]], 95), np.percentile(distances[0][on[1]], 95))
    assert hausdorff95_mm(found, reference, spacing_mm) == pytest.approx(expected, abs=1e-3)


def test_dice_is_that_of_simpleitk() -> None:
    found, reference = blobs(0)
    measures = SimpleITK.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (reference, found)))
    assert voxel_scores(found, reference).dice == pytest.approx(measures.GetDiceCoefficient())


def test_bland_altman_by_hand() -> None:
    # differences 1, -1, 3: mean 1, standard deviation 2
    agreement = bland_altman([(3.0, 2.0), (4.0, 5.0), (9.0, 6.0)])
    assert (agreement.cases, agreement.bias_ml, agreement.sd_ml) == (3, 1.0, 2.0)
    assert (agreement.lower_ml, agreement.upper_ml) == pytest.approx((-2.92, 4.92))


def test_one_pair_has_no_limits_of_agreement() -> None:
    assert bland_altman([(1.0, 2.0)]) is None
