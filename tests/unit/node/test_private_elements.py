"""Private elements are found by creator, in any block, and also as UN."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from node.private_elements import PrivateBlocks

CREATOR = "SIEMENS MR HEADER"


def dataset_with(block: int, creator: str | None, offset: int, vr: str, value: Any) -> Dataset:
    dataset = Dataset()
    if creator is not None:
        dataset.add_new((0x0019, block), "LO", creator)
    dataset.add_new((0x0019, block << 8 | offset), vr, value)
    return dataset


@pytest.mark.parametrize("block", [0x10, 0x11, 0x42, 0xFF])
def test_element_is_found_in_the_block_its_creator_reserved(block: int) -> None:
    blocks = PrivateBlocks(dataset_with(block, CREATOR, 0x0C, "IS", "1000"))
    assert blocks.numbers(0x0019, 0x0C, CREATOR, "IS") == (1000.0,)


def test_element_of_another_creator_is_not_taken() -> None:
    blocks = PrivateBlocks(dataset_with(0x10, "SOMEBODY ELSE", 0x0C, "IS", "1000"))
    assert blocks.numbers(0x0019, 0x0C, CREATOR, "IS") == ()


def test_first_block_is_taken_when_de_identification_removed_all_creators() -> None:
    blocks = PrivateBlocks(dataset_with(0x10, None, 0x0C, "IS", "1000"))
    assert blocks.numbers(0x0019, 0x0C, CREATOR, "IS") == (1000.0,)


@pytest.mark.parametrize(
    ("vr", "raw", "expected"),
    [
        pytest.param("FD", struct.pack("<d", 998.5), (998.5,), id="double"),
        pytest.param("FL", struct.pack("<f", 1000.0), (1000.0,), id="float"),
        pytest.param("IS", b"1000\\8\\0\\0 ", (1000.0, 8.0, 0.0, 0.0), id="integer string"),
        pytest.param("US", struct.pack("<H", 25), (25.0,), id="unsigned short"),
        pytest.param("SS", struct.pack("<h", -2), (-2.0,), id="signed short"),
        pytest.param("IS", b"no number", (), id="not a number"),
        pytest.param("FD", b"abc", (), id="too short"),
    ],
)
def test_un_bytes_are_read_by_the_documented_vr(vr: str, raw: bytes, expected: tuple[float, ...]) -> None:
    blocks = PrivateBlocks(dataset_with(0x10, CREATOR, 0x0C, "UN", raw))
    assert blocks.numbers(0x0019, 0x0C, CREATOR, vr) == expected


def test_unknown_private_element_survives_implicit_vr() -> None:
    dataset = Dataset()
    dataset.add_new((0x0065, 0x0010), "LO", "Image Private Header")
    dataset.add_new((0x0065, 0x1009), "FD", 1000.0)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True)
    buffer.seek(0)
    read = pydicom.dcmread(buffer, force=True)
    assert read[0x0065, 0x1009].VR == "UN"
    assert PrivateBlocks(read).numbers(0x0065, 0x09, "Image Private Header", "FD") == (1000.0,)


def test_texts_are_stripped_and_empty_ones_left_out() -> None:
    blocks = PrivateBlocks(dataset_with(0x10, CREATOR, 0x0D, "UN", b"DIRECTIONAL \x00"))
    assert blocks.texts(0x0019, 0x0D, CREATOR) == ("DIRECTIONAL",)
    assert PrivateBlocks(dataset_with(0x10, CREATOR, 0x0D, "CS", "")).texts(0x0019, 0x0D, CREATOR) == ()
