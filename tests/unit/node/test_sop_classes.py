"""Which SOP Classes are taken, and which encodings of images are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from node.header_reader import read_image_header
from node.sop_classes import is_stored
from tests.support.instances import mr_dataset, write_instance

TAKEN = {
    "MR Image": "1.2.840.10008.5.1.4.1.1.4",
    "CT Image": "1.2.840.10008.5.1.4.1.1.2",
    "Secondary Capture": "1.2.840.10008.5.1.4.1.1.7",
    "Comprehensive SR": "1.2.840.10008.5.1.4.1.1.88.33",
    "Key Object Selection": "1.2.840.10008.5.1.4.1.1.88.59",
    "Encapsulated PDF": "1.2.840.10008.5.1.4.1.1.104.1",
    "Grayscale Softcopy Presentation State": "1.2.840.10008.5.1.4.1.1.11.1",
    "MR Spectroscopy": "1.2.840.10008.5.1.4.1.1.4.2",
    "Raw Data": "1.2.840.10008.5.1.4.1.1.66",
    "Label Map Segmentation": "1.2.840.10008.5.1.4.1.1.66.7",
    "RT Beams Delivery Instruction": "1.2.840.10008.5.1.4.34.7",
    "newer than any dictionary": "1.2.840.10008.5.1.4.1.1.4.999",
    "Siemens CSA Non-Image": "1.3.12.2.1107.5.9.1",
    "Philips private MR": "1.3.46.670589.11.0.0.12.1",
}
"""SOP Classes of PS3.4 B.5, and private ones."""

NOT_TAKEN = {
    "Verification": "1.2.840.10008.1.1",
    "Storage Commitment": "1.2.840.10008.1.20.1",
    "Storage Service": "1.2.840.10008.4.2",
    "Study Root FIND": "1.2.840.10008.5.1.4.1.2.2.1",
    "Modality Worklist": "1.2.840.10008.5.1.4.31",
    "Hanging Protocol": "1.2.840.10008.5.1.4.38.1",
    "CT Defined Procedure Protocol": "1.2.840.10008.5.1.4.1.1.200.1",
    "Protocol Approval": "1.2.840.10008.5.1.4.1.1.200.3",
    "Protocol Approval FIND": "1.2.840.10008.5.1.4.1.1.200.4",
    "Inventory": "1.2.840.10008.5.1.4.1.1.201.1",
    "Storage Management Instance": "1.2.840.10008.5.1.4.1.1.201.1.1",
    "Inventory FIND": "1.2.840.10008.5.1.4.1.1.201.2",
    "Inventory Creation": "1.2.840.10008.5.1.4.1.1.201.5",
    "Repository Query": "1.2.840.10008.5.1.4.1.1.201.6",
}
"""Other services, and what is of no Study."""


@pytest.mark.parametrize("uid", TAKEN.values(), ids=TAKEN)
def test_what_may_be_part_of_a_study_is_taken(uid: str) -> None:
    assert is_stored(UID(uid))


@pytest.mark.parametrize("uid", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_other_services_are_not(uid: str) -> None:
    assert not is_stored(UID(uid))


@pytest.mark.parametrize(
    ("syntax", "unread"),
    [
        (ExplicitVRLittleEndian, ""),
        (ExplicitVRBigEndian, ""),
        (RLELossless, ""),
        (JPEG2000Lossless, ""),
        (JPEG2000, "JPEG 2000 Image Compression"),
        (JPEGBaseline8Bit, "JPEG Baseline (Process 1)"),
    ],
    ids=lambda value: value.name if isinstance(value, UID) else "",
)
def test_header_names_an_encoding_that_is_not_read(tmp_path: Path, syntax: UID, unread: str) -> None:
    assert read_image_header(write_instance(tmp_path, mr_dataset(), syntax)).unread_encoding == unread
