from __future__ import annotations

import numpy as np
import pytest

from engines.errors import GeometryError
from engines.volume import Grid, Volume, without_blank_ends


def sheared() -> np.ndarray:
    """Slices every 4 mm along z, leaning by 1 mm along x; rows every 2 mm along y, columns 0.5 mm along x."""
    affine = np.eye(4)
    affine[:3, :3] = [[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [4.0, 0.0, 0.0]]
    affine[:3, 3] = [-10.0, 20.0, 30.0]
    return affine


def test_indices_map_to_patient_space_and_back() -> None:
    grid = Grid((3, 4, 5), sheared())
    points = grid.to_lps(np.array([[0, 0, 0], [2, 3, 4]]))
    # -10 + 2 * 1 + 4 * 0.5, 20 + 3 * 2, 30 + 2 * 4
    np.testing.assert_allclose(points, [[-10, 20, 30], [-6, 26, 38]])
    np.testing.assert_allclose(grid.to_index(points), [[0, 0, 0], [2, 3, 4]], atol=1e-12)


def test_spacing_is_the_distance_of_neighbours_and_volume_that_of_the_parallelepiped() -> None:
    grid = Grid((3, 4, 5), sheared())
    assert grid.spacing_mm == pytest.approx((np.sqrt(17), 2.0, 0.5))
    assert grid.voxel_mm3 == pytest.approx(4.0)


def test_centre_lies_between_the_first_and_the_last_voxel() -> None:
    # index (1, 1.5, 2): -10 + 1 + 2 * 0.5, 20 + 1.5 * 2, 30 + 4
    np.testing.assert_allclose(Grid((3, 4, 5), sheared()).centre_lps, [-8, 23, 34])


def test_a_grid_keeps_its_own_affine() -> None:
    affine = sheared()
    grid = Grid((3, 4, 5), affine)
    affine[0, 3] = 99
    assert grid.affine[0, 3] == -10
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 99


@pytest.mark.parametrize(
    ("shape", "affine", "problem"),
    [
        pytest.param((0, 4, 5), np.eye(4), "three positive sizes", id="no-slices"),
        pytest.param((4, 5), np.eye(4), "three positive sizes", id="two-axes"),
        pytest.param((3, 4, 5), np.eye(3), "finite", id="three-by-three"),
        pytest.param((3, 4, 5), np.full((4, 4), np.nan), "finite", id="nan"),
        pytest.param((3, 4, 5), np.diag([1.0, 1.0, 0.0, 1.0]), "degenerate", id="flat"),
    ],
)
def test_a_grid_that_is_no_place_is_refused(shape: tuple[int, ...], affine: np.ndarray, problem: str) -> None:
    with pytest.raises(GeometryError, match=problem):
        Grid(shape, affine)  # type: ignore[arg-type]


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(GeometryError, match="on a grid of"):
        Volume(np.zeros((3, 4, 6)), Grid((3, 4, 5), np.eye(4)))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        pytest.param(np.int16, (-20000, 20000), id="a-range-beyond-the-dtype"),
        pytest.param(np.uint16, (0, 65535), id="unsigned"),
        pytest.param(np.bool_, (False, True), id="bool"),
    ],
)
def test_blank_slices_are_cut_off_both_ends_and_no_others(dtype: type, values: tuple[int, int]) -> None:
    """Slices 1 and 3 hold two values each; slice 2, between them, is as blank as those at the ends."""
    array = np.full((6, 4, 5), values[0], dtype)
    array[[1, 3], 2, 2] = values[1]
    cut = without_blank_ends(Volume(array, Grid(array.shape, sheared())))
    np.testing.assert_array_equal(cut.array, array[1:4])
    np.testing.assert_allclose(cut.grid.affine[:3, 3], sheared()[:3, 3] + sheared()[:3, 0])
