"""Slices are sorted by place and checked; each fault has its own error with the places it is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from node.geometry import VolumeSettings, arrange, extent_mm
from node.header_reader import read_image_header
from node.stacks import Stack, split_stacks
from node.volume_errors import (
    DuplicatePositionError,
    InvalidOrientationError,
    MissingGeometryError,
    MissingSliceError,
    MixedFrameOfReferenceError,
    MixedMatrixError,
    MixedOrientationError,
    NonUniformSpacingError,
    PixelDataError,
    SlantedStackError,
    TooFewSlicesError,
    VolumeError,
)
from tests.support.mr_headers import AXIAL, CORONAL, SAGITTAL, mr_dataset, mr_series, one_stack

DEFAULTS = VolumeSettings()


def slices_at(*heights: float, **elements: Any) -> Stack:
    """Return axial slices at these z, the first Instance first."""
    return one_stack(
        [
            read_image_header(mr_dataset(n, ImagePositionPatient=[-3.0, -4.0, z], **elements))
            for n, z in enumerate(heights, start=1)
        ]
    )


def with_odd_one(odd: dict[str, Any], slices: int = 6) -> Stack:
    """Return a regular stack whose fourth slice differs in some elements."""
    numbers = range(1, slices + 1)
    return one_stack([read_image_header(mr_dataset(n, **(odd if n == 4 else {}))) for n in numbers])


@pytest.mark.parametrize(
    ("orientation", "slice_axis", "row_axis", "column_axis"),
    [
        # PS3.3 C.7.6.2.1.1: row cosines are the step of the column index, column cosines of the row index.
        pytest.param(AXIAL, (0, 0, 5), (0, 1, 0), (1, 0, 0), id="axial"),
        pytest.param(SAGITTAL, (-5, 0, 0), (0, 0, -1), (0, 1, 0), id="sagittal"),
        pytest.param(CORONAL, (0, 5, 0), (0, 0, -1), (1, 0, 0), id="coronal"),
    ],
)
def test_axes_of_the_lattice(
    orientation: tuple[float, ...],
    slice_axis: tuple[float, ...],
    row_axis: tuple[float, ...],
    column_axis: tuple[float, ...],
) -> None:
    affine = arrange(one_stack(mr_series(6, orientation=orientation)), DEFAULTS).grid.affine
    np.testing.assert_allclose(affine[:3, :3].T, [slice_axis, row_axis, column_axis], atol=1e-9)


def test_negative_cosines_turn_the_normal() -> None:
    # Row cosines -x, column cosines y: the normal points to -z, so the highest slice comes first.
    stack = slices_at(0.0, 5.0, 10.0, ImageOrientationPatient=[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    geometry = arrange(stack, DEFAULTS)
    assert geometry.grid.affine[:3, 3].tolist() == [-3.0, -4.0, 10.0]
    np.testing.assert_allclose(geometry.grid.affine[:3, 0], [0.0, 0.0, -5.0])


def test_pixel_spacing_is_row_distance_then_column_distance() -> None:
    grid = arrange(slices_at(0.0, 5.0, 10.0, PixelSpacing=[2.0, 0.5]), DEFAULTS).grid
    assert grid.spacing_mm == (5.0, 2.0, 0.5)
    assert grid.shape == (3, 8, 6)


@pytest.mark.parametrize("heights", [(0.0, 5.0, 10.0, 15.0), (15.0, 10.0, 5.0, 0.0), (10.0, 0.0, 15.0, 5.0)])
def test_order_of_instances_does_not_matter(heights: tuple[float, ...]) -> None:
    geometry = arrange(slices_at(*heights), DEFAULTS)
    places = [item.plane.position_mm[2] for item in geometry.frames if item.plane]
    assert places == [0.0, 5.0, 10.0, 15.0]


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*(st.floats(-180, 180) for _ in range(3))),
    spacing=st.tuples(st.floats(0.6, 7.0), st.floats(0.2, 2.0), st.floats(0.2, 2.0)),
    seed=st.integers(0, 1000),
)
def test_every_voxel_lies_where_the_standard_puts_it(
    angles: tuple[float, float, float], spacing: tuple[float, float, float], seed: int
) -> None:
    """PS3.3 equation C.7.6.2.1-1: position + row cosines * dj * i + column cosines * di * j."""
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    rows, columns, normal = turn[:, 0], turn[:, 1], turn[:, 2]
    origin = np.array([12.0, -34.0, 56.0])
    order = np.random.default_rng(seed).permutation(7)
    headers = [
        read_image_header(
            mr_dataset(
                int(k) + 1,
                ImageOrientationPatient=[*rows.tolist(), *columns.tolist()],
                ImagePositionPatient=(origin + normal * spacing[0] * k).tolist(),
                PixelSpacing=[spacing[1], spacing[2]],
            )
        )
        for k in order
    ]
    grid = arrange(one_stack(headers), DEFAULTS).grid
    i, j, k = 5, 7, 6
    expected = origin + normal * spacing[0] * k + rows * spacing[2] * i + columns * spacing[1] * j
    np.testing.assert_allclose(grid.to_lps(np.array([[k, j, i]]))[0], expected, atol=1e-4)


def test_missing_slice_is_named_with_its_place() -> None:
    with pytest.raises(MissingSliceError) as caught:
        arrange(slices_at(0.0, 5.0, 10.0, 20.0, 25.0, 40.0), DEFAULTS)
    assert caught.value.positions_mm == (15.0, 30.0, 35.0)
    assert caught.value.missing == 3
    assert "Study 1.2.3, Series 1.2.3.4: 3 slices are missing" in str(caught.value)
    assert "at 15.00, 30.00, 35.00 mm along the normal; send the Series again" in str(caught.value)


def test_every_second_slice_missing_is_told_by_the_stated_spacing() -> None:
    # Slices of 5 mm with a gap of 1 mm, of which the second half of an interleaved acquisition did not come.
    with pytest.raises(MissingSliceError) as caught:
        arrange(slices_at(0.0, 12.0, 24.0, SliceThickness=5.0, SpacingBetweenSlices=6.0), DEFAULTS)
    assert caught.value.positions_mm == pytest.approx((6.0, 18.0))


@pytest.mark.parametrize(
    "stated",
    [
        pytest.param({"SliceThickness": 5.0, "SpacingBetweenSlices": 6.0}, id="as-measured"),
        pytest.param({"SliceThickness": 5.0, "SpacingBetweenSlices": 1.0}, id="the-gap"),
        pytest.param({"SliceThickness": 5.0, "SpacingBetweenSlices": 5.0}, id="the-thickness"),
        pytest.param({"SliceThickness": 5.0, "SpacingBetweenSlices": 0.0}, id="nothing"),
        pytest.param({"SliceThickness": 3.0, "SpacingBetweenSlices": 3.4}, id="no-part-of-it"),
        pytest.param({"SliceThickness": 2.0}, id="not-at-all"),
    ],
)
def test_stated_spacing_does_not_condemn_a_whole_stack(stated: dict[str, float]) -> None:
    assert len(arrange(slices_at(0.0, 6.0, 12.0, **stated), DEFAULTS).frames) == 3


def test_duplicate_positions_are_named() -> None:
    with pytest.raises(DuplicatePositionError) as caught:
        arrange(slices_at(0.0, 5.0, 10.0, 10.0, 15.0), DEFAULTS)
    assert caught.value.positions_mm == (10.0,)
    assert "of 5 slices several lie at the same position: at 10.00 mm" in str(caught.value)


def test_slices_tilted_against_each_other_are_refused() -> None:
    # 2 degrees about x: sine 0.0348995, cosine 0.9993908
    odd = {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.9993908, 0.0348995]}
    with pytest.raises(MixedOrientationError) as caught:
        arrange(with_odd_one(odd), DEFAULTS)
    assert caught.value.largest_deg == pytest.approx(2.0, abs=0.001)
    assert caught.value.positions_mm == (20.0,)


def test_rounded_cosines_are_not_taken_for_a_tilt() -> None:
    odd = {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.9999995, 0.001]}
    assert arrange(with_odd_one(odd), DEFAULTS).grid.shape[0] == 6


def test_several_frames_of_reference_are_refused() -> None:
    with pytest.raises(MixedFrameOfReferenceError, match=r"2 Frames of Reference \(1\.2\.3\.8, 1\.2\.3\.9\)"):
        arrange(with_odd_one({"FrameOfReferenceUID": "1.2.3.8"}), DEFAULTS)


@pytest.mark.parametrize("odd", [{"Rows": 16}, {"Columns": 12}, {"PixelSpacing": [1.0, 0.9]}])
def test_several_matrices_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(MixedMatrixError, match="2 matrices"):
        arrange(with_odd_one(odd), DEFAULTS)


def test_uneven_spacing_beyond_the_tolerance_is_refused() -> None:
    # One slice of 5 mm spacing lies 0.4 mm off: 8%, where 5% are allowed.
    stack = slices_at(0.0, 5.0, 10.0, 15.4, 20.0, 25.0)
    with pytest.raises(NonUniformSpacingError) as caught:
        arrange(stack, DEFAULTS)
    assert caught.value.worst_mm == pytest.approx(0.4)
    assert caught.value.tolerance_mm == pytest.approx(0.25)
    assert 15.4 in caught.value.positions_mm
    assert "volumes.spacing_tolerance" in str(caught.value)


def test_tolerance_decides_what_is_uneven() -> None:
    stack = slices_at(0.0, 5.0, 10.0, 15.4, 20.0, 25.0)
    assert arrange(stack, VolumeSettings(spacing_tolerance=0.1)).grid.spacing_mm[0] == pytest.approx(5.0)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even_enough() -> None:
    # As GE wrote them: 7.0 mm along a tilted normal, rounded.
    assert arrange(slices_at(0.0, 7.0, 13.9, 20.9, 27.9), DEFAULTS).grid.shape[0] == 5


def test_drifting_spacing_is_refused() -> None:
    # Each distance is within 5% of the median, yet the sum of them leaves the lattice.
    heights = np.cumsum([0.0] + [4.8] * 10 + [5.2] * 10)
    with pytest.raises(NonUniformSpacingError):
        arrange(slices_at(*heights.tolist()), DEFAULTS)


def test_stack_that_runs_off_its_normal_is_refused() -> None:
    headers = [
        read_image_header(mr_dataset(n, ImagePositionPatient=[0.5 * n, 0.0, 5.0 * n])) for n in range(1, 7)
    ]
    with pytest.raises(SlantedStackError) as caught:
        arrange(one_stack(headers), DEFAULTS)
    # 0.5 mm aside on 5 mm: atan(0.1) = 5.71 degrees
    assert caught.value.angle_deg == pytest.approx(5.71, abs=0.01)


@pytest.mark.parametrize("heights", [(0.0,), (0.0, 5.0)])
def test_too_few_slices_are_refused(heights: tuple[float, ...]) -> None:
    with pytest.raises(TooFewSlicesError, match=f"{len(heights)} slices, at least 3 are needed, at 0.00"):
        arrange(slices_at(*heights), DEFAULTS)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_refused(keyword: str) -> None:
    headers = [read_image_header(mr_dataset(n, **{keyword: None})) for n in range(1, 5)]
    with pytest.raises(MissingGeometryError, match="4 of 4 frames state no"):
        arrange(one_stack(headers), DEFAULTS)


def test_position_that_is_no_finite_number_counts_as_missing() -> None:
    dataset = mr_dataset()
    dataset.add_new(0x00200032, "LO", ["nan", "0", "0"])
    assert read_image_header(dataset).frames[0].plane is None


def test_cosines_that_are_no_unit_vectors_are_refused() -> None:
    stack = slices_at(0.0, 5.0, 10.0, ImageOrientationPatient=[1.0, 0.0, 0.0, 0.5, 0.5, 0.0])
    with pytest.raises(InvalidOrientationError, match="holds no two perpendicular unit vectors"):
        arrange(stack, DEFAULTS)


def test_missing_matrix_is_refused() -> None:
    with pytest.raises(PixelDataError, match="Rows or Columns is missing"):
        arrange(slices_at(0.0, 5.0, 10.0, Rows=None), DEFAULTS)


def test_every_volume_error_names_study_and_series() -> None:
    stack = slices_at(0.0, 5.0)
    with pytest.raises(VolumeError) as caught:
        arrange(stack, DEFAULTS)
    assert (caught.value.study_uid, caught.value.series_uid) == ("1.2.3", "1.2.3.4")
    assert caught.value.retryable is False


def test_long_lists_of_positions_are_shortened_in_the_message_only() -> None:
    heights = [step for step in np.arange(60) * 5.0 if step % 15 != 10]
    with pytest.raises(MissingSliceError) as caught:
        arrange(slices_at(*heights), DEFAULTS)
    assert len(caught.value.positions_mm) == 19
    assert "and 11 more mm along the normal" in str(caught.value)


def test_extent_runs_from_centre_to_centre() -> None:
    assert extent_mm(slices_at(0.0, 5.0, 10.0)) == 10.0


def test_only_the_stack_with_the_fault_is_refused() -> None:
    healthy = mr_series(6, DiffusionBValue=0.0)
    broken = [
        header
        for header in mr_series(6, first=7, DiffusionBValue=1000.0)
        if "10" not in header.sop_instance_uid
    ]
    first, second = split_stacks(healthy + broken)
    assert arrange(first, DEFAULTS).grid.shape[0] == 6
    with pytest.raises(MissingSliceError):
        arrange(second, DEFAULTS)
