"""The writers put into the files what the volume says: read back with pydicom alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from engines.volume import Grid, Volume
from tests.support import header_patterns as patterns
from tests.support.enhanced_files import DiffusionVolume, write_enhanced
from tests.support.header_patterns import HeaderPattern
from tests.support.phantoms import orientation_matrix, phantom_grid, phantom_volume, rigid
from tests.support.series_files import (
    JAPANESE_PATIENT,
    UTF8_PATIENT,
    Order,
    Patient,
    uid_from,
    write_mosaic,
    write_series,
)

STUDY: dict[str, Any] = {
    "study_uid": uid_from("study"),
    "frame_of_reference_uid": uid_from("frame"),
    "series_number": 3,
}
OBLIQUE = rigid((20.0, -15.0, 35.0), (0.0, 0.0, 0.0))[:3, :3] @ orientation_matrix("sagittal")


def _volume(grid: Grid | None = None) -> Volume:
    return phantom_volume("T1", grid or phantom_grid((4, 40, 32), (7.0, 5.0, 6.0)))


def _read(paths: list[Path]) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in paths]


def _affine_of(ds: pydicom.Dataset, slice_step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Index (slice, row, column) to LPS, by the formula of PS3.3 C.7.6.2.1.1."""
    cosines = np.array(ds.ImageOrientationPatient, dtype=float)
    affine = np.eye(4)
    affine[:3, 0] = slice_step
    affine[:3, 1] = cosines[3:] * float(ds.PixelSpacing[0])
    affine[:3, 2] = cosines[:3] * float(ds.PixelSpacing[1])
    affine[:3, 3] = np.array(ds.ImagePositionPatient, dtype=float)
    return affine


@pytest.mark.parametrize(
    "orientation", ["axial", "sagittal", "coronal", OBLIQUE], ids=["ax", "sag", "cor", "oblique"]
)
@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_geometry_of_the_files_is_the_grid_of_the_volume(
    tmp_path: Path, orientation: str | NDArray[np.float64], order: Order
) -> None:
    volume = _volume(phantom_grid((4, 40, 32), (7.0, 5.0, 6.0), orientation, (3.0, -20.0, 41.0)))
    slices = _read(write_series(volume, patterns.SIEMENS_T1_SE, tmp_path, order=order, **STUDY))
    cosines = np.array(slices[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    slices.sort(key=lambda ds: float(np.dot(normal, np.array(ds.ImagePositionPatient, dtype=float))))
    positions = np.array([ds.ImagePositionPatient for ds in slices], dtype=float)
    np.testing.assert_allclose(
        _affine_of(slices[0], positions[1] - positions[0]), volume.grid.affine, atol=1e-6
    )
    np.testing.assert_array_equal([ds.pixel_array for ds in slices], np.rint(volume.array))


def test_descending_order_starts_with_the_last_slice_and_shuffled_with_neither(tmp_path: Path) -> None:
    volume = _volume(phantom_grid((9, 8, 8), (5.0, 20.0, 20.0)))
    heights = {}
    orders: tuple[Order, ...] = ("ascending", "descending", "shuffled")
    for order in orders:
        slices = _read(write_series(volume, patterns.GE_FLAIR, tmp_path / order, order=order, **STUDY))
        assert [ds.InstanceNumber for ds in slices] == list(range(1, 10))
        heights[order] = [float(ds.ImagePositionPatient[2]) for ds in slices]
    assert heights["ascending"] == sorted(heights["ascending"])
    assert heights["descending"] == heights["ascending"][::-1]
    assert heights["shuffled"] not in (heights["ascending"], heights["descending"])


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless,
        JPEGLSLossless, JPEG2000Lossless,
    ],
    ids=lambda uid: UID(uid).keyword,
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_pixels_survive_every_transfer_syntax(tmp_path: Path, transfer_syntax: UID, signed: bool) -> None:
    volume = _volume()
    shifted = volume.with_array(volume.array - (200 if signed else 0))
    paths = write_series(
        shifted, patterns.GE_FLAIR, tmp_path, transfer_syntax=transfer_syntax, signed=signed, **STUDY
    )
    slices = _read(paths)
    assert {ds.file_meta.TransferSyntaxUID for ds in slices} == {transfer_syntax}
    np.testing.assert_array_equal([ds.pixel_array for ds in slices], np.rint(shifted.array))


def test_rescaled_values_are_the_volume_within_half_a_step(tmp_path: Path) -> None:
    volume = _volume()
    slices = _read(
        write_series(volume, patterns.PHILIPS_T1_SE, tmp_path, slope=2.5, intercept=-40.0, **STUDY)
    )
    rescaled = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices]
    assert np.abs(np.array(rescaled) - volume.array).max() <= 1.25 + 1e-3


def test_two_calls_put_two_volumes_into_one_series(tmp_path: Path) -> None:
    first = write_series(_volume(), patterns.SIEMENS_EP2D_TRACEW_B0, tmp_path, **STUDY)
    second = write_series(_volume(), patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path, first_instance=5, **STUDY)
    slices = _read([*first, *second])
    assert len({ds.SeriesInstanceUID for ds in slices}) == 1
    assert len({ds.SOPInstanceUID for ds in slices}) == 8
    assert [int(ds[0x0019, 0x100C].value) for ds in slices] == [0] * 4 + [1000] * 4


