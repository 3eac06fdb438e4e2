"""Siemens mosaics: layout, direction and the place of each tile."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian

from node.header_reader import read_image_header
from node.headers import Plane
from node.mosaic import Mosaic, read_csa, tile_planes
from node.volume_reader import read_volume
from tests.support.mr_headers import add_private, item, mr_dataset, one_stack
from tests.support.shared_data import SHARED, needs_shared

PLANE = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (2.0, 1.5))


def csa(elements: dict[str, list[str]], magic: bytes = b"SV10\x04\x03\x02\x01") -> bytes:
    """Write a CSA header as Siemens lays it out: name, multiplicity, VR, then length-prefixed texts."""
    blob = magic + struct.pack("<II", len(elements), 77)
    for name, values in elements.items():
        blob += struct.pack("<64sI4sIII", name.encode(), len(values), b"FD", 0, len(values), 77)
        for value in values:
            text = value.encode() + b"\0"
            blob += struct.pack("<4I", 0, len(text), 77, 0) + text + b"\0" * (-len(text) % 4)
    return blob


@pytest.mark.parametrize("magic", [b"SV10\x04\x03\x02\x01", b""], ids=["CSA2", "CSA1"])
def test_csa_header_is_read_by_name(magic: bytes) -> None:
    found = read_csa(csa({"SliceNormalVector": ["0.0", "0.1", "0.99"], "Empty": []}, magic))
    assert found == {"SliceNormalVector": ("0.0", "0.1", "0.99"), "Empty": ()}


def test_damaged_csa_header_yields_what_was_readable() -> None:
    blob = csa({"First": ["1"], "Second": ["2"]})
    assert read_csa(blob[:-30]) == {"First": ("1",)}
    assert read_csa(b"") == {}


def test_first_tile_lies_half_the_difference_of_the_sizes_inside() -> None:
    # 4 tiles, 2 a side: of 64 rows and 32 columns, one tile has 32 and 16. Inset (64 - 32) / 2 rows of 2 mm
    # and (32 - 16) / 2 columns of 1.5 mm.
    planes = tile_planes(Mosaic(4, 2, 2, (0.0, 0.0, 1.0), 5.0), PLANE, rows=64, columns=32)
    assert [plane.position_mm for plane in planes if plane] == [
        (12.0, 32.0, 0.0),
        (12.0, 32.0, 5.0),
        (12.0, 32.0, 10.0),
        (12.0, 32.0, 15.0),
    ]


def test_slices_follow_the_siemens_normal_where_it_opposes_the_cosines() -> None:
    planes = tile_planes(Mosaic(2, 2, 2, (0.0, 0.0, -1.0), 5.0), PLANE, rows=64, columns=32)
    assert [plane.position_mm[2] for plane in planes if plane] == [0.0, -5.0]


@pytest.mark.parametrize("mosaic", [Mosaic(4, 2, 2, None, 5.0), Mosaic(4, 2, 2, (0.0, 0.0, 1.0), None)])
def test_tiles_are_not_placed_by_guess(mosaic: Mosaic) -> None:
    assert tile_planes(mosaic, PLANE, rows=64, columns=32) == (None,) * 4


def mosaic_dataset(number_in: str) -> pydicom.Dataset:
    dataset = mr_dataset(
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], Rows=48, Columns=36, SpacingBetweenSlices=4.0
    )
    elements = {"SliceNormalVector": ["0", "0", "1"]}
    if number_in == "CSA":
        elements["NumberOfImagesInMosaic"] = ["5"]
    else:
        add_private(dataset, 0x0019, "SIEMENS MR HEADER", number=(0x0A, "US", 5))
    return add_private(dataset, 0x0029, "SIEMENS CSA HEADER", csa=(0x10, "OB", csa(elements)))


@pytest.mark.parametrize("number_in", ["CSA", "(0019,100A)"])
def test_mosaic_becomes_one_frame_a_tile(number_in: str) -> None:
    header = read_image_header(mosaic_dataset(number_in))
    assert (header.rows, header.columns, header.mosaic_tiles_across) == (16, 12, 3)
    assert [frame.tile for frame in header.frames] == [0, 1, 2, 3, 4]
    assert not header.is_multi_frame


def test_mosaic_without_number_of_images_stays_one_frame() -> None:
    dataset = mr_dataset(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert len(read_image_header(dataset).frames) == 1


def grid_dataset(tiles: int, listed: int) -> pydicom.Dataset:
    """Return a GRID of UIH, 20 rows and 36 columns, whose slices lie 3 mm apart from head to foot."""
    dataset = mr_dataset(ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "VFRAME"], Rows=20, Columns=36)
    places = [item(ImagePositionPatient=[1.0, 2.0, 30.0 - 3.0 * place]) for place in range(listed)]
    return add_private(
        dataset,
        0x0065,
        "Image Private Header",
        number=(0x50, "DS", tiles),
        frames=(0x51, "SQ", DicomSequence(places)),
    )


def test_grid_of_uih_has_rows_for_its_tiles_only_and_places_them_by_its_list() -> None:
    """dcm2niix, UIH/README.md: ceil(sqrt(5)) = 3 across, ceil(5 / 3) = 2 down."""
    header = read_image_header(grid_dataset(5, 5))
    assert (header.rows, header.columns, header.mosaic_tiles_across) == (10, 12, 3)
    assert [frame.plane.position_mm for frame in header.frames if frame.plane] == [
        (1.0, 2.0, 30.0 - 3.0 * place) for place in range(5)
    ]


def test_tiles_of_a_grid_become_the_slices_of_its_list(tmp_path: Path) -> None:
    dataset = grid_dataset(5, 5)
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    # Tile k holds k: 0 1 2 above 3 4 and an empty one.
    sheet = np.kron(np.array([[0, 1, 2], [3, 4, 9]]), np.ones((10, 12))).astype(np.uint16)
    dataset.PixelData = sheet.tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "grid.dcm"
    dataset.save_as(path, enforce_file_format=True)
    found = read_volume(one_stack([read_image_header(path)]), {dataset.SOPInstanceUID: path})
    # From foot to head: the last tile first.
    assert found.volume.array[:, 0, 0].tolist() == [4, 3, 2, 1, 0]
    assert found.volume.grid.to_lps(np.array([[0, 0, 0]])).tolist() == [[1.0, 2.0, 18.0]]


def test_grid_that_does_not_list_every_slice_is_not_placed_by_guess() -> None:
    assert [frame.plane for frame in read_image_header(grid_dataset(5, 4)).frames] == [None] * 5


REAL = [
    pytest.param(Path("dicom/siemens_prisma_dwi_mosaic_b0_b1000"), id="prisma"),
    pytest.param(Path("dicom/transfer_syntaxes_siemens_epi"), id="trio"),
]


@needs_shared
@pytest.mark.parametrize("folder", REAL)
def test_tiles_of_real_mosaics_lie_where_the_protocol_put_the_slices(folder: Path) -> None:
    """The protocol in (0029,1020) lists the centre of each slice, written independently of the mosaic."""
    path = sorted((SHARED / folder).iterdir())[1]
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    text = dataset[0x0029, 0x1020].value.decode("latin-1").partition("### ASCCONV BEGIN")[2]
    header = read_image_header(path)
    for tile in (0, 1, len(header.frames) - 1):
        plane = header.frames[tile].plane
        assert plane is not None
        rows, columns = np.array(plane.orientation[3:]), np.array(plane.orientation[:3])
        centre = (
            np.array(plane.position_mm)
            + columns * plane.spacing_mm[1] * header.columns / 2
            + rows * plane.spacing_mm[0] * header.rows / 2
        )
        np.testing.assert_allclose(centre, protocol_position(text, tile), atol=0.01)


def protocol_position(protocol: str, number: int) -> list[float]:
    """Return sPosition of a slice; an axis that is 0 is not written."""
    found = []
    for axis in ("dSag", "dCor", "dTra"):
        pattern = rf"sSliceArray\.asSlice\[{number}\]\.sPosition\.{axis}\s*=\s*(\S+)"
        value = re.search(pattern, protocol)
        found.append(float(value.group(1)) if value else 0.0)
    return found
