from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from engines.findings import SizeClass
from engines.lesions import METHOD_LIMITS_MM, measure, size_class
from engines.segments import Segment
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, grid_points

SPACING = (6.0, 1.0, 0.5)
GRID = axial_grid((6, 40, 40), SPACING)


def painted(*places: tuple[object, ...], grid: Grid = GRID) -> Volume:
    mask = np.zeros(grid.shape, bool)
    for place in places:
        mask[place] = True
    return Volume(mask, grid)


@pytest.mark.parametrize(
    ("spacing_mm", "expected_ml"),
    [
        pytest.param((1.0, 1.0, 1.0), 0.008, id="isotropic"),
        pytest.param((3.0, 1.0, 1.0), 0.024, id="thick-slices"),
    ],
)
def test_volume_follows_spacing(spacing_mm: tuple[float, float, float], expected_ml: float) -> None:
    mask = painted((slice(1, 3), slice(4, 6), slice(7, 9)), grid=axial_grid((4, 10, 10), spacing_mm))
    (lesion,) = measure(mask).lesions
    assert lesion.voxel_count == 8
    assert lesion.volume_ml == pytest.approx(expected_ml)


@pytest.mark.parametrize(
    ("place", "diameter_mm", "axial_mm", "area_mm2"),
    [
        # One voxel of 6 x 1 x 0.5 mm.
        pytest.param((2, 5, 5), 6.0, 1.0, 0.5, id="one-voxel"),
        # Ten columns of 0.5 mm. Farthest apart are the faces below the first and above the last voxel.
        pytest.param((2, 5, slice(5, 15)), math.hypot(6, 4.5), 5.0, 5.0, id="line"),
        # 8 rows of 1 mm: from the outer face of the first to that of the last; askew through the slice.
        pytest.param((2, slice(5, 13), 5), math.hypot(6, 7), 8.0, 4.0, id="column"),
        # Three slices of 6 mm: 18 mm high.
        pytest.param((slice(1, 4), 5, 5), 18.0, 1.0, 0.5, id="pillar"),
        # 10 x 20 voxels are 10 x 10 mm: on the slice from row face to row face, askew through the slice.
        pytest.param(
            (2, slice(5, 15), slice(5, 25)), math.hypot(6, 9, 9.5), math.hypot(10, 9.5), 100.0, id="square"
        ),
    ],
)
@pytest.mark.parametrize("turn_deg", [(0, 0, 0), (20, -15, 10)], ids=["upright", "oblique"])
def test_diameters_and_area_of_simple_shapes(
    place: tuple[object, ...],
    diameter_mm: float,
    axial_mm: float,
    area_mm2: float,
    turn_deg: tuple[float, ...],
) -> None:
    turned = axial_grid(GRID.shape, SPACING, Rotation.from_euler("xyz", turn_deg, degrees=True))
    (lesion,) = measure(painted(place, grid=turned)).lesions
    assert lesion.max_axial_diameter_mm == pytest.approx(axial_mm)
    assert lesion.max_area_mm2 == pytest.approx(area_mm2)
    assert lesion.max_diameter_mm == pytest.approx(diameter_mm)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), angles=st.tuples(*[st.floats(-180, 180)] * 3))
def test_the_diameter_is_that_of_all_pairs_of_faces(seed: int, angles: tuple[float, ...]) -> None:
    grid = axial_grid((5, 9, 9), (4.0, 1.2, 0.7), Rotation.from_euler("xyz", angles, degrees=True))
    mask = np.zeros(grid.shape, bool)
    mask[1:4, 2:7, 2:7] = np.random.default_rng(seed).random((3, 5, 5)) < 0.7
    for number, lesion in enumerate(measure(Volume(mask, grid)).lesions, start=1):
        voxels = np.argwhere(measure(Volume(mask, grid)).labels == number)
        faces = np.concatenate(
            [voxels + 0.5 * sign * np.eye(3)[axis] for axis in range(3) for sign in (-1, 1)]
        )
        assert lesion.max_diameter_mm == pytest.approx(pdist(grid.to_lps(faces)).max())


def test_a_large_ball_measures_its_diameter_and_volume() -> None:
    """A ball of 24 mm: 4/3 pi 12^3 = 7238 mm3, 24 mm, pi 12^2 = 452 mm2."""
    grid = axial_grid((40, 40, 40), (1.0, 1.0, 1.0), Rotation.from_euler("xyz", [10, 20, -15], degrees=True))
    inside = (np.linalg.norm(grid_points(grid), axis=1) < 12).reshape(grid.shape)
    (lesion,) = measure(Volume(inside, grid)).lesions
    assert lesion.volume_ml == pytest.approx(7.238, rel=0.02)
    assert lesion.max_diameter_mm == pytest.approx(24, abs=1)
    assert lesion.max_area_mm2 == pytest.approx(452, rel=0.03)
    assert lesion.centroid_lps_mm == pytest.approx((0, 0, 0), abs=1e-9)
    assert lesion.size_class is SizeClass.LARGE


