"""Checks a DICOM peer as a sender sees it: C-ECHO, then C-STORE of an Instance made for this."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from node.deliveries import DeliveryState
from node.errors import AssociationFailedError
from node.outbound import DestinationSettings, SenderSettings
from node.sender import echo, send

STUDY_UID = UID("2.25.227340486413915273418049183506174402816")
SERIES_UID = UID("2.25.227340486413915273418049183506174402817")
INSTANCE_UID = UID("2.25.227340486413915273418049183506174402818")
"""Always the same, from one UUID (PS3.5 B.2), so that a peer that is checked often keeps one Instance."""

ROWS = COLUMNS = 16


def check_peer(peer: DestinationSettings, settings: SenderSettings) -> None:
    """Send a C-ECHO, then the Instance; nothing is left to wish if it returns.

    Raises:
        AssociationFailedError: if the peer does not answer, does not know us, or does not take the Instance.
    """
    echo(peer, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance.dcm"
        round_trip_instance().save_as(path, enforce_file_format=True)
        (outcome,) = send([path], peer, settings)
    if outcome.state not in {DeliveryState.DELIVERED, DeliveryState.WARNING}:
        raise AssociationFailedError(str(peer), f"did not take the Instance: {outcome.comment}")


def round_trip_instance() -> Dataset:
    """Return a small MR Image of nobody: a grey ramp, the same bytes each time."""
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = MRImageStorage, INSTANCE_UID
    instance.StudyInstanceUID, instance.SeriesInstanceUID = STUDY_UID, SERIES_UID
    instance.PatientName, instance.PatientID = "CSVD^ROUND TRIP", "CSVD-ROUND-TRIP"
    instance.Modality, instance.SeriesDescription, instance.InstanceNumber = "MR", "csvd-node round trip", 1
    instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
    instance.Rows, instance.Columns = ROWS, COLUMNS
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, 12, 11
    instance.PixelRepresentation = 0
    instance.PixelData = b"".join(value.to_bytes(2, "little") for value in range(ROWS * COLUMNS))
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return instance
