"""The Instance that checks whether a node takes Instances: of nobody, and not evaluated."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

STUDY_UID = UID("2.25.227340486413915273418049183506174402816")
SERIES_UID = UID("2.25.227340486413915273418049183506174402817")
INSTANCE_UID = UID("2.25.227340486413915273418049183506174402818")
"""Always the same, from one UUID (PS3.5 B.2), so that a peer that is checked often keeps one Instance."""

NOT_EVALUATED = "The test Instance of a check (check-peer): it was taken and kept, and is not evaluated."
"""What is said of its Study."""

ROWS = COLUMNS = 16


def is_round_trip(study_uid: str) -> bool:
    """Tell whether a Study is that of the Instance."""
    return study_uid == STUDY_UID


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
