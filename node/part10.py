"""The frame of a DICOM file: the UIDs that identify an Instance, and the File Meta Information before it."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import data_element_generator, read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID

from node.errors import UnreadableDatasetError

IMPLEMENTATION_CLASS_UID = UID("2.25.173494620657091676502812236201360008498")
"""Who wrote the file (0002,0012); derived once from a random UUID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = "CSVD_NODE_1"
"""Name for people of the implementation that wrote the file (0002,0013)."""

INFLATED_HEADER_BYTES = 64 * 1024 * 1024
"""How much of a deflated data set is inflated to find its UIDs; a bound against a small hostile stream."""

PREAMBLE = b"\x00" * 128 + b"DICM"

_UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)*")
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_NAMES = {
    _SOP_CLASS: "SOP Class UID",
    _SOP_INSTANCE: "SOP Instance UID",
    _STUDY: "Study Instance UID",
    _SERIES: "Series Instance UID",
}
_STUDY_DESCRIPTION = 0x00081030
_FIRST_BULK_TAG = 0x7FE00000


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """What identifies an Instance: its UIDs and the transfer syntax that its bytes are in.

    And the Study Description, by which a Study may be urgent: free text, for no log and no table.

    All UIDs hold digits and single dots only, at most 64 of them, so that they are safe as file names.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_description: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Part10File:
    """A file as it lies on disk: its header, who sent it, and where its data set begins (bytes)."""

    header: InstanceHeader
    calling_ae: str
    dataset_offset: int


def read_header(dataset: bytes, transfer_syntax_uid: str) -> InstanceHeader:
    """Read the UIDs of an encoded data set; pixel data is neither read nor decoded.

    Args:
        dataset: the bytes as transmitted, without File Meta Information.
        transfer_syntax_uid: how they are encoded.

    Raises:
        UnreadableDatasetError: if the bytes cannot be parsed up to the pixel data, end before it does, lack
            one of the four UIDs, or hold one that is no UID; it names Study and Series as far as they were
            read before.
    """
    syntax = UID(transfer_syntax_uid)
    found: dict[int, str] = {}
    try:
        _read_uids(_inflate(dataset) if syntax.is_deflated else dataset, syntax, found)
    # Hostile or broken bytes make the parser raise nearly anything, from struct.error to RecursionError.
    except Exception as exc:
        problem = f"an Instance cannot be parsed as {syntax.name}: {type(exc).__name__}"
        raise _unreadable(found, problem, "data set cannot be parsed") from exc
    for tag, name in _NAMES.items():
        if not is_uid(found.get(tag, "")):
            problem = f"an Instance without a valid {name}"
            raise _unreadable(found, problem, f"{name} missing or malformed")
    return InstanceHeader(
        found[_STUDY],
        found[_SERIES],
        found[_SOP_INSTANCE],
        found[_SOP_CLASS],
        transfer_syntax_uid,
        found.get(_STUDY_DESCRIPTION, ""),
    )


def _unreadable(found: Mapping[int, str], problem: str, comment: str) -> UnreadableDatasetError:
    study_uid, series_uid = (found[tag] if is_uid(found.get(tag, "")) else "" for tag in (_STUDY, _SERIES))
    of_series = f", Series {series_uid}" if series_uid else ""
    message = f"Study {study_uid or 'unknown'}{of_series}: {problem}"
    return UnreadableDatasetError(message, comment, study_uid, series_uid)


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID: digits in parts divided by single dots, at most 64 characters.

    Leading zeros, which PS3.5 9.1 forbids, are let through: scanners in the field write them, and they do no
    harm in a file name.
    """
    return len(text) <= 64 and _UID_PATTERN.fullmatch(text) is not None


