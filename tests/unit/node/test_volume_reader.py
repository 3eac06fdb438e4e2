"""Pixels of classic, enhanced and mosaic Series become volumes where the phantom was painted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from engines.volume import Grid, Volume
from node.header_reader import read_image_header
from node.headers import ImageHeader
from node.model import SourceVolume
from node.stacks import Stack, split_stacks
from node.volume_errors import MissingFileError, MissingSliceError, PixelDataError
from node.volume_reader import read_volume
from tests.support.header_patterns import PHILIPS_DWI_B0, SIEMENS_EP2D_B0, SIEMENS_FLAIR_TSE
from tests.support.phantoms import DiffusionVolume, phantom_grid, write_enhanced, write_mosaic, write_series
from tests.support.series_files import Order
from tests.support.shared_data import SHARED, needs_shared

SHAPE = (3, 40, 32)
"""Fewer voxels than 12 bits have values, and large enough for JPEG 2000."""

HTJ2K_RAMP = Path(__file__).resolve().parents[2] / "data" / "htj2k" / "ramp_32x40_12bit.j2c"


def ramp(grid: Grid, low: float = 0.0) -> Volume:
    """Return a volume whose every voxel has a value of its own, whole numbers from ``low`` on."""
    values = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape)
    return Volume(values + np.float32(low), grid)


def oblique(seed: int = 5) -> NDArray[np.float64]:
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def load(files: list[Path]) -> tuple[list[ImageHeader], dict[str, Path]]:
    headers = [read_image_header(path) for path in files]
    return headers, {header.sop_instance_uid: path for header, path in zip(headers, files, strict=True)}


def read_only_stack(files: list[Path]) -> SourceVolume:
    headers, paths = load(files)
    (stack,) = split_stacks(headers)
    return read_volume(stack, paths)


def assert_same_volume(found: Volume, painted: Volume, atol: float = 0.0) -> None:
    """Compare values at the same points of patient space, in whatever order the slices lie."""
    indices = np.stack(np.indices(painted.grid.shape), axis=-1).reshape(-1, 3)
    places = np.rint(found.grid.to_index(painted.grid.to_lps(indices))).astype(int)
    np.testing.assert_allclose(found.grid.to_lps(places), painted.grid.to_lps(indices), atol=0.01)
    np.testing.assert_allclose(found.array[tuple(places.T)], painted.array.reshape(-1), atol=atol)


def classic(folder: Path, volume: Volume, **options: object) -> list[Path]:
    uids = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.9", "series_number": 4}
    return write_series(volume, SIEMENS_FLAIR_TSE, folder, **{**uids, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "oblique"])
@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_values_lie_where_they_were_painted(tmp_path: Path, orientation: str, order: Order) -> None:
    axes = oblique() if orientation == "oblique" else orientation
    painted = ramp(phantom_grid(SHAPE, (5.0, 0.9, 0.7), axes))
    found = read_only_stack(classic(tmp_path, painted, order=order))
    assert_same_volume(found.volume, painted)


@pytest.mark.parametrize("flipped", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_negative_direction_cosines_mirror_nothing(tmp_path: Path, flipped: tuple[int, int, int]) -> None:
    axes = phantom_grid(SHAPE).affine[:3, :3] / phantom_grid(SHAPE).spacing_mm
    painted = ramp(phantom_grid(SHAPE, (5.0, 0.9, 0.7), axes * np.where(flipped, -1.0, 1.0)))
    assert_same_volume(read_only_stack(classic(tmp_path, painted)).volume, painted)


def test_slices_ascend_along_the_normal_and_lead_back_to_their_files(tmp_path: Path) -> None:
    painted = ramp(phantom_grid(SHAPE))
    files = classic(tmp_path, painted, order="descending")
    found = read_only_stack(files)
    assert found.paths == tuple(reversed(files))
    assert found.volume.grid.affine[2, 0] > 0
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in found.paths]
    assert [frame.sop_instance_uid for frame in found.frames] == uids
    assert {frame.frame_number for frame in found.frames} == {None}
    assert (found.study_uid, found.frame_of_reference_uid) == ("1.2.3", "1.2.9")
    assert found.volume.array.dtype == np.float32


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda uid: uid.name,
)
def test_every_transfer_syntax_yields_the_same_values(tmp_path: Path, transfer_syntax: UID) -> None:
    painted = ramp(phantom_grid(SHAPE))
    found = read_only_stack(classic(tmp_path, painted, transfer_syntax=transfer_syntax))
    assert_same_volume(found.volume, painted)


@pytest.mark.parametrize("option", ["+e1", "+el"], ids=["JPEG Lossless SV1", "JPEG Lossless"])
def test_jpeg_lossless_of_dcmtk_yields_the_same_values(tmp_path: Path, option: str) -> None:
    painted = ramp(phantom_grid(SHAPE))
    files = classic(tmp_path / "plain", painted)
    for path in files:
        subprocess.run(["dcmcjpeg", option, path, tmp_path / path.name], check=True)
    assert_same_volume(read_only_stack([tmp_path / path.name for path in files]).volume, painted)


@pytest.mark.parametrize("transfer_syntax", [HTJ2KLossless, HTJ2KLosslessRPCL], ids=lambda uid: uid.name)
def test_htj2k_lossless_yields_the_values_that_were_encoded(tmp_path: Path, transfer_syntax: UID) -> None:
    files = classic(tmp_path, ramp(phantom_grid(SHAPE)))
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        dataset.PixelData = encapsulate([HTJ2K_RAMP.read_bytes()])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    expected = np.arange(40 * 32, dtype=np.float32).reshape(40, 32) * 3
    for found in read_only_stack(files).volume.array:
        np.testing.assert_array_equal(found, expected)


def test_big_endian_yields_the_same_values(tmp_path: Path) -> None:
    painted = ramp(phantom_grid(SHAPE))
    files = classic(tmp_path / "plain", painted)
    for path in files:
        subprocess.run(["dcmconv", "+tb", path, tmp_path / path.name], check=True)
    assert_same_volume(read_only_stack([tmp_path / path.name for path in files]).volume, painted)


@pytest.mark.parametrize("bits_stored", [12, 16])
def test_signed_values_keep_their_sign(tmp_path: Path, bits_stored: int) -> None:
    painted = ramp(phantom_grid(SHAPE), low=-2000.0)
    found = read_only_stack(classic(tmp_path, painted, signed=True, bits_stored=bits_stored))
    assert found.volume.array.min() == -2000.0
    assert_same_volume(found.volume, painted)


def test_unused_high_bits_of_signed_values_do_not_count(tmp_path: Path) -> None:
    files = classic(tmp_path, ramp(phantom_grid(SHAPE), low=-2000.0), signed=True, bits_stored=12)
    for path in files:
        dataset = pydicom.dcmread(path)
        stored = np.frombuffer(dataset.PixelData, dtype="<u2") & 0x0FFF
        dataset.PixelData = stored.tobytes()
        dataset.save_as(path)
    assert read_only_stack(files).volume.array.min() == -2000.0


def test_rescale_is_applied(tmp_path: Path) -> None:
    painted = ramp(phantom_grid(SHAPE))
    scaled = painted.with_array(painted.array * 2.5 - 40.0)
    found = read_only_stack(classic(tmp_path, scaled, slope=2.5, intercept=-40.0))
    assert_same_volume(found.volume, scaled, atol=1e-3)


def edited(files: list[Path], **values: object) -> list[Path]:
    """Set elements of all files; a pair is VR and value."""
    for path in files:
        dataset = pydicom.dcmread(path)
        for keyword, (vr, value) in values.items():
            dataset.add_new(keyword, vr, value)
        dataset.save_as(path)
    return files


@pytest.mark.parametrize(
    ("signed", "stored", "elements", "becomes"),
    [
        pytest.param(True, -2000, {"PixelPaddingValue": ("SS", -2000)}, 0, id="below-all"),
        pytest.param(True, -2000, {"PixelPaddingValue": ("US", 63536)}, 0, id="written-as-unsigned"),
        pytest.param(
            True, -1900, {"PixelPaddingValue": ("SS", -2000), "PixelPaddingRangeLimit": ("SS", -1800)}, 0,
            id="a-range",
        ),
        pytest.param(True, -1700, {"PixelPaddingValue": ("SS", -2000)}, -1700, id="another-value-is-signal"),
        pytest.param(True, -1700, {}, -1700, id="not-stated"),
        pytest.param(False, 4095, {"PixelPaddingValue": ("US", 4095)}, 0, id="above-all"),
        pytest.param(False, 0, {"PixelPaddingValue": ("US", 0)}, 0, id="zero-stays-zero"),
    ],
)  # fmt: skip
def test_padding_is_as_dark_as_air(
    tmp_path: Path, signed: bool, stored: int, elements: dict[str, object], becomes: float
) -> None:
    """Values from 7 on, the first rows of each slice padded."""
    painted = ramp(phantom_grid((3, 10, 12)), low=7.0)
    painted.array[:, :2] = stored
    found = read_only_stack(edited(classic(tmp_path, painted, signed=signed), **elements))
    painted.array[:, :2] = becomes
    assert_same_volume(found.volume, painted)


@pytest.mark.parametrize("padding", [None, 4095])
def test_what_viewers_show_bright_is_bright(tmp_path: Path, padding: int | None) -> None:
    """In MONOCHROME1 low values are bright; without the padding the darkest is 3900."""
    painted = ramp(phantom_grid((3, 10, 12)))
    inverted = painted.with_array(3900.0 - painted.array)
    elements: dict[str, object] = {"PhotometricInterpretation": ("CS", "MONOCHROME1")}
    if padding is not None:
        inverted.array[:, :2], painted.array[:, :2] = padding, 0.0
        elements["PixelPaddingValue"] = ("US", padding)
        inverted.array[0, 2, 0] = 3900.0
        painted.array[0, 2, 0] = 0.0
    found = read_only_stack(edited(classic(tmp_path, inverted), **elements))
    assert_same_volume(found.volume, painted)


@pytest.mark.parametrize(
    "transfer_syntax", [DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless], ids=lambda uid: uid.name
)
def test_enhanced_object_is_read_in_other_transfer_syntaxes(tmp_path: Path, transfer_syntax: UID) -> None:
    painted = ramp(phantom_grid(SHAPE))
    path = write_enhanced(
        painted,
        SIEMENS_FLAIR_TSE,
        tmp_path / "enhanced.dcm",
        study_uid="1.2.3",
        frame_of_reference_uid="1.2.9",
        series_number=4,
        order="descending",
        transfer_syntax=transfer_syntax,
    )
    assert_same_volume(read_only_stack([path]).volume, painted)


def test_enhanced_frames_have_each_their_own_slope(tmp_path: Path) -> None:
    whole = ramp(phantom_grid(SHAPE))
    painted = whole.with_array(whole.array // 4 * 4)
    path = write_enhanced(
        painted,
        SIEMENS_FLAIR_TSE,
        tmp_path / "enhanced.dcm",
        study_uid="1.2.3",
        frame_of_reference_uid="1.2.9",
        series_number=4,
        order="shuffled",
        slopes=(1.0, 2.0, 4.0),
        intercept=-8.0,
    )
    found = read_only_stack([path])
    assert_same_volume(found.volume, painted)
    assert found.paths == (path,)
    assert sorted(frame.frame_number or 0 for frame in found.frames) == [1, 2, 3]


def test_only_the_frames_of_the_stack_are_taken_from_an_enhanced_object(tmp_path: Path) -> None:
    grid = phantom_grid(SHAPE)
    unweighted, trace = ramp(grid), ramp(grid, low=250.0)
    path = write_enhanced(
        [DiffusionVolume(0.0, "NONE", unweighted), DiffusionVolume(1000.0, "ISOTROPIC", trace)],
        PHILIPS_DWI_B0,
        tmp_path / "dwi.dcm",
        study_uid="1.2.3",
        frame_of_reference_uid="1.2.9",
        series_number=4,
    )
    headers, paths = load([path])
    first, second = split_stacks(headers)
    assert_same_volume(read_volume(first, paths).volume, unweighted)
    assert_same_volume(read_volume(second, paths).volume, trace)


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal"])
def test_mosaic_tiles_become_slices(tmp_path: Path, orientation: str) -> None:
    painted = ramp(phantom_grid(SHAPE, (5.0, 1.5, 1.5), orientation))
    path = write_mosaic(
        painted,
        SIEMENS_EP2D_B0,
        tmp_path / "mosaic.dcm",
        study_uid="1.2.3",
        frame_of_reference_uid="1.2.9",
        series_number=4,
    )
    found = read_only_stack([path])
    assert found.is_mosaic
    assert len(set(found.frames)) == 1
    assert found.paths == (path,)
    assert_same_volume(found.volume, painted)


def test_b0_and_b1000_of_one_series_are_read_apart(tmp_path: Path) -> None:
    grid = phantom_grid(SHAPE)
    unweighted, trace = ramp(grid), ramp(grid, low=250.0)
    files = classic(tmp_path, unweighted) + classic(tmp_path, trace, first_instance=4)
    for path in files[3:]:
        dataset = pydicom.dcmread(path)
        dataset.DiffusionBValue = 1000.0
        dataset.save_as(path)
    headers, paths = load(files)
    volumes = [read_volume(stack, paths).volume for stack in split_stacks(headers)]
    assert_same_volume(volumes[0], unweighted)
    assert_same_volume(volumes[1], trace)


def broken_stack(folder: Path) -> tuple[Stack, dict[str, Path], Path]:
    files = classic(folder, ramp(phantom_grid(SHAPE)))
    headers, paths = load(files)
    return split_stacks(headers)[0], paths, files[1]


def test_pixel_data_cut_short_is_refused(tmp_path: Path) -> None:
    stack, paths, victim = broken_stack(tmp_path)
    dataset = pydicom.dcmread(victim)
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(victim)
    with pytest.raises(PixelDataError, match=rf"Series .*Instance {dataset.SOPInstanceUID} cannot be used"):
        read_volume(stack, paths)


def test_missing_pixel_data_is_refused(tmp_path: Path) -> None:
    stack, paths, victim = broken_stack(tmp_path)
    dataset = pydicom.dcmread(victim)
    del dataset.PixelData
    dataset.save_as(victim)
    with pytest.raises(PixelDataError):
        read_volume(stack, paths)


def test_damaged_compressed_pixel_data_is_refused(tmp_path: Path) -> None:
    files = classic(tmp_path, ramp(phantom_grid(SHAPE)), transfer_syntax=JPEG2000Lossless)
    headers, paths = load(files)
    raw = files[2].read_bytes()
    files[2].write_bytes(raw[:-400] + bytes(392) + raw[-8:])
    with pytest.raises(PixelDataError):
        read_volume(split_stacks(headers)[0], paths)


def test_colour_pixels_are_refused(tmp_path: Path) -> None:
    stack, paths, victim = broken_stack(tmp_path)
    dataset = pydicom.dcmread(victim)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = bytes(SHAPE[1] * SHAPE[2] * 3)
    dataset.save_as(victim)
    with pytest.raises(PixelDataError, match=r"shape \(40, 32, 3\), expected \(40, 32\)"):
        read_volume(stack, paths)


def test_missing_file_is_named(tmp_path: Path) -> None:
    stack, paths, victim = broken_stack(tmp_path)
    victim.unlink()
    with pytest.raises(MissingFileError, match=r"the file of Instance .* is gone"):
        read_volume(stack, paths)


def test_removed_slice_is_named_before_any_pixel_is_read(tmp_path: Path) -> None:
    files = classic(tmp_path, ramp(phantom_grid((7, 8, 8), (5.0, 1.0, 1.0))))
    headers, _ = load(files[:3] + files[4:])
    with pytest.raises(MissingSliceError) as caught:
        read_volume(split_stacks(headers)[0], {})
    # 7 slices of 5 mm about the origin: the fourth lies in the middle.
    assert caught.value.positions_mm == pytest.approx((0.0,), abs=1e-6)


@needs_shared
def test_one_image_in_nine_encodings_has_one_content() -> None:
    files = sorted((SHARED / "dicom/transfer_syntaxes_siemens_epi").iterdir())
    volumes = [read_only_stack([path]).volume for path in files]
    assert len(volumes) == 9
    for volume in volumes[1:]:
        np.testing.assert_array_equal(volume.array, volumes[0].array)
        np.testing.assert_allclose(volume.grid.affine, volumes[0].grid.affine)


@needs_shared
def test_real_series_with_a_missing_slice_is_refused() -> None:
    """Instance Numbers jump from 34 to 36, and z by 4.97 instead of 2.49 mm."""
    headers = [
        read_image_header(path) for path in sorted((SHARED / "dicom/siemens_trio_t2_tse_axial").iterdir())
    ]
    with pytest.raises(MissingSliceError) as caught:
        read_volume(split_stacks(headers)[0], {})
    assert caught.value.missing == 1
