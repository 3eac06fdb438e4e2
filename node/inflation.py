"""Deflated data sets, before pydicom makes them whole in memory: 3 MB can become 3 GB."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.errors import InflatedTooLargeError
from node.part10 import PREAMBLE

INFLATED_BYTES = 512 * 1024**2
"""Longest data set that is inflated: room for the pixels of the largest volume that is read."""

_AT_A_TIME = 1024**2


def read_up_to_pixels(path: Path, keywords: Sequence[str] | None = None) -> Dataset:
    """Read a DICOM file up to its pixel data, unless it would fill the memory when it is inflated.

    Args:
        path: a Part 10 file.
        keywords: the attributes to read; all if None.

    Raises:
        InflatedTooLargeError: if it would.
        READING_ERRORS: of ``node.damaged_files``, if the file cannot be read.
    """
    _check_inflation(path)
    wanted = None if keywords is None else list(keywords)
    return dcmread(path, stop_before_pixels=True, specific_tags=wanted)


def _check_inflation(path: Path) -> None:
    """Inflate a data set piece by piece; of one that is not deflated read the File Meta Information alone."""
    with path.open("rb") as file:
        if file.read(len(PREAMBLE))[-4:] != PREAMBLE[-4:]:
            return
        # To the same place as pydicom, which passes over a group length that is not true.
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_beyond_meta)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflater, length = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflater.eof and (part := inflater.unconsumed_tail or file.read(_AT_A_TIME)):
            length += len(inflater.decompress(part, _AT_A_TIME))
            if length > INFLATED_BYTES:
                raise InflatedTooLargeError(INFLATED_BYTES)


def _is_beyond_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2
