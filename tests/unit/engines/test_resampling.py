from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from engines.resampling import Interpolation, resample
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, grid_points


def along_slices(values: list[float], spacing_mm: float, first_mm: float) -> Volume:
    """Return a column of voxels along z whose first centre lies at ``first_mm``."""
    affine = np.eye(4)[:, [2, 1, 0, 3]] * np.array([spacing_mm, 1, 1, 1])
    affine[2, 3] = first_mm
    return Volume(np.array(values).reshape(-1, 1, 1), Grid((len(values), 1, 1), affine))


@pytest.mark.parametrize(
    ("thin_first_mm", "expected"),
    [
        # A thick voxel of 6 mm around 0 reaches from -3 to 3; centres at -3, -2 ... 3.
        pytest.param(-3.0, [1, 1, 1, 1, 1, 1, 0], id="lower-border-in-upper-border-out"),
        pytest.param(-3.5, [0, 1, 1, 1, 1, 1, 1], id="centres-between"),
        pytest.param(-2.99, [1, 1, 1, 1, 1, 1, 0], id="just-inside"),
    ],
)
def test_a_thick_voxel_holds_the_centres_within_its_box(thin_first_mm: float, expected: list[int]) -> None:
    thick = along_slices([0, 1, 0], 6.0, -6.0)
    thin = along_slices([0] * 7, 1.0, thin_first_mm)
    mask = thick.with_array(thick.array.astype(bool))
    result = resample(mask, thin.grid)
    assert result.array.dtype == np.bool_
    assert result.array.ravel().tolist() == [bool(value) for value in expected]


def test_thick_slices_to_thin_and_back_are_unchanged() -> None:
    mask = np.random.default_rng(0).random((6, 20, 20)) < 0.3
    thick = Volume(mask, axial_grid((6, 20, 20), (6.0, 1.0, 1.0)))
    thin = resample(thick, axial_grid((36, 40, 40), (1.0, 0.5, 0.5)))
    # 6 x 2 x 2 thin voxels fill one thick voxel exactly.
    assert thin.array.sum() == 24 * mask.sum()
    np.testing.assert_array_equal(resample(thin, thick.grid).array, mask)


def test_thin_mask_between_thick_centres_is_not_seen() -> None:
    thin = along_slices([0, 0, 1, 0, 0, 0, 0], 1.0, -3.0)
    thick = along_slices([0, 0, 0], 6.0, -6.0)
    assert not resample(thin, thick.grid).array.any()


@pytest.mark.parametrize(
    ("centres_mm", "expected"),
    [
        pytest.param(0.5, 15.0, id="between-two-centres"),
        pytest.param(-0.4, 10.0, id="outer-half-of-the-first-voxel"),
        pytest.param(-0.6, -1.0, id="outside"),
        pytest.param(2.4, 30.0, id="outer-half-of-the-last-voxel"),
        pytest.param(2.6, -1.0, id="beyond"),
    ],
)
def test_linear_values_between_centres(centres_mm: float, expected: float) -> None:
    source = along_slices([10, 20, 30], 1.0, 0.0)
    target = along_slices([0], 1.0, centres_mm)
    result = resample(source, target.grid, interpolation=Interpolation.LINEAR, outside=-1.0)
    assert result.array.item() == pytest.approx(expected)


def test_a_transform_leads_from_the_target_to_the_source() -> None:
    """The patient rose by 2 mm between the Series: what lies at 0 here lies at 2 there."""
    source = along_slices([1, 2, 3, 4, 5], 1.0, 0.0)
    shift = np.eye(4)
    shift[2, 3] = 2.0
    result = resample(source, source.grid, shift, outside=0)
    assert result.array.ravel().tolist() == [3, 4, 5, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 6.0)] * 3),
    movement=st.tuples(*[st.floats(-20, 20)] * 3),
)
def test_every_target_centre_takes_the_voxel_it_lies_in(
    angles: tuple[float, ...], spacing: tuple[float, float, float], movement: tuple[float, ...]
) -> None:
    """Checked the slow way: the distance of each centre from the voxel it took its value from."""
    turn = Rotation.from_euler("xyz", angles, degrees=True)
    source_grid = axial_grid((7, 8, 9), (4.0, 2.0, 1.5), turn, (3.0, -4.0, 5.0))
    source = Volume(np.arange(1, 505).reshape(7, 8, 9), source_grid)
    target = axial_grid((4, 5, 6), spacing)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", np.array(angles) / 10, degrees=True).as_matrix()
    transform[:3, 3] = movement
    result = resample(source, target, transform).array.ravel()
    points = grid_points(target) @ transform[:3, :3].T + transform[:3, 3]
    indices = source_grid.to_index(points)
    for value, index in zip(result, indices, strict=True):
        if value:
            voxel = np.array(np.unravel_index(value - 1, (7, 8, 9)))
            assert np.abs(index - voxel).max() <= 0.5 + 2e-6
        else:
            assert (index < -0.5).any() or (index > np.array([6.5, 7.5, 8.5]) - 2e-6).any()


def test_linear_values_of_a_turned_volume_are_those_at_each_centre() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((5, 12, 10), np.diag([4.0, 1.0, 1.5, 1.0])[[2, 1, 0, 3]])
    source = Volume(rng.random(grid.shape).astype(np.float32), grid)
    turned = np.eye(4)
    turned[:2, :2] = [[0.96, -0.28], [0.28, 0.96]]
    turned[:3, 3] = [0.7, -1.2, 2.5]
    found = resample(source, grid, turned, Interpolation.LINEAR, outside=-1.0).array
    indices = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    to_source = np.linalg.inv(grid.affine) @ turned @ grid.affine
    places = indices @ to_source[:3, :3].T + to_source[:3, 3]
    within = ((places >= -0.5) & (places < np.array(grid.shape) - 0.5)).all(axis=-1)
    expected = ndimage.map_coordinates(source.array, places[within].T, order=1, mode="nearest")
    np.testing.assert_allclose(found[within], expected, atol=1e-6)
    assert 0 < (~within).sum() == (found == -1.0).sum()


def test_a_volume_that_lies_on_the_grid_already_is_copied() -> None:
    grid = Grid((2, 3, 4), np.eye(4))
    source = Volume(np.arange(24, dtype=np.int16).reshape(grid.shape), grid)
    found = resample(source, grid, interpolation=Interpolation.LINEAR)
    np.testing.assert_array_equal(found.array, source.array)
    assert found.array.dtype == np.float32
    assert not np.shares_memory(found.array, source.array)