@pytest.mark.parametrize("patient", [UTF8_PATIENT, JAPANESE_PATIENT], ids=["utf-8", "iso-2022-jp"])
def test_names_of_other_scripts_are_read_back(tmp_path: Path, patient: Patient) -> None:
    ds = _read(write_series(_volume(), patterns.GE_FLAIR, tmp_path, patient=patient, **STUDY))[0]
    assert str(ds.PatientName) == patient.name


@pytest.mark.parametrize(
    ("pattern", "tag", "expected"),
    [
        pytest.param(patterns.SIEMENS_EP2D_TRACEW_B1000, (0x0019, 0x100C), 1000, id="siemens"),
        pytest.param(patterns.PHILIPS_DWI_B1000, (0x2001, 0x1003), 1000.0, id="philips"),
        pytest.param(patterns.GE_DWI_B1000, (0x0043, 0x1039), [1_000_001_000, 8, 0, 0], id="ge"),
        pytest.param(patterns.UIH_DWI_B1000, (0x0065, 0x1009), 1000.0, id="uih"),
    ],
)
def test_b_values_lie_where_each_vendor_keeps_them(
    tmp_path: Path, pattern: HeaderPattern, tag: tuple[int, int], expected: object
) -> None:
    ds = _read(write_series(_volume(), pattern, tmp_path, **STUDY))[0]
    assert ds[tag].value == expected
    assert "DiffusionBValue" not in ds


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    once = write_series(_volume(), patterns.SIEMENS_SWI, tmp_path / "once", **STUDY)
    again = write_series(_volume(), patterns.SIEMENS_SWI, tmp_path / "again", **STUDY)
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_enhanced_frames_hold_position_b_value_and_their_own_rescale(tmp_path: Path) -> None:
    b0, b1000 = _volume(), _volume()
    path = write_enhanced(
        [DiffusionVolume(0, "NONE", b0), DiffusionVolume(1000, "ISOTROPIC", b1000)],
        patterns.SIEMENS_EP2D_B0, tmp_path / "enhanced.dcm", order="descending", slopes=(0.5, 2.0), **STUDY,
    )  # fmt: skip
    ds = pydicom.dcmread(path)
    assert ds.NumberOfFrames == 8
    groups = ds.PerFrameFunctionalGroupsSequence
    assert [group.MRDiffusionSequence[0].DiffusionBValue for group in groups] == [0.0] * 4 + [1000.0] * 4
    position = np.array(groups[0].PlanePositionSequence[0].ImagePositionPatient, dtype=float)
    np.testing.assert_allclose(position, b0.grid.to_lps(np.array([[3, 0, 0]]))[0], atol=1e-6)
    slopes = [float(group.PixelValueTransformationSequence[0].RescaleSlope) for group in groups]
    assert slopes == [0.5, 2.0] * 4
    rescaled = ds.pixel_array * np.array(slopes).reshape(-1, 1, 1)
    assert np.abs(rescaled[:4] - b0.array[::-1]).max() <= 1.0 + 1e-3


def test_mosaic_position_belongs_to_a_plane_of_the_mosaics_size(tmp_path: Path) -> None:
    # 5 slices of 20 x 16 fill 3 x 3 tiles: 60 x 48; the plane's corner lies (60 - 20) / 2 rows above the
    # slice's and (48 - 16) / 2 columns beside it
    volume = _volume(phantom_grid((5, 20, 16), (5.0, 10.0, 12.0)))
    path = write_mosaic(volume, patterns.SIEMENS_EP2D_B0, tmp_path / "mosaic.dcm", **STUDY)
    ds = pydicom.dcmread(path)
    assert (ds.Rows, ds.Columns, ds[0x0019, 0x100A].value) == (60, 48, 5)
    inward_mm = np.array([16 * 12.0, 20 * 10.0, 0.0])
    first = np.array(ds.ImagePositionPatient, dtype=float) + inward_mm
    np.testing.assert_allclose(first, volume.grid.affine[:3, 3], atol=1e-6)
    np.testing.assert_array_equal(ds.pixel_array[20:40, 16:32], np.rint(volume.array[4]))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
def test_dciodvfy_finds_no_errors(tmp_path: Path) -> None:
    files = write_series(_volume(), patterns.SIEMENS_FLAIR_TSE, tmp_path / "classic", **STUDY)[:1]
    files.append(write_mosaic(_volume(), patterns.SIEMENS_EP2D_B0, tmp_path / "mosaic.dcm", **STUDY))
    files.append(write_enhanced(_volume(), patterns.SIEMENS_FLAIR_TSE, tmp_path / "enhanced.dcm", **STUDY))
    parts = [DiffusionVolume(1000, "ISOTROPIC", _volume())]
    files.append(write_enhanced(parts, patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path / "trace.dcm", **STUDY))
    for path in files:
        report = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert [line for line in report.splitlines() if line.startswith("Error")] == [], path.name
