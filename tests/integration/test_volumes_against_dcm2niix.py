"""Volumes lie where dcm2niix, an independent converter, puts the same files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from engines.volume import Grid, Volume
from node.inventory import identify_paths
from node.volume_reader import read_volume
from tests.support.header_patterns import SIEMENS_EP2D_B0, SIEMENS_FLAIR_TSE
from tests.support.phantoms import phantom_grid, write_enhanced, write_mosaic, write_series
from tests.support.shared_data import SHARED, needs_shared

dcm2niix = pytest.importorskip("dcm2niix")
nibabel = pytest.importorskip("nibabel")

SHAPE = (9, 20, 16)
UIDS = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.9", "series_number": 4}


def converted(folder: Path, target: Path) -> list[Volume]:
    """Convert a folder with dcm2niix into volumes in LPS, one for each time point."""
    command = [dcm2niix.bin, "-p", "n", "-b", "n", "-f", "%s_%e_%d_%r", "-o", str(target), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    volumes = []
    for path in sorted(target.glob("*.nii")):
        image = nibabel.load(path)
        array = np.asarray(image.dataobj, dtype=np.float64)
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        # NIfTI arrays are (column, row, slice) and, of a time series, time.
        times = array.reshape(*array.shape[:3], -1).transpose(3, 2, 1, 0)
        volumes += [Volume(one, Grid(one.shape, lps[:, [2, 1, 0, 3]])) for one in times]
    return volumes


def differs_by(volume: Volume, other: Volume) -> float:
    """Return the largest difference of values at the same points, infinite on other lattices."""
    indices = np.stack(np.indices(volume.grid.shape), axis=-1).reshape(-1, 3)
    exact = other.grid.to_index(volume.grid.to_lps(indices))
    places = np.rint(exact).astype(int)
    if volume.array.size != other.array.size or np.abs(exact - places).max() > 0.05:
        return np.inf
    if places.min() < 0 or (places >= np.array(other.grid.shape)).any():
        return np.inf
    return float(np.abs(volume.array.reshape(-1) - other.array[tuple(places.T)]).max())


def assert_all_agree(folder: Path, target: Path, volumes_expected: int) -> None:
    peers = converted(folder, target)
    (study,) = identify_paths([folder]).studies
    stacks = [candidate.stack for candidate in study.selection.candidates]
    assert len(stacks) == volumes_expected
    for stack in stacks:
        volume = read_volume(stack, study.paths).volume
        assert min(differs_by(volume, peer) for peer in peers) < 0.001, stack.label


def write_classic(volume: Volume, folder: Path) -> None:
    write_series(volume, SIEMENS_FLAIR_TSE, folder, order="shuffled", slope=2.0, intercept=-8.0, **UIDS)  # type: ignore[arg-type]


def write_multi_frame(volume: Volume, folder: Path) -> None:
    write_enhanced(volume, SIEMENS_FLAIR_TSE, folder / "enhanced.dcm", order="descending", **UIDS)  # type: ignore[arg-type]


def write_tiles(volume: Volume, folder: Path) -> None:
    write_mosaic(volume, SIEMENS_EP2D_B0, folder / "mosaic.dcm", **UIDS)  # type: ignore[arg-type]


def turned(seed: int) -> NDArray[np.float64]:
    """Return axes turned at random, by less than 40 degrees, so that no converter reorders them."""
    generator = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(generator.uniform(-0.4, 0.4, 3)).as_matrix()
    grid = phantom_grid(SHAPE)
    return turn @ (grid.affine[:3, :3] / grid.spacing_mm)


@pytest.mark.parametrize(
    "axes",
    ["axial", "sagittal", "coronal", turned(1)],
    ids=["axial", "sagittal", "coronal", "oblique"],
)
@pytest.mark.parametrize("write", [write_classic, write_multi_frame, write_tiles])
def test_phantom_lies_where_dcm2niix_puts_it(
    tmp_path: Path, axes: str | NDArray[np.float64], write: Callable[[Volume, Path], None]
) -> None:
    grid = phantom_grid(SHAPE, (5.0, 1.5, 1.25), axes, centre_lps=(7.0, -11.0, 13.0))
    # Multiples of the slope, so that nothing is rounded.
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) // 2 * 2
    source, target = tmp_path / "dicom", tmp_path / "nifti"
    source.mkdir()
    target.mkdir()
    write(Volume(values, grid), source)
    assert_all_agree(source, target, volumes_expected=1)


@needs_shared
@pytest.mark.parametrize(
    ("folder", "volumes_expected"),
    [
        ("philips_achieva_dwi_b1000", 2),
        ("siemens_prisma_dwi_mosaic_b0_b1000", 4),
        ("siemens_prisma_t1_fl2d_sag", 1),
        ("siemens_xa30_enhanced", 9),
        ("header_only_noise_pixels_dicom2nifti/hitachi_anatomical_001", 1),
        ("header_only_noise_pixels_dicom2nifti/hyperfine_anatomical_001", 1),
        ("header_only_noise_pixels_dicom2nifti/philips_anatomical_002", 2),
        ("header_only_noise_pixels_dicom2nifti/siemens_dti_classic_001", 2),
    ],
)
def test_real_series_lies_where_dcm2niix_puts_it(tmp_path: Path, folder: str, volumes_expected: int) -> None:
    assert_all_agree(SHARED / "dicom" / folder, tmp_path, volumes_expected)
