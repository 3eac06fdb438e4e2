"""A file that lies about its size, or is damaged where decoders trust it, costs its Series and no more."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from node.codestreams import check_codestreams
from node.errors import CodestreamError
from node.geometry import VolumeSettings, arrange
from node.header_reader import NotDicomError, read_image_header
from node.inflation import INFLATED_BYTES
from node.part10 import encode_file_meta, read_part10
from node.stacks import Stack, split_stacks
from node.study_facts import read_descriptions
from node.volume_errors import PixelDataError, TooLargeError, TooManyVoxelsError
from node.volume_reader import read_volume
from tests.support import mr_headers
from tests.support.header_patterns import SIEMENS_FLAIR_TSE
from tests.support.instances import dataset_bytes, mr_dataset, write_instance
from tests.support.mr_headers import one_stack
from tests.support.phantoms import phantom_grid, phantom_volume, write_series


def jpeg(rows: int, columns: int, samples: int = 1) -> bytes:
    """Begin a JPEG stream: SOI, a comment, fill bytes, SOF3 and SOS."""
    frame_header = struct.pack(">HBHHB", 8 + 3 * samples, 12, rows, columns, samples) + bytes(3 * samples)
    return b"\xff\xd8\xff\xfe\x00\x06\xff\xc3\x00\x00\xff\xff\xff\xc3" + frame_header + b"\xff\xda\x00\x02"


def jpeg_ls(rows: int, columns: int, samples: int = 1) -> bytes:
    frame_header = struct.pack(">HBHHB", 8 + 3 * samples, 12, rows, columns, samples) + bytes(3 * samples)
    return b"\xff\xd8\xff\xf7" + frame_header + b"\xff\xda\x00\x02"


def jpeg_2000(rows: int, columns: int, samples: int = 1) -> bytes:
    """Begin a JPEG 2000 codestream whose image begins at (10, 20) of its reference grid."""
    offsets = struct.pack(">4L", 10, 20, columns, rows) + bytes(8)
    size = struct.pack(">2H2L", 38 + 3 * samples, 0, columns + 10, rows + 20) + offsets
    return b"\xff\x4f\xff\x51" + size + struct.pack(">H", samples) + bytes(3 * samples)


SYNTAXES = [
    pytest.param(JPEGLosslessSV1, jpeg, id="jpeg"),
    pytest.param(JPEGLSLossless, jpeg_ls, id="jpeg-ls"),
    pytest.param(JPEG2000Lossless, jpeg_2000, id="jpeg-2000"),
]


def with_frames(syntax: UID, *frames: bytes) -> Dataset:
    """Return an image of 64 x 64 pixels with these frames."""
    dataset = mr_dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.NumberOfFrames, dataset.PixelData = len(frames), encapsulate(list(frames))
    return dataset


@pytest.mark.parametrize(("syntax", "stream"), SYNTAXES)
def test_codestream_of_another_size_is_not_decoded(syntax: UID, stream: Callable[..., bytes]) -> None:
    check_codestreams(with_frames(syntax, stream(64, 64)))
    for wrong in (stream(65535, 65535), stream(64, 65), stream(64, 64, samples=3), stream(64, 64)[:3]):
        with pytest.raises(CodestreamError, match="frame 2 claims"):
            check_codestreams(with_frames(syntax, stream(64, 64), wrong))


UIDS = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.9"}


def stack_of(paths: list[Path]) -> tuple[Stack, dict[str, Path]]:
    headers = [read_image_header(path) for path in paths]
    (stack,) = split_stacks(headers)
    return stack, {header.sop_instance_uid: path for header, path in zip(headers, paths, strict=True)}


def flair(folder: Path) -> list[Path]:
    """Write a Series of three slices."""
    volume = phantom_volume("T2_FLAIR", phantom_grid((3, 32, 32)))
    return write_series(volume, SIEMENS_FLAIR_TSE, folder, **UIDS, series_number=4)


def test_small_codestream_that_asks_for_16_gb_names_its_instance(tmp_path: Path) -> None:
    paths = flair(tmp_path)
    dataset = pydicom.dcmread(paths[1])
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    code = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    struct.pack_into(">LL", code, 8, 65535, 65535)
    dataset.PixelData = encapsulate([bytes(code)])
    dataset.save_as(paths[1])
    stack, files = stack_of(paths)
    with pytest.raises(PixelDataError, match=f"{dataset.SOPInstanceUID}.*claims 65535 x 65535 pixels"):
        read_volume(stack, files)


def test_decoder_that_panics_names_its_instance(tmp_path: Path) -> None:
    """pylibjpeg-rle panics on a segment that is too long, which no ``except Exception`` sees."""
    paths = flair(tmp_path)
    dataset = pydicom.dcmread(paths[1])
    segment = bytes([129, 7]) * (dataset.Rows * dataset.Columns // 128 + 1)
    frame = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    dataset.PixelData, dataset.file_meta.TransferSyntaxUID = encapsulate([frame]), RLELossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(paths[1])
    stack, files = stack_of(paths)
    with pytest.raises(PixelDataError, match=f"{dataset.SOPInstanceUID}.*the decoder broke off"):
        read_volume(stack, files)


def test_deflated_file_that_would_fill_the_memory_is_left_out(tmp_path: Path) -> None:
    path = write_instance(tmp_path, mr_dataset())
    header = replace(read_part10(path).header, transfer_syntax_uid=DeflatedExplicitVRLittleEndian)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    begin = deflater.compress(dataset_bytes(path)) + deflater.flush(zlib.Z_FULL_FLUSH)
    zeros = deflater.compress(bytes(2**24)) + deflater.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(encode_file_meta(header, "SCANNER") + begin + zeros * (INFLATED_BYTES // 2**24))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(NotDicomError, match="its deflated data set holds more than 512 MiB; it is left out"):
        read_image_header(path)
    assert read_descriptions([path]).modalities == frozenset()
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        pytest.param((0x0008, 0x0016), b"UI", b"1.2\\1.2.840.10008.5.1.4.1.1.4 ", id="two-sop-classes"),
        pytest.param((0x0008, 0x0016), b"Lu", b"1.2.840.10008.5.1.4.1.1.4\0", id="unknown-vr"),
    ],
)
def test_file_whose_header_can_not_be_converted_is_left_out(
    tmp_path: Path, tag: tuple[int, int], vr: bytes, value: bytes
) -> None:
    path = with_element(tmp_path, tag, vr, value)
    with pytest.raises(NotDicomError, match="it is left out"):
        read_image_header(path)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        pytest.param((0x0020, 0x0013), b"DS", b"nan ", id="number-nan"),
        pytest.param((0x0020, 0x0013), b"DS", b"-inf", id="number-infinite"),
        pytest.param((0x0028, 0x0106), b"US", b"\0\0\0", id="three-bytes-of-two"),
        pytest.param((0x2005, 0x0011), b"Lu", b"Philips ", id="creator-of-unknown-vr"),
        pytest.param((0x0028, 0x1053), b"DS", b"1e400 ", id="slope-infinite"),
    ],
)
def test_element_that_is_no_value_of_its_vr_counts_as_not_stated(
    tmp_path: Path, tag: tuple[int, int], vr: bytes, value: bytes
) -> None:
    header = read_image_header(with_element(tmp_path, tag, vr, value))
    assert header.instance_number == (None if tag == (0x0020, 0x0013) else 1)
    assert header.frames[0].rescale_slope == 1.0


def test_text_of_a_header_holds_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    path = with_element(tmp_path, (0x0008, 0x103E), b"LO", b"FLAIR\x1b[31m\x07\r\nx ")
    assert read_image_header(path).series_description == "FLAIR\\x1b[31m\\x07\\r\\nx"


def with_element(folder: Path, tag: tuple[int, int], vr: bytes, value: bytes) -> Path:
    """Write a file of which one element was replaced or added, encoded as it says."""
    dataset = mr_dataset()
    dataset.RescaleSlope = 1
    elements = {(each.tag.group, each.tag.element): each for each in dataset}
    path = write_instance(folder, dataset)
    content = path.read_bytes()
    whole = struct.pack("<HH2sH", *tag, vr, len(value)) + value
    if tag in elements:
        begin = content.index(struct.pack("<HH2s", *tag, elements[tag].VR.encode()))
        end = begin + 8 + int.from_bytes(content[begin + 6 : begin + 8], "little")
    else:
        begin = end = content.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(content[:begin] + whole + content[end:])
    return path


def axial(*heights: float, **elements: object) -> Stack:
    """Return slices at these z."""
    return one_stack(
        [
            read_image_header(mr_headers.mr_dataset(n, ImagePositionPatient=[0.0, 0.0, z], **elements))
            for n, z in enumerate(heights, start=1)
        ]
    )


@pytest.mark.parametrize(
    ("stack", "error"),
    [
        pytest.param(lambda: axial(0, 5, 10, PixelSpacing=[1000.0, 1000.0]), TooLargeError, id="50-m-wide"),
        pytest.param(
            lambda: axial(0, 5, 10, Rows=65535, Columns=65535), TooManyVoxelsError, id="13-gigavoxels"
        ),
    ],
)
def test_header_that_lies_about_the_size_makes_no_volume(
    stack: Callable[[], Stack], error: type[Exception]
) -> None:
    with pytest.raises(error):
        arrange(stack(), VolumeSettings())


@pytest.mark.parametrize("z", [1e308, 200_000.0])
def test_slice_beyond_every_scanner_has_no_place(z: float) -> None:
    header = read_image_header(mr_headers.mr_dataset(1, ImagePositionPatient=[0.0, 0.0, z]))
    assert header.frames[0].plane is None


def test_far_slice_does_not_make_a_list_without_end() -> None:
    tracemalloc.start()
    with pytest.raises(Exception, match="slices are missing"):
        arrange(axial(0, 0.02, 0.04, 0.06, 99_000.0), VolumeSettings())
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
