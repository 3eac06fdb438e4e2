"""Transfer syntaxes in which masks need less room, and how a stored Instance is written in one of them.

Masks are mostly empty: deflated or run-length encoded they are a small part of what they were, without loss.

- Deflated Explicit VR Little Endian holds any data set, so every Segmentation can go in it.
- RLE Lossless holds pixels of whole bytes: fractional Segmentations and label maps. Single bits were not
  foreseen in it until CP-2301 said how, and neither DCMTK nor pydicom 3.0 reads them, so a binary
  Segmentation is never sent so.

Source: PS3.5 8.2.2, A.4.2 and G (RLE), A.5 (deflate).
"""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from node.sop_classes import MASK_SOP_CLASSES

SMALLER: tuple[UID, ...] = (DeflatedExplicitVRLittleEndian, RLELossless)
"""What masks may be sent in beside the uncompressed syntaxes; the smallest, which is preferred, first."""

_BITS_ALLOCATED = 0x00280100


def smaller_syntaxes(path: Path, sop_class: UID, *, deflate: bool, rle: bool) -> tuple[UID, ...]:
    """List the syntaxes of ``SMALLER`` that a destination may be offered for an Instance.

    Args:
        path: its Part 10 file.
        sop_class: its SOP Class; what is no Segmentation goes as it is.
        deflate: whether the destination wants Segmentations deflated.
        rle: whether it wants them run-length encoded.

    Raises:
        READING_ERRORS: of ``node.damaged_files``, if the file cannot be read.
    """
    if sop_class not in MASK_SOP_CLASSES:
        return ()
    wanted = {DeflatedExplicitVRLittleEndian: deflate, RLELossless: rle and _has_whole_bytes(path)}
    return tuple(syntax for syntax in SMALLER if wanted[syntax])


def read_as(path: Path, stored: UID, syntax: UID) -> Dataset:
    """Read a file for sending it in another transfer syntax; its UIDs stay as they are.

    Args:
        path: a Part 10 file.
        stored: the transfer syntax that it is in.
        syntax: the one it is wanted in.

    Raises:
        READING_ERRORS: of ``node.damaged_files``, if that fails.
    """
    dataset = dcmread(path)
    if stored.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    elif stored.is_deflated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == RLELossless:
        dataset.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    elif syntax.is_deflated:
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _has_whole_bytes(path: Path) -> bool:
    bits = dcmread(path, stop_before_pixels=True, specific_tags=[_BITS_ALLOCATED]).get("BitsAllocated", 0)
    return bool(bits) and bits % 8 == 0
