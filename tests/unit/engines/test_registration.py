from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name that its own documentation uses
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from engines.registration import RegistrationSpec, register
from engines.rigid_search import find_movement
from engines.segments import SeriesType
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, head
from tests.support.itk_registration import find_movement_by_itk, to_image
from tests.support.shared_data import SHARED, needs_shared

FLAIR, T1, DWI, T2_STAR = SeriesType.T2_FLAIR, SeriesType.T1, SeriesType.DWI_B1000, SeriesType.T2_STAR

TOLERANCE_DEG, TOLERANCE_MM = 1.0, 1.5
"""A known movement is found within these, at the centre; slices are 5 to 6.5 mm thick."""


def rigid(angles_deg: tuple[float, ...], shift_mm: tuple[float, ...], centre: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + np.array(shift_mm)
    return matrix


def moved(volume: Volume, movement: np.ndarray) -> Volume:
    """Let the patient move: the same voxels at other places, so the truth is exact."""
    return Volume(volume.array, Grid(volume.grid.shape, movement @ volume.grid.affine))


def centre_of(grid: Grid) -> np.ndarray:
    return grid.to_lps((np.array([grid.shape]) - 1) / 2)[0]


def assert_close(found: np.ndarray, truth: np.ndarray, centre: np.ndarray) -> None:
    difference = found[:3, :3] @ truth[:3, :3].T
    assert np.degrees(Rotation.from_matrix(difference).magnitude()) < TOLERANCE_DEG
    point = np.append(centre, 1)
    assert np.linalg.norm((found @ point - truth @ point)[:3]) < TOLERANCE_MM


@pytest.mark.parametrize("contrast", [T1, DWI, T2_STAR])
@pytest.mark.parametrize(
    ("angles_deg", "shift_mm"),
    [
        pytest.param((2, -1, 3), (1.5, -3, 4), id="small"),
        pytest.param((-6, 5, 8), (-7, 9, -6), id="large"),
    ],
)
def test_a_known_movement_is_found_across_contrasts_and_grids(
    contrast: SeriesType, angles_deg: tuple[float, ...], shift_mm: tuple[float, ...]
) -> None:
    fixed = head(axial_grid((22, 128, 128), (6.5, 1.8, 1.8)), FLAIR)
    still = head(axial_grid((26, 96, 112), (5.0, 2.2, 2.0), centre_mm=(3.0, -2.0, 4.0)), contrast, seed=1)
    truth = rigid(angles_deg, shift_mm, centre_of(fixed.grid))
    record = register(fixed, moved(still, truth), (FLAIR, contrast))
    assert record.applied, record.reason
    assert not record.refused
    assert (record.fixed, record.moving) == (FLAIR, contrast)
    assert_close(record.fixed_to_moving, truth, centre_of(fixed.grid))
    assert record.rotation_deg == pytest.approx(
        np.degrees(Rotation.from_matrix(truth[:3, :3]).magnitude()), abs=TOLERANCE_DEG
    )
    assert record.translation_mm == pytest.approx(np.linalg.norm(shift_mm), abs=TOLERANCE_MM)


def test_a_patient_who_lay_still_keeps_the_scanner_geometry() -> None:
    fixed = head(axial_grid((22, 128, 128), (6.5, 1.8, 1.8)), FLAIR)
    moving = head(
        axial_grid((26, 96, 112), (5.0, 2.2, 2.0), Rotation.from_euler("x", 8, degrees=True)), T1, seed=1
    )
    record = register(fixed, moving, (FLAIR, T1))
    assert not record.applied
    assert not record.refused
    assert "fits as well" in record.reason
    np.testing.assert_array_equal(record.fixed_to_moving, np.eye(4))


def test_the_same_volumes_give_the_same_transform() -> None:
    fixed = head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), FLAIR)
    movement = rigid((3, -2, 4), (3, -4, 5), centre_of(fixed.grid))
    moving = moved(head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), T1, seed=1), movement)
    first, second = (register(fixed, moving, (FLAIR, T1)) for _ in range(2))
    np.testing.assert_array_equal(first.fixed_to_moving, second.fixed_to_moving)


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        pytest.param({"max_rotation_deg": 3.0}, "beyond 3 degrees and 20 mm", id="rotation"),
        pytest.param({"max_translation_mm": 4.0}, "beyond 15 degrees and 4 mm", id="translation"),
    ],
)
def test_an_implausible_movement_is_refused(limits: dict[str, float], complaint: str) -> None:
    fixed = head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), FLAIR)
    movement = rigid((6, 0, 0), (0, 8, 0), centre_of(fixed.grid))
    moving = moved(head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), T1, seed=1), movement)
    record = register(fixed, moving, (FLAIR, T1), RegistrationSpec(**limits))
    assert record.refused
    assert not record.applied
    assert complaint in record.reason
    assert record.rotation_deg == pytest.approx(6, abs=TOLERANCE_DEG)
    np.testing.assert_array_equal(record.fixed_to_moving, np.eye(4))


