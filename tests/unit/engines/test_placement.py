from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from engines.placement import AxisFit, Orientation, closest_axial, fit_axis, place
from engines.preprocessing import Fit, Normalisation, PreprocessingSpec, prepare, prepare_mask, restore
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, head


def spec(pixels: int, fit: Fit) -> PreprocessingSpec:
    return PreprocessingSpec(
        pixel_grid=(pixels, pixels), fit=fit, normalisation=Normalisation.WHITE_MATTER_PEAK
    )


def regridded(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """Store the same voxels at the same places with other axes."""
    array = np.transpose(volume.array, order)
    affine = volume.grid.affine.copy()
    affine[:3, :3] = volume.grid.affine[:3, list(order)]
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(array), Grid(array.shape, affine))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(np.diag([1, 1, 1])[:, ::-1], Orientation((0, 1, 2), (False, False, False)), id="axial"),
        pytest.param(
            np.array([[0, 0, -1], [0, 1, 0], [-1, 0, 0]]),
            Orientation((0, 1, 2), (True, False, True)),
            id="axial-from-above-to-below-mirrored",
        ),
        pytest.param(
            # Sagittal as scanned: slices to the left, rows to the feet, columns to the back.
            np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
            Orientation((1, 2, 0), (True, False, False)),
            id="sagittal",
        ),
        pytest.param(
            # Coronal as scanned: slices to the front, rows to the feet, columns to the left.
            np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
            Orientation((1, 0, 2), (True, True, False)),
            id="coronal",
        ),
    ],
)
def test_axes_are_reordered_to_superior_posterior_left(columns: np.ndarray, expected: Orientation) -> None:
    affine = np.eye(4)
    affine[:3, :3] = columns
    assert closest_axial(Grid((3, 4, 5), affine)) == expected


