"""Small MR Instances for the tests of receiving, storing and sending; nothing in them is worth segmenting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from tests.support.series_files import uid_from

ENCODED_BY_PYDICOM = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def mr_dataset(
    study: object = 1,
    series: object = 1,
    number: int = 1,
    *,
    sop_class: UID = MRImageStorage,
    pixels: int = 1,
) -> Dataset:
    """Return a small image; equal arguments give equal bytes, ``pixels`` changes the pixel data only."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid_from("instance", study, series, number)
    dataset.Modality = "MR"
    dataset.PatientName = "CSVD^PHANTOM"
    dataset.PatientID = "CSVD-PHANTOM-1"
    dataset.StudyInstanceUID = uid_from("study", study)
    dataset.SeriesInstanceUID = uid_from("series", study, series)
    dataset.InstanceNumber = number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 64
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    values = np.random.default_rng(pixels).integers(0, 4096, (64, 64), dtype=np.uint16)
    dataset.PixelData = values.tobytes()
    return dataset


def write_instance(folder: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write an Instance as a DICOM file.

    Compressed pixel data is real where pydicom has an encoder, else bytes in the right frame, which is all
    that a receiver sees that does not decode them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax in ENCODED_BY_PYDICOM:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax.is_encapsulated:
        dataset.PixelData = encapsulate([dataset.PixelData[:300]])
        dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, study: object = 1, series: object = 1, count: int = 3) -> list[Path]:
    """Write a Series of small images."""
    return [write_instance(folder, mr_dataset(study, series, number)) for number in range(1, count + 1)]


def dataset_bytes(path: Path) -> bytes:
    """Return the encoded data set of a DICOM file, found without the code under test."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return path.read_bytes()[132 + 12 + meta.FileMetaInformationGroupLength :]