@pytest.mark.parametrize("shift_mm", [(0, 0, 100), (100, 0, 0)], ids=["above", "beside"])
def test_a_head_that_lies_too_far_away_to_be_found_is_refused(shift_mm: tuple[float, ...]) -> None:
    """As where another Frame of Reference began elsewhere: no gain, or a plausible movement, is no proof."""
    fixed = head(axial_grid((20, 64, 64), (6.5, 3.2, 3.2)), FLAIR, seed=1)
    moving = head(axial_grid((20, 56, 56), (6.5, 3.6, 3.6)), DWI, seed=3)
    elsewhere = moved(moving, rigid((0, 0, 0), shift_mm, np.zeros(3)))
    record = register(fixed, elsewhere, (FLAIR, DWI))
    assert record.refused
    assert not record.applied
    assert re.search(r"only \d+% of one head would lie in the other", record.reason)


def test_blank_slices_at_the_ends_do_not_mislead() -> None:
    fixed = head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), FLAIR)
    still = head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), T1, seed=1)
    still.array[:3] = 0
    still.array[-2:] = 0
    truth = rigid((3, -2, 4), (3, -4, 5), centre_of(fixed.grid))
    record = register(fixed, moved(still, truth), (FLAIR, T1))
    assert record.applied, record.reason
    assert_close(record.fixed_to_moving, truth, centre_of(fixed.grid))


@pytest.mark.parametrize(
    ("moving", "complaint"),
    [
        pytest.param(head(axial_grid((3, 64, 64), (6.5, 3.6, 3.6))), "fewer than 4", id="few-slices"),
        pytest.param(
            head(axial_grid((20, 64, 64), (6.5, 3.6, 3.6))), "could not be compared", id="elsewhere"
        ),
    ],
)
def test_series_that_can_not_be_compared_are_refused(moving: Volume, complaint: str) -> None:
    fixed = head(axial_grid((20, 64, 64), (6.5, 3.6, 3.6)), FLAIR)
    far = rigid((0, 0, 0), (900, 0, 0), np.zeros(3))
    record = register(fixed, moved(moving, far), (FLAIR, T1))
    assert record.refused
    assert complaint in record.reason


def test_the_movement_is_the_one_that_simpleitk_finds() -> None:
    """Nearer than the slices are thick by far, on a grid that no axis of the patient is parallel to."""
    oblique = Rotation.from_euler("xyz", [20, -10, 5], degrees=True)
    fixed = head(axial_grid((22, 128, 128), (6.5, 1.8, 1.8), oblique), FLAIR)
    still = head(axial_grid((26, 96, 112), (5.0, 2.2, 2.0)), T1, seed=1)
    centre = centre_of(fixed.grid)
    moving = moved(still, rigid((4, -3, 6), (4, -5, 6), centre))
    found, reference = (search(fixed, moving, centre) for search in (find_movement, find_movement_by_itk))
    assert found.converged
    assert_close(found.fixed_to_moving, reference.fixed_to_moving, centre)


@pytest.mark.parametrize("mirrored", [False, True])
def test_an_image_has_its_voxels_where_the_volume_has_them(mirrored: bool) -> None:
    grid = axial_grid((4, 5, 6), (5.0, 1.5, 0.8), Rotation.from_euler("xyz", [20, -50, 130], degrees=True))
    affine = grid.affine.copy()
    if mirrored:
        affine[:3, 2] *= -1
    volume = Volume(np.arange(120.0).reshape(4, 5, 6), Grid((4, 5, 6), affine))
    image = to_image(volume)
    assert np.linalg.det(np.reshape(image.GetDirection(), (3, 3))) * np.linalg.det(affine[:3, :3]) < 0
    for index in ((0, 0, 0), (3, 1, 4), (2, 4, 5)):
        point = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(point, volume.grid.to_lps(np.array([index]))[0], atol=1e-9)
        assert image[index[::-1]] == volume.array[index]