def test_every_storage_order_of_one_head_reaches_the_network_alike() -> None:
    volume = head(
        axial_grid((6, 40, 36), (7.0, 4.5, 5.0), Rotation.from_euler("xyz", [9, -7, 5], degrees=True))
    )
    wanted = spec(48, Fit.PAD_RESIZE)
    reference = prepare([volume], wanted).slices
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        turned = regridded(volume, order, flips)
        prepared = prepare([turned], wanted)
        np.testing.assert_allclose(prepared.slices, reference, atol=1e-5)
        assert restore(prepared.slices[:, 0], prepared).grid is turned.grid


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (False, True, True)])
def test_the_field_of_a_network_is_what_comes_back_from_it(
    order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    """Of 41 x 36 voxels 24 x 24 pixels see the middle; an odd one stays at the end."""
    volume = regridded(head(axial_grid((6, 41, 36), (7.0, 4.5, 4.5))), order, flips)
    prepared = prepare([volume], spec(24, Fit.PAD_CROP))
    seen = np.argwhere(restore(np.ones((6, 24, 24), np.float32), prepared).array > 0)
    field = prepared.placement.field
    assert np.prod(field.shape) == len(seen) == 6 * 24 * 24
    ends = field.to_lps(np.array([[0, 0, 0], np.array(field.shape) - 1]))
    points = volume.grid.to_lps(seen)
    np.testing.assert_allclose(ends.min(axis=0), points.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(ends.max(axis=0), points.max(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("voxels", "pixels", "ratio", "offset"),
    [
        pytest.param(200, 224, 1.0, -12, id="pads-both-sides"),
        pytest.param(201, 224, 1.0, -11, id="odd-padding-goes-to-the-end"),
        pytest.param(512, 384, 1.0, 64, id="crops-the-centre"),
        pytest.param(180, 224, 256 / 224, -38, id="pads-a-narrow-slice-to-the-square-of-256"),
    ],
)
def test_axis_fit_is_centred_on_whole_voxels(voxels: int, pixels: int, ratio: float, offset: int) -> None:
    assert fit_axis(voxels, pixels, ratio) == AxisFit(voxels, pixels, ratio, offset)


def test_equal_sizes_copy_exactly() -> None:
    np.testing.assert_array_equal(fit_axis(64, 64, 1.0).to_pixels(), np.eye(64))


def test_doubling_a_slice_interpolates_at_quarters() -> None:
    """Bilinear doubling samples at -0.25, 0.25, 0.75, 1.25; the first and last stay on the edge voxel."""
    weights = fit_axis(2, 4, 0.5).to_pixels()
    np.testing.assert_allclose(weights, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


def test_shrinking_skips_no_voxel() -> None:
    weights = fit_axis(512, 128, 4.0).to_pixels()
    assert weights.sum(axis=0)[8:-8] == pytest.approx(np.full(496, 0.25), abs=1e-6)


def test_anisotropic_slices_keep_their_proportions() -> None:
    """A 100 mm square of 50 x 100 voxels fills the whole pixel grid."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 5.0, 2.0, 1.0, 1.0
    mask = Volume(np.ones((2, 50, 100), bool), Grid((2, 50, 100), affine))
    pixels = prepare_mask(mask, spec(64, Fit.PAD_RESIZE))
    np.testing.assert_allclose(pixels, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "keep_resolution", "pixel_mm"),
    [
        # On 50 x 40 pixels: 200 mm on 50, 80 mm on 40.
        pytest.param((3, 100, 80), (5.0, 2.0, 1.0), False, 4.0, id="rows-decide"),
        pytest.param((3, 40, 120), (5.0, 1.0, 2.0), False, 6.0, id="columns-decide"),
        pytest.param((3, 100, 80), (5.0, 2.0, 1.0), True, 1.0, id="finer-columns-are-kept"),
        pytest.param((3, 100, 80), (5.0, 1.0, 1.5), True, 1.0, id="finer-rows-are-kept"),
        pytest.param((3, 100, 80), (0.5, 1.0, 1.5), True, 1.0, id="thin-slices-play-no-part"),
        pytest.param((3, 20, 10), (5.0, 1.5, 1.0), True, 0.6, id="small-slice-is-enlarged"),
    ],
)
def test_pixels_are_squares_of_the_same_size_in_mm(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    keep_resolution: bool,
    pixel_mm: float,
) -> None:
    placement = place(axial_grid(shape, spacing_mm), (50, 40), keep_resolution=keep_resolution)
    assert placement.rows.ratio * spacing_mm[1] == pytest.approx(pixel_mm)
    assert placement.columns.ratio * spacing_mm[2] == pytest.approx(pixel_mm)
    assert (placement.rows.pixels, placement.columns.pixels) == (50, 40)


@settings(max_examples=150, deadline=None)
@given(
    rotation=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(st.floats(2.0, 8.0), st.floats(0.4, 2.5), st.floats(0.4, 2.5)),
    shape=st.tuples(st.integers(1, 12), st.integers(8, 40), st.integers(8, 40)),
    where=st.tuples(*[st.floats(0, 0.999)] * 3),
    mirrored=st.booleans(),
    fit=st.sampled_from(Fit),
)
def test_a_point_returns_within_half_a_voxel_for_any_orientation(
    rotation: tuple[float, ...],
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    where: tuple[float, ...],
    mirrored: bool,
    fit: Fit,
) -> None:
    grid = axial_grid(shape, spacing, Rotation.from_euler("xyz", rotation, degrees=True), (12.0, -30.0, 7.0))
    if mirrored:
        affine = grid.affine.copy()
        affine[:3, 1] *= -1
        grid = Grid(shape, affine)
    point = tuple(int(share * size) for share, size in zip(where, shape, strict=True))
    mask = np.zeros(shape, bool)
    mask[point] = True
    wanted = spec(256, fit)
    blank = np.zeros(shape, np.float32)
    blank[0, 0, 0] = 1
    prepared = prepare([Volume(blank, grid)], wanted)
    back = restore(prepare_mask(Volume(mask, grid), wanted), prepared)
    weights = back.array.ravel() / back.array.sum()
    centre = weights @ np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    assert np.abs(centre - point).max() < 0.5
    assert np.unravel_index(int(back.array.argmax()), shape) == point


@pytest.mark.parametrize("pixels", [96, 128, 224])
def test_a_blob_on_a_finer_matrix_keeps_its_centre(pixels: int) -> None:
    """256 voxels on fewer pixels and back: the centre moves by less than half a voxel."""
    grid = axial_grid((3, 256, 256), (6.0, 0.9, 0.9))
    mask = np.zeros(grid.shape, bool)
    mask[1, 100:103, 61:64] = True
    prepared = prepare([head(grid)], spec(pixels, Fit.PAD_RESIZE))
    back = restore(prepare_mask(Volume(mask, grid), spec(pixels, Fit.PAD_RESIZE)), prepared)
    weights = back.array.ravel() / back.array.sum()
    centre = weights @ np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    np.testing.assert_allclose(centre, [1, 101, 62], atol=0.5)


@pytest.mark.parametrize(("column_mm", "seen"), [(1.0, slice(16, 48)), (2.0, slice(24, 40))])
def test_what_was_cropped_away_comes_back_as_zero(column_mm: float, seen: slice) -> None:
    """32 pixels of 1 mm see 32 rows of 1 mm, and as many millimetres of columns."""
    grid = axial_grid((2, 64, 64), (5.0, 1.0, column_mm))
    prepared = prepare([head(grid)], spec(32, Fit.PAD_CROP))
    back = restore(np.ones((2, 32, 32), np.float32), prepared).array
    assert back[:, 16:48, seen].min() == 1.0
    back[:, 16:48, seen] = 0
    assert back.max() == 0.0
