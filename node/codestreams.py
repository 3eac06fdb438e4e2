"""What a compressed frame says of its own size, before a decoder believes it.

A decoder makes room for what the codestream claims, whatever Rows and Columns say: a kilobyte can ask for
16 GB, or for hours of work.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from node.errors import CodestreamError

_SIZ = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream: SOC, and SIZ, which must follow it (ISO/IEC 15444-1 A.5.1)."""

_START_OF_SCAN = 0xDA
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xDE, 0xF7} - {0xC4, 0xC8, 0xCC})
"""JPEG's SOF0 to SOF15 without DHT, JPG and DAC, then DHP and the SOF55 of JPEG-LS (ITU-T T.81, T.87)."""


@dataclass(frozen=True, slots=True)
class FrameSize:
    """Rows, columns and samples of each pixel."""

    rows: int
    columns: int
    samples: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns} pixels of {self.samples} samples"


def check_codestreams(dataset: Dataset) -> None:
    """Check that each compressed frame is as large as the header says.

    Args:
        dataset: with pixel data, and File Meta Information.

    Raises:
        CodestreamError: if one is not, or does not tell.
        READING_ERRORS: of ``node.damaged_files``, if the frames cannot be told apart.
    """
    read = _reader_of(dataset.file_meta.TransferSyntaxUID)
    if read is None:
        return
    expected = FrameSize(dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    frames = generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    for number, frame in enumerate(frames, start=1):
        found = set(read(frame))
        if found != {expected}:
            said = ", ".join(sorted(map(str, found))) or "no size"
            raise CodestreamError(f"frame {number} claims {said}, its header {expected}")


def _reader_of(syntax: UID) -> Callable[[bytes], Iterator[FrameSize]] | None:
    if syntax in JPEG2000TransferSyntaxes:
        return _jpeg2000_sizes
    return _jpeg_sizes if syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes) else None


def _jpeg2000_sizes(frame: bytes) -> Iterator[FrameSize]:
    """Yield the size in each SIZ, also of a codestream in a JP2 file."""
    at = frame.find(_SIZ)
    while at >= 0:
        length, _, x, y, x_offset, y_offset, samples = struct.unpack_from(">2H4L16xH", frame, at + 4)
        # The same bytes may stand in the data, but not with a length that fits.
        if length == 38 + 3 * samples:
            yield FrameSize(y - y_offset, x - x_offset, samples)
        at = frame.find(_SIZ, at + 1)


def _jpeg_sizes(frame: bytes) -> Iterator[FrameSize]:
    """Yield the size in each frame header before the first scan."""
    at = 2
    while at + 4 <= len(frame):
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at] != 0xFF:
            return
        if marker == 0xFF:
            # Any marker may be preceded by fill bytes.
            at += 1
            continue
        if marker in _FRAME_HEADERS:
            yield FrameSize(*struct.unpack_from(">HHB", frame, at + 5))
        if marker == _START_OF_SCAN:
            return
        at += 2 + length
