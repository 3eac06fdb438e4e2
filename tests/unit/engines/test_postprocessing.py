from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from engines.components import label, sizes
from engines.errors import RunnerError
from engines.postprocessing import PostprocessingSpec, lesion_mask, probabilities
from engines.preprocessing import Fit, Normalisation, Prepared, PreprocessingSpec, prepare
from engines.volume import Volume
from tests.support.head import axial_grid, head

GRID = axial_grid((4, 32, 32), (5.0, 2.0, 1.0))


def prepared() -> Prepared:
    spec = PreprocessingSpec(
        pixel_grid=(32, 32), fit=Fit.PAD_RESIZE, normalisation=Normalisation.WHITE_MATTER_PEAK
    )
    return prepare([head(axial_grid((4, 32, 32), (5.0, 2.0, 2.0)))], spec)


def test_logits_become_probabilities() -> None:
    """sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4."""
    logits = np.zeros((4, 1, 32, 32), np.float32)
    logits[2] = np.log(3)
    volume = probabilities(logits, prepared())
    assert volume.array.dtype == np.float32
    assert volume.array[0] == pytest.approx(np.full((32, 32), 0.5))
    assert volume.array[2] == pytest.approx(np.full((32, 32), 0.75))


def test_infinite_logits_are_certain() -> None:
    logits = np.full((4, 1, 32, 32), -np.inf, np.float32)
    logits[1] = np.inf
    array = probabilities(logits, prepared()).array
    assert array.min() == 0
    assert array[1].min() == 1


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(RunnerError, match="expected"):
        probabilities(np.zeros((4, 2, 32, 32), np.float32), prepared())


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(RunnerError, match="not numbers"):
        probabilities(np.full((4, 1, 32, 32), np.nan, np.float32), prepared())


def test_the_threshold_itself_is_lesion() -> None:
    array = np.linspace(0, 1, GRID.shape[0], dtype=np.float32)[:, None, None] * np.ones(
        (1, 32, 32), np.float32
    )
    mask = lesion_mask(Volume(array, GRID), PostprocessingSpec(threshold=float(array[2, 0, 0])))
    assert mask.array.dtype == np.bool_
    assert mask.array.any(axis=(1, 2)).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("min_lesion_ml", "kept"),
    [
        pytest.param(0.0, 2, id="off"),
        pytest.param(0.04, 2, id="exactly-four-voxels-of-10-mm3"),
        pytest.param(0.041, 1, id="just-above"),
        pytest.param(1.0, 0, id="larger-than-all"),
    ],
)
def test_small_lesions_are_dropped_by_volume(min_lesion_ml: float, kept: int) -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[0, 4:6, 4:6] = 0.9
    array[2, 10:15, 10:12] = 0.9
    mask = lesion_mask(Volume(array, GRID), PostprocessingSpec(min_lesion_ml=min_lesion_ml))
    assert label(mask.array)[1] == kept


@pytest.mark.parametrize(
    ("min_peak", "kept"),
    [
        pytest.param(0.0, [7, 4], id="off"),
        pytest.param(0.5, [7, 4], id="at-the-threshold"),
        pytest.param(0.9, [7], id="one-voxel-reaches-it"),
        pytest.param(0.91, [], id="just-above"),
    ],
)
def test_lesions_need_a_peak_and_keep_their_outline(min_peak: float, kept: list[int]) -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[0, 4, 2:9], array[0, 4, 5] = 0.6, np.float32(0.9)
    array[2, 10, 10:14] = 0.8
    mask = lesion_mask(Volume(array, GRID), PostprocessingSpec(min_peak=np.float32(min_peak)))
    labels, count = label(mask.array)
    assert sizes(labels, count).tolist() == kept


def test_the_order_of_a_probability_in_memory_does_not_matter() -> None:
    array = np.random.default_rng(1).random(GRID.shape, np.float32)
    spec = PostprocessingSpec(threshold=0.8, min_lesion_ml=0.03, min_peak=0.95)
    expected = lesion_mask(Volume(array, GRID), spec).array
    assert 0 < expected.sum() < (array >= np.float32(0.8)).sum()
    np.testing.assert_array_equal(lesion_mask(Volume(np.asfortranarray(array), GRID), spec).array, expected)


def test_components_are_numbered_by_their_first_voxel_wherever_they_lie() -> None:
    """The first in order of (slice, row, column) is number 1; the last ends in the last corner."""
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[2, 4, 6] = mask[3, 5, 7] = mask[2, 6, 1] = mask[4:, 6, 3] = mask[5, 6, 7] = True
    labels, count = label(mask)
    assert (count, labels.shape, labels.dtype) == (4, (6, 7, 8), np.int32)
    numbered = {tuple(place): int(labels[tuple(place)]) for place in np.argwhere(labels).tolist()}
    expected = {(2, 4, 6): 1, (3, 5, 7): 1, (2, 6, 1): 2, (4, 6, 3): 3, (5, 6, 3): 3, (5, 6, 7): 4}
    assert numbered == expected


def test_no_voxels_are_no_component() -> None:
    labels, count = label(np.zeros((3, 4, 5), dtype=bool))
    assert (count, labels.shape, labels.any()) == (0, (3, 4, 5), False)


def test_voxels_that_touch_at_a_corner_are_one_component() -> None:
    mask = np.zeros((3, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 0] = True
    mask[0, 3, 3] = True
    labels, count = label(mask)
    assert count == 2
    assert labels[0, 0, 0] == labels[1, 1, 1] == labels[2, 2, 0] == 1
    assert labels[0, 3, 3] == 2


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValidationError):
        PostprocessingSpec(threshold=threshold)
