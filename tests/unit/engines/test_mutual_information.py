from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from scipy.spatial.transform import Rotation

from engines.mutual_information import BINS, SAMPLES, Comparison, NothingToCompareError
from engines.segments import SeriesType
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, head
from tests.support.itk_registration import to_image

CENTRE = np.array([4.0, -6.0, 8.0])


def movement(turn_deg: tuple[float, ...], shift_mm: tuple[float, ...]) -> np.ndarray:
    """A turn about the centre and a shift."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix()
    matrix[:3, 3] = CENTRE + shift_mm - matrix[:3, :3] @ CENTRE
    return matrix


@pytest.fixture(scope="module")
def heads() -> tuple[Volume, Volume]:
    """The middle of a head and a whole one, so that a movement brings no voxel to its edge."""
    fixed = head(axial_grid((20, 56, 60), (6.5, 4.0, 3.6)), SeriesType.T2_FLAIR)
    affine = fixed.grid.affine.copy()
    affine[:3, 3] = fixed.grid.to_lps(np.array([[6, 15, 15]]))[0]
    middle = fixed.array[6:14, 15:41, 15:45]
    turn = Rotation.from_euler("xyz", [10, 5, -8], degrees=True)
    moving = head(axial_grid((24, 50, 54), (5.5, 4.2, 4.0), turn), SeriesType.T1, seed=1)
    return Volume(middle, Grid((8, 26, 30), affine)), moving


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm"), [((0, 0, 0), (0, 0, 0)), ((3, -2, 5), (4, -3, 2)), ((-9, 6, 2), (-10, 9, 7))]
)
def test_the_information_is_that_of_simpleitk(
    heads: tuple[Volume, Volume], turn_deg: tuple[float, ...], shift_mm: tuple[float, ...]
) -> None:
    fixed, moving = heads
    assert fixed.array.size < SAMPLES
    moved = movement(turn_deg, shift_mm)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(moved[:3, :3].ravel().tolist())
    transform.SetTranslation(moved[:3, 3].tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform)
    reference = -method.MetricEvaluate(to_image(fixed), to_image(moving))
    assert Comparison(fixed, moving, CENTRE).at(moved).nats == pytest.approx(reference, rel=1e-3)


@pytest.mark.parametrize("axis", range(6))
def test_the_slope_is_the_difference_that_a_small_step_makes(heads: tuple[Volume, Volume], axis: int) -> None:
    comparison = Comparison(*heads, CENTRE)
    here, small = movement((2, -3, 4), (2, 3, -1)), 1e-5
    there = here[:3, :3] @ CENTRE + here[:3, 3]

    def after(step: float) -> float:
        turned = np.eye(4)
        if axis < 3:
            turned[:3, :3] = Rotation.from_rotvec(step * np.eye(3)[axis]).as_matrix()
            turned[:3, 3] = there - turned[:3, :3] @ there
        else:
            turned[axis - 3, 3] = step
        return comparison.at(turned @ here).nats

    difference = (after(small) - after(-small)) / (2 * small)
    assert comparison.at(here).slope[axis] == pytest.approx(difference, rel=0.02, abs=2e-4)


def test_a_copy_with_other_intensities_tells_all_there_is() -> None:
    """Two intensities, each in half of the voxels, and their splines far apart: ln 2 nats."""
    grid = Grid((4, 4, 4), np.eye(4))
    halves = np.indices(grid.shape)[0] < 2
    comparison = Comparison(Volume(halves * 5.0, grid), Volume(halves * -3.0, grid), np.zeros(3))
    assert comparison.at(np.eye(4)).nats == pytest.approx(np.log(2))


def test_nothing_is_told_of_what_is_constant_or_elsewhere(heads: tuple[Volume, Volume]) -> None:
    fixed, moving = heads
    with pytest.raises(NothingToCompareError, match="constant"):
        Comparison(fixed, moving.with_array(np.ones(moving.grid.shape)), CENTRE)
    with pytest.raises(NothingToCompareError, match="overlap"):
        Comparison(fixed, moving, CENTRE).at(movement((0, 0, 0), (900, 0, 0)))