def encode_file_meta(header: InstanceHeader, calling_ae: str, called_ae: str = "") -> bytes:
    """Encode preamble and File Meta Information, with the sender's AE title (PS3.10 7.1).

    Written here and not by pydicom, whose general writer takes as long as all the rest of storing a file.
    """
    elements = (
        struct.pack("<HH2sHL", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01",
        _element(0x0002, b"UI", header.sop_class_uid),
        _element(0x0003, b"UI", header.sop_instance_uid),
        _element(0x0010, b"UI", header.transfer_syntax_uid),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        _element(0x0016, b"AE", calling_ae),
        _element(0x0018, b"AE", called_ae),
    )
    group = b"".join(elements)
    return PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(group)) + group


def _element(number: int, vr: bytes, text: str) -> bytes:
    """Encode a text of group 2 in Explicit VR Little Endian, padded to an even length; nothing if empty."""
    if not text:
        return b""
    value = text.encode("ascii")
    value += (b"\x00" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def read_part10(path: Path) -> Part10File:
    """Read the header of a DICOM file.

    Raises:
        UnreadableDatasetError: if it is no Part 10 file or its data set cannot be read.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        meta, offset = _read_meta(file, path)
        file.seek(offset)
        header = read_header(file.read(), str(meta.TransferSyntaxUID))
    return Part10File(header, str(meta.get("SourceApplicationEntityTitle", "")), offset)


def dataset_offset(path: Path) -> int:
    """Return where the data set of a DICOM file begins, in bytes.

    Raises:
        UnreadableDatasetError: if it is no Part 10 file.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        return _read_meta(file, path)[1]


def dataset_digest(path: Path) -> str:
    """Digest a file's data set as it was transmitted, without File Meta Information; SHA-256, hexadecimal.

    Raises:
        UnreadableDatasetError: if the file is no Part 10 file.
    """
    offset = dataset_offset(path)
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_meta(file: BinaryIO, path: Path) -> tuple[FileMetaDataset, int]:
    problem = f"{path}: not a DICOM file (Part 10) with a transfer syntax"
    if file.read(len(PREAMBLE))[128:] != b"DICM":
        raise UnreadableDatasetError(problem, "not a DICOM file")
    try:
        meta = read_file_meta_info(path)
        length = meta.FileMetaInformationGroupLength
        meta.TransferSyntaxUID  # noqa: B018 - raises if it is absent
    # As above: a damaged file makes the parser raise nearly anything.
    except Exception as exc:
        raise UnreadableDatasetError(problem, "not a DICOM file") from exc
    return meta, len(PREAMBLE) + _GROUP_LENGTH_BYTES + int(length)


_GROUP_LENGTH_BYTES = 12
"""Size of (0002,0000) itself, which its own value does not count (PS3.10 7.1)."""


def _inflate(dataset: bytes) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, INFLATED_HEADER_BYTES)


def _read_uids(dataset: bytes, syntax: UID, found: dict[int, str]) -> None:
    """Read what names an Instance into a mapping, which keeps what was read before a fault."""
    stream = BytesIO(dataset)
    # An inflated prefix may end anywhere inside the pixel data; elsewhere every element must fit.
    end = len(dataset) if len(dataset) < INFLATED_HEADER_BYTES else None

    def at_bulk_data(tag: BaseTag, _vr: str | None, length: int) -> bool:
        if tag < _FIRST_BULK_TAG:
            return False
        if end is not None and length != 0xFFFFFFFF and stream.tell() + length > end:
            raise EOFError("the pixel data is cut short")
        return True

    elements = data_element_generator(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=at_bulk_data,
        specific_tags=[*_NAMES, _STUDY_DESCRIPTION],
    )
    for element in elements:
        if isinstance(element, RawDataElement):
            found[int(element.tag)] = _text(element)
    if end is not None and stream.tell() > end:
        raise EOFError("the last element is cut short")


def _text(element: RawDataElement) -> str:
    """Decode a UID strictly; of a description, whose character set is not looked up, only ASCII is sure."""
    errors = "replace" if int(element.tag) == _STUDY_DESCRIPTION else "strict"
    return (element.value or b"").decode("ascii", errors).rstrip("\x00 ")