@pytest.mark.parametrize("mirrored", [False, True])
def test_mirrored_grids_register_like_others(mirrored: bool) -> None:
    fixed = head(axial_grid((20, 96, 96), (6.5, 2.4, 2.4)), FLAIR)
    grid = axial_grid((20, 96, 96), (6.5, 2.4, 2.4))
    affine = grid.affine.copy()
    if mirrored:
        affine[:3, 3] += affine[:3, 0] * 19
        affine[:3, 0] *= -1
    truth = rigid((3, -2, 4), (3, -4, 5), centre_of(fixed.grid))
    record = register(fixed, moved(head(Grid(grid.shape, affine), T1, seed=1), truth), (FLAIR, T1))
    assert_close(record.fixed_to_moving, truth, centre_of(fixed.grid))


@needs_shared
@pytest.mark.parametrize("case", ["ms3seg_101228", "simvent_104252", "openms_19"])
def test_a_known_movement_is_found_on_real_series(case: str) -> None:
    fixed, still = (_read_nifti(case, name) for name in ("flair", "t1"))
    truth = rigid((-6, 4, 7), (-6, 8, -5), centre_of(fixed.grid))
    record = register(fixed, moved(still, truth), (FLAIR, T1))
    assert record.applied, record.reason
    assert_close(record.fixed_to_moving, truth, centre_of(fixed.grid))
    # What fits already is left where it is, or moved by less than a thin slice.
    assert_close(register(fixed, still, (FLAIR, T1)).fixed_to_moving, np.eye(4), centre_of(fixed.grid))


@needs_shared
def test_a_movement_is_found_past_a_top_between_slices() -> None:
    """Information has a top of its own 4 mm beside the truth, where slices lie on slices."""
    fixed, still = (_read_nifti("simvent_104252", name) for name in ("flair", "t1"))
    truth = rigid((4.98, -3.74, 8.82), (-1.12, -8.5, -11.51), centre_of(fixed.grid))
    record = register(fixed, moved(still, truth), (FLAIR, T1))
    assert_close(record.fixed_to_moving, truth, centre_of(fixed.grid))


def test_a_thin_slab_is_compared_where_half_a_slice_further_nothing_overlaps() -> None:
    texture = gaussian_filter(np.random.default_rng(0).random((25, 40, 40)), 2).astype(np.float32)
    whole = axial_grid((25, 40, 40), (1.0, 4.0, 4.0))
    thick, slab = whole.affine @ np.diag([8.0, 1, 1, 1]), whole.affine.copy()
    slab[:3, 3] += 6 * whole.affine[:3, 0]
    fixed = Volume(texture[::8], Grid((4, 40, 40), thick))
    record = register(fixed, Volume(texture[6:11], Grid((5, 40, 40), slab)), (FLAIR, T1))
    assert "could not be compared" not in record.reason
    assert_close(record.fixed_to_moving, np.eye(4), centre_of(fixed.grid))


def _read_nifti(case: str, name: str) -> Volume:
    """Read NIfTI with ITK, which reads into LPS on its own, so nothing of this package is used."""
    image = sitk.ReadImage(str(SHARED / "mri" / case / f"{name}.nii.gz"), sitk.sitkFloat32)
    direction = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = direction[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image)
    return Volume(array, Grid(array.shape, affine))


def test_a_search_takes_less_memory_than_one_volume_in_double_precision() -> None:
    """A Series of 400 slices of 1024 x 1024 pixels would take 3.4 GB of it, and two of them are searched."""
    values = np.random.default_rng(0).integers(0, 300, (80, 320, 320)).astype(np.int16)
    values[20:60, 80:240, 80:240] += 300
    volume = Volume(values, axial_grid(values.shape, (2.0, 0.75, 0.75)))
    tracemalloc.start()
    find_movement(volume, volume, volume.grid.centre_lps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.size * np.dtype(np.float64).itemsize
