"""Headers are read from the bytes as sent; broken ones are refused with a reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from node.errors import UnreadableDatasetError
from node.part10 import InstanceHeader, dataset_offset, encode_file_meta, is_uid, read_header, read_part10
from tests.support.instances import dataset_bytes, mr_dataset, write_instance

PREAMBLE = bytes(128) + b"DICM"
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    HTJ2KLossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_header_holds_the_uids_of_the_dataset(tmp_path: Path, syntax: UID) -> None:
    dataset = mr_dataset()
    path = write_instance(tmp_path, dataset, syntax)
    assert read_header(dataset_bytes(path), syntax) == InstanceHeader(
        study_uid=dataset.StudyInstanceUID,
        series_uid=dataset.SeriesInstanceUID,
        sop_instance_uid=dataset.SOPInstanceUID,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid=str(syntax),
    )


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, "", "1.2..3", "../../etc", "1." + "2" * 63])
def test_dataset_without_a_valid_uid_is_unreadable(tmp_path: Path, keyword: str, value: str | None) -> None:
    path = write_instance(tmp_path, mr_dataset())
    dataset = dcmread(path)
    delattr(dataset, keyword)
    if value is not None:
        dataset.add_new(keyword, "LO", value)
        dataset[keyword].VR = "LO"
    dataset.save_as(path)
    with pytest.raises(UnreadableDatasetError, match="without a valid") as caught:
        read_header(dataset_bytes(path), ExplicitVRLittleEndian)
    assert caught.value.status == 0xC000
    assert len(caught.value.comment) <= 64


def test_truncated_pixel_data_is_unreadable(tmp_path: Path) -> None:
    dataset = mr_dataset()
    content = dataset_bytes(write_instance(tmp_path, dataset))
    whose = (
        f"^Study {dataset.StudyInstanceUID}, Series {dataset.SeriesInstanceUID}: an Instance cannot be parsed"
    )
    with pytest.raises(UnreadableDatasetError, match=whose) as caught:
        read_header(content[:-1], ExplicitVRLittleEndian)
    assert (caught.value.study_uid, caught.value.series_uid) == (
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
    )


def test_element_that_ends_beyond_the_data_is_unreadable(tmp_path: Path) -> None:
    content = dataset_bytes(write_instance(tmp_path, mr_dataset()))
    too_long = struct.pack("<HH2sH", 0x0028, 0x0106, b"US", 40)
    header = content[: content.index(struct.pack("<HH", 0x7FE0, 0x0010))]
    with pytest.raises(UnreadableDatasetError, match="cannot be parsed"):
        read_header(header + too_long, ExplicitVRLittleEndian)


@pytest.mark.parametrize("content", [b"", b"\xff" * 500, b"\x08\x00\x16\x00UI\x04\x00\xc3\xa4.1"])
def test_garbage_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableDatasetError):
        read_header(content, ExplicitVRLittleEndian)


def test_garbage_that_is_no_deflate_stream_is_unreadable() -> None:
    with pytest.raises(UnreadableDatasetError):
        read_header(b"\xff" * 100, DeflatedExplicitVRLittleEndian)


def test_deflated_header_is_read_without_inflating_all_of_it(tmp_path: Path) -> None:
    """200 MB of zeros deflate to 200 KB; only the bounded beginning may be inflated."""
    content = dataset_bytes(write_instance(tmp_path, mr_dataset()))
    header = content[: content.index(struct.pack("<HH", 0x7FE0, 0x0010))]
    size = 200 * 1024 * 1024
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [deflater.compress(header + pixels)]
    parts += [deflater.compress(bytes(1024 * 1024)) for _ in range(200)]
    found = read_header(b"".join([*parts, deflater.flush()]), DeflatedExplicitVRLittleEndian)
    assert found.study_uid == mr_dataset().StudyInstanceUID


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1.2.840.10008.1.2", True, id="standard"),
        pytest.param("1.2.05.3", True, id="leading-zero-of-real-scanners"),
        pytest.param("1." + "2" * 62, True, id="64-characters"),
        pytest.param("1." + "2" * 63, False, id="65-characters"),
        pytest.param("", False, id="empty"),
        pytest.param(".1", False, id="leading-dot"),
        pytest.param("1.", False, id="trailing-dot"),
        pytest.param("1..2", False, id="two-dots"),
        pytest.param("..", False, id="parent-folder"),
        pytest.param("1/2", False, id="slash"),
        pytest.param("1.2\n", False, id="newline"),
        pytest.param("١.٢", False, id="digits-of-another-script"),
    ],
)
def test_uid_holds_digits_and_single_dots(text: str, expected: bool) -> None:
    assert is_uid(text) is expected


def test_file_meta_names_sender_and_encoding(tmp_path: Path) -> None:
    header = InstanceHeader(
        "1.2", "1.2.3", "1.2.3.4", "1.2.840.10008.5.1.4.1.1.4", str(ImplicitVRLittleEndian)
    )
    path = tmp_path / "empty.dcm"
    path.write_bytes(encode_file_meta(header, "SCANNER1", "CSVD"))
    meta = dcmread(path).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert meta.SourceApplicationEntityTitle == "SCANNER1"
    assert meta.ReceivingApplicationEntityTitle == "CSVD"
    assert dataset_offset(path) == path.stat().st_size


def test_file_of_another_writer_is_read(tmp_path: Path) -> None:
    path = write_instance(tmp_path, mr_dataset())
    found = read_part10(path)
    assert found.header.sop_instance_uid == mr_dataset().SOPInstanceUID
    assert path.read_bytes()[found.dataset_offset :] == dataset_bytes(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 40, b"text"]
)
def test_file_that_is_no_part_10_file_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.dcm"
    path.write_bytes(content)
    with pytest.raises(UnreadableDatasetError, match="not a DICOM file"):
        read_part10(path)
