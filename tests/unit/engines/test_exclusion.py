from __future__ import annotations

import numpy as np
import pytest

from engines.exclusion import disjoint, exclude
from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support.head import axial_grid

WMH, LACUNE, INFARCT, MICROBLEED = Segment.WMH, Segment.LACUNE, Segment.INFARCT, Segment.MICROBLEED
GRID = axial_grid((6, 20, 20), (6.0, 1.0, 1.0))
RECENT = "Recent small subcortical infarct"
STAY = {segment: np.eye(4) for segment in Segment}


def columns(first: int, end: int, grid: Grid = GRID, rows: slice = slice(None)) -> Volume:
    mask = np.zeros(grid.shape, bool)
    mask[2, rows, first:end] = True
    return Volume(mask, grid)


def test_the_three_steps_follow_the_published_order() -> None:
    """WMH 0-12, lacune 6-16, infarct 10-20: 12 columns of WMH, 20 voxels each."""
    masks = {WMH: columns(0, 12), LACUNE: columns(6, 16), INFARCT: columns(10, 20)}
    left, records = exclude(masks, STAY)
    np.testing.assert_array_equal(left[WMH].array, columns(0, 6).array)
    np.testing.assert_array_equal(left[LACUNE].array, columns(6, 10).array)
    np.testing.assert_array_equal(left[INFARCT].array, columns(10, 20).array)
    steps = [(record.minuend, record.subtrahend, record.removed_voxels) for record in records]
    # 10-12 to the infarct; 6-10 to the lacune, 10-12 being gone already; 10-16 of the lacune to the infarct.
    assert steps == [(WMH, INFARCT, 40), (WMH, LACUNE, 80), (LACUNE, INFARCT, 120)]
    assert [record.removed_ml for record in records] == pytest.approx([0.24, 0.48, 0.72])
    assert all(record.performed for record in records)


def test_microbleeds_take_no_part() -> None:
    masks = {WMH: columns(0, 12), MICROBLEED: columns(0, 20), INFARCT: columns(15, 20)}
    left, _ = exclude(masks, STAY)
    np.testing.assert_array_equal(left[WMH].array, masks[WMH].array)
    np.testing.assert_array_equal(left[MICROBLEED].array, masks[MICROBLEED].array)


@pytest.mark.parametrize(
    ("present", "reasons"),
    [
        pytest.param(
            {WMH, LACUNE}, [f"{RECENT} was not assessed", "", f"{RECENT} was not assessed"], id="no-infarct"
        ),
        pytest.param(
            {WMH, INFARCT}, ["", "Lacune was not assessed", "Lacune was not assessed"], id="no-lacune"
        ),
        pytest.param(
            {INFARCT},
            [
                "White matter hyperintensity was not assessed",
                "White matter hyperintensity and Lacune were not assessed",
                "Lacune was not assessed",
            ],
            id="infarct-only",
        ),
    ],
)
def test_a_step_without_both_masks_is_not_performed(present: set[Segment], reasons: list[str]) -> None:
    left, records = exclude({segment: columns(0, 10) for segment in present}, STAY)
    assert set(left) == present
    steps = [(record.minuend, record.subtrahend) for record in records]
    assert steps == [(WMH, INFARCT), (WMH, LACUNE), (LACUNE, INFARCT)]
    assert [record.reason for record in records] == reasons
    assert [record.performed for record in records] == [not reason for reason in reasons]


def test_masks_of_different_grids_meet_in_patient_space() -> None:
    """The infarct's voxels are half as large; 4 of 8 of its fine columns lie in the WMH's columns 4 to 8."""
    fine = axial_grid((18, 40, 40), (2.0, 0.5, 0.5))
    infarct = np.zeros(fine.shape, bool)
    # The three fine slices in coarse slice 2, the fine columns in coarse columns 4 and 5.
    infarct[6:9, :, 8:12] = True
    left, records = exclude({WMH: columns(0, 8), INFARCT: Volume(infarct, fine)}, STAY)
    expected = columns(0, 8).array & ~columns(4, 6).array
    np.testing.assert_array_equal(left[WMH].array, expected)
    assert records[0].removed_voxels == 40


def test_transforms_between_the_series_are_followed() -> None:
    """Against the common space the lacune's Series moved by +3 columns, the infarct's by -2."""
    masks = {LACUNE: columns(6, 16), INFARCT: columns(5, 8)}
    moves = {segment: np.eye(4) for segment in Segment}
    moves[LACUNE][0, 3] = 3.0
    moves[INFARCT][0, 3] = -2.0
    left, records = exclude(masks, moves)
    # Infarct columns 5-8 are 7-10 in the common space and 10-13 in the lacune's.
    np.testing.assert_array_equal(left[LACUNE].array, columns(6, 16).array & ~columns(10, 13).array)
    assert records[2].removed_voxels == 60


def test_the_given_masks_are_not_changed() -> None:
    masks = {WMH: columns(0, 12), INFARCT: columns(6, 20)}
    before = masks[WMH].array.copy()
    exclude(masks, STAY)
    np.testing.assert_array_equal(masks[WMH].array, before)


def test_masks_on_one_grid_are_made_disjoint_smallest_lesions_first() -> None:
    """WMH 0-12, lacune 6-16, infarct 10-20, microbleed 4-8, on one grid."""
    masks = {
        WMH: columns(0, 12),
        LACUNE: columns(6, 16),
        INFARCT: columns(10, 20),
        MICROBLEED: columns(4, 8),
    }
    left = disjoint(masks)
    assert list(left) == list(masks)
    np.testing.assert_array_equal(left[MICROBLEED].array, columns(4, 8).array)
    np.testing.assert_array_equal(left[INFARCT].array, columns(10, 20).array)
    np.testing.assert_array_equal(left[LACUNE].array, columns(8, 10).array)
    np.testing.assert_array_equal(left[WMH].array, columns(0, 4).array)
    assert sum(mask.array.astype(int) for mask in left.values()).max() == 1
    assert masks[WMH].array.sum() == columns(0, 12).array.sum(), "the masks given stay as they are"


def test_nothing_is_subtracted_whose_place_is_not_known() -> None:
    """The infarct covers all; it may lie anywhere."""
    masks = {WMH: columns(0, 12), LACUNE: columns(6, 16), INFARCT: columns(0, 20)}
    left, records = exclude(masks, {WMH: np.eye(4), LACUNE: np.eye(4)})
    said = f"{RECENT} was found in an unknown place beside the other"
    assert [record.reason for record in records] == [said, "", said]
    np.testing.assert_array_equal(left[WMH].array, columns(0, 6).array)
    np.testing.assert_array_equal(left[LACUNE].array, masks[LACUNE].array)