def test_axial_slices_are_found_on_a_sagittal_series() -> None:
    """3 x 10 x 20 voxels of 5 (left), 1 (down) and 2 mm (back): 15 x 40 mm on each of ten axial slices."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[5.0, 0, 0], [0, 0, 2.0], [0, -1.0, 0]])
    grid = Grid((6, 30, 30), affine)
    (lesion,) = measure(painted((slice(1, 4), slice(5, 15), slice(4, 24)), grid=grid)).lesions
    assert lesion.max_area_mm2 == pytest.approx(600)
    # Face centres farthest apart on a slice: (2.5, 0) to (12.5, 40), or (0, 1) to (15, 39).
    assert lesion.max_axial_diameter_mm == pytest.approx(max(math.hypot(10, 40), math.hypot(15, 38)))


def test_centroids_are_in_patient_space() -> None:
    grid = axial_grid((6, 40, 40), SPACING, centre_mm=(10.0, -20.0, 30.0))
    (lesion,) = measure(painted((slice(2, 4), slice(19, 21), slice(19, 21)), grid=grid)).lesions
    assert lesion.centroid_lps_mm == pytest.approx((10, -20, 30))


def test_lesions_are_numbered_and_labelled() -> None:
    measured = measure(painted((0, 3, 3), (2, 8, 8), (3, 9, 9), (5, 30, 30)))
    assert [lesion.number for lesion in measured.lesions] == [1, 2, 3]
    assert [lesion.voxel_count for lesion in measured.lesions] == [1, 2, 1]
    assert measured.labels[2, 8, 8] == measured.labels[3, 9, 9] == 2


def test_an_empty_mask_has_no_lesions() -> None:
    measured = measure(painted())
    assert measured.lesions == ()
    assert not measured.labels.any()


@pytest.mark.parametrize(
    ("area_mm2", "expected"),
    [
        (19.99, SizeClass.SMALL),
        (20.0, SizeClass.MEDIUM),
        (150.0, SizeClass.MEDIUM),
        (150.01, SizeClass.LARGE),
    ],
)
def test_size_classes_by_area(area_mm2: float, expected: SizeClass) -> None:
    assert size_class(area_mm2) is expected


@pytest.mark.parametrize(
    ("segment", "rows", "within"),
    [
        pytest.param(Segment.LACUNE, 2, False, id="lacune-2-mm"),
        pytest.param(Segment.LACUNE, 3, True, id="lacune-3-mm"),
        pytest.param(Segment.LACUNE, 15, True, id="lacune-15-mm"),
        pytest.param(Segment.LACUNE, 16, False, id="lacune-16-mm"),
        pytest.param(Segment.INFARCT, 1, True, id="infarct-1-mm"),
        pytest.param(Segment.INFARCT, 20, True, id="infarct-20-mm"),
        pytest.param(Segment.INFARCT, 21, False, id="infarct-21-mm"),
        pytest.param(Segment.MICROBLEED, 1, False, id="microbleed-1-mm"),
        pytest.param(Segment.MICROBLEED, 10, True, id="microbleed-10-mm"),
        pytest.param(Segment.MICROBLEED, 11, False, id="microbleed-11-mm"),
        pytest.param(Segment.WMH, 30, True, id="wmh-has-no-limits"),
    ],
)
def test_published_limits_hold_for_the_axial_diameter(segment: Segment, rows: int, within: bool) -> None:
    """Two slices of 6 mm, so the 3D diameter is at least 12 mm."""
    mask = painted((slice(1, 3), slice(2, 2 + rows), 5))
    (lesion,) = measure(mask, METHOD_LIMITS_MM.get(segment)).lesions
    assert lesion.within_limits is within


def test_lesions_outside_the_limits_are_dropped_only_on_demand() -> None:
    mask = painted((1, slice(2, 4), 5), (3, slice(2, 10), 5), (5, slice(2, 30), 5))
    kept = measure(mask, (3.0, 15.0))
    assert [lesion.within_limits for lesion in kept.lesions] == [False, True, False]
    dropped = measure(mask, (3.0, 15.0), drop=True)
    assert [(lesion.number, lesion.voxel_count) for lesion in dropped.lesions] == [(1, 8)]
    assert dropped.mask.array.sum() == 8
    assert dropped.labels.max() == 1
