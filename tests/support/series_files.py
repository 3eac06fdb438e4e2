"""Volumes as classic MR Image Storage files, one Instance a slice or one mosaic for all."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from engines.volume import Volume
from tests.support.header_patterns import HeaderPattern

IMPLEMENTATION_UID = UID("1.2.826.0.1.3680043.8.498.1.2024.1")
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)

Order = Literal["ascending", "descending", "shuffled"]


@dataclass(frozen=True, slots=True)
class Patient:
    """Whom a phantom pretends to be."""

    name: str
    patient_id: str
    birth_date: str = "19500101"
    sex: str = "O"
    character_set: str | list[str] = "ISO_IR 100"
    accession_number: str = ""


DEMO_PATIENT = Patient("CSVD^PHANTOM", "CSVD-PHANTOM-1")
UTF8_PATIENT = Patient("Prüfkörper^Köpf=試験^頭部", "CSVD-PHANTOM-2", character_set="ISO_IR 192")
JAPANESE_PATIENT = Patient(
    "Shiken^Tarou=試験^太郎=しけん^たろう", "CSVD-PHANTOM-3", character_set=["", "ISO 2022 IR 87"]
)


def uid_from(*parts: object) -> UID:
    """Return the same UID for the same parts."""
    return generate_uid(entropy_srcs=[repr(part) for part in parts])


def decimal(value: float) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    return format_number_as_ds(float(value) + 0.0)


def direction_cosines(volume: Volume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the row cosines (along columns) and the column cosines (along rows), unit vectors in LPS."""
    steps = volume.grid.affine[:3, :3]
    return steps[:, 2] / np.linalg.norm(steps[:, 2]), steps[:, 1] / np.linalg.norm(steps[:, 1])


def new_dataset(
    sop_class: UID, sop_instance: UID, transfer_syntax: UID, patient: Patient, study_uid: str
) -> FileDataset:
    """Return a data set with file meta information, patient and Study."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = transfer_syntax if transfer_syntax in NATIVE else ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = patient.character_set
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop_instance
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240115"
    ds.StudyTime = "090000"
    ds.AccessionNumber = patient.accession_number
    ds.ReferringPhysicianName = ds.StudyID = ""
    ds.StudyDescription = "MR Brain"
    ds.PatientName, ds.PatientID = patient.name, patient.patient_id
    ds.PatientBirthDate, ds.PatientSex = patient.birth_date, patient.sex
    ds.StudyInstanceUID = study_uid
    return ds


def set_series(
    ds: Dataset, series_uid: str, frame_of_reference_uid: str, series_number: int, instance: int
) -> None:
    """Set what all Instances of one Series share, and the Instance Number."""
    ds.Modality = "MR"
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = series_uid, frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = series_number, 1, instance
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"09{series_number % 60:02d}00"
    ds.PatientPosition = "HFS"


def set_pattern(ds: Dataset, pattern: HeaderPattern) -> None:
    """Set what the scanner says about the sequence."""
    for keyword, value in pattern.elements().items():
        number = isinstance(value, float)
        setattr(ds, keyword, decimal(value) if number and keyword != "DiffusionBValue" else value)
    for group, creator, offset, vr, value in pattern.private:
        ds.private_block(group, creator, create=True).add_new(offset, vr, value)


def set_plane(
    ds: Dataset, volume: Volume, position: NDArray[np.float64], thickness_mm: float | None = None
) -> None:
    """Set the Image Plane of one slice; ``position`` is the LPS mm of its first voxel."""
    row_cosines, column_cosines = direction_cosines(volume)
    slice_mm, row_mm, column_mm = volume.grid.spacing_mm
    ds.ImageOrientationPatient = [decimal(value) for value in (*row_cosines, *column_cosines)]
    ds.ImagePositionPatient = [decimal(value) for value in position]
    ds.PixelSpacing = [decimal(row_mm), decimal(column_mm)]
    ds.SliceThickness, ds.SpacingBetweenSlices = decimal(thickness_mm or slice_mm), decimal(slice_mm)
    ds.SliceLocation = decimal(float(position @ np.cross(row_cosines, column_cosines)))


def set_pixels(ds: Dataset, stored: NDArray[Any], bits_stored: int, *, signed: bool) -> None:
    """Set native 16 bit pixel data; values outside the bits are clipped."""
    low, high = (-(2 ** (bits_stored - 1)), 2 ** (bits_stored - 1) - 1) if signed else (0, 2**bits_stored - 1)
    pixels = np.clip(np.rint(stored), low, high).astype("<i2" if signed else "<u2")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    top = float(np.percentile(pixels, 99.5))
    ds.WindowCenter, ds.WindowWidth = decimal(round(top / 2)), decimal(max(1, round(top)))
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"


def save(ds: FileDataset, path: Path, transfer_syntax: UID) -> Path:
    """Write a Part 10 file; pixels are compressed where the transfer syntax asks for it."""
    if transfer_syntax not in NATIVE:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def slice_order(count: int, order: Order, seed: int) -> list[int]:
    """Return the slice index of each Instance, first Instance first."""
    if order == "shuffled":
        return [int(index) for index in np.random.default_rng(seed).permutation(count)]
    return list(range(count))[:: -1 if order == "descending" else 1]


def write_series(
    volume: Volume,
    pattern: HeaderPattern,
    folder: Path,
    *,
    study_uid: str,
    frame_of_reference_uid: str,
    series_number: int,
    series_uid: str | None = None,
    order: Order = "ascending",
    transfer_syntax: UID = ExplicitVRLittleEndian,
    signed: bool | None = None,
    bits_stored: int | None = None,
    slope: float | None = None,
    intercept: float = 0.0,
    thickness_mm: float | None = None,
    patient: Patient = DEMO_PATIENT,
    first_instance: int = 1,
    seed: int = 0,
) -> list[Path]:
    """Write one classic Instance a slice and return the files, first Instance first.

    Args:
        volume: what lies where; its values are the ones after rescale.
        pattern: what the scanner says.
        folder: made if missing; files are called by Series and Instance Number.
        study_uid: Study Instance UID.
        frame_of_reference_uid: Frame of Reference UID.
        series_number: Series Number.
        series_uid: Series Instance UID; derived from Study and number if None. Two calls with one
            Series and another ``first_instance`` put two volumes (b0 and b1000) into one Series.
        order: which slice is the first Instance; "descending" starts with the last slice.
        transfer_syntax: native, RLE, JPEG-LS or JPEG 2000 lossless.
        signed: Pixel Representation, the pattern's if None.
        bits_stored: Bits Stored, the pattern's if None.
        slope: Rescale Slope; without one neither slope nor intercept is written.
        intercept: Rescale Intercept.
        thickness_mm: Slice Thickness; the distance of the slices if None.
        patient: whose name and character set are written.
        first_instance: Instance Number of the first file.
        seed: of the shuffling.
    """
    series_uid = series_uid or uid_from(study_uid, series_number)
    signed = pattern.signed if signed is None else signed
    paths = []
    for place, index in enumerate(slice_order(volume.grid.shape[0], order, seed)):
        number = first_instance + place
        ds = new_dataset(
            MRImageStorage, uid_from(series_uid, "instance", number), transfer_syntax, patient, study_uid
        )
        set_pattern(ds, pattern)
        set_series(ds, series_uid, frame_of_reference_uid, series_number, number)
        set_plane(ds, volume, volume.grid.to_lps(np.array([[index, 0, 0]]))[0], thickness_mm)
        if slope is not None:
            ds.RescaleSlope, ds.RescaleIntercept = decimal(slope), decimal(intercept)
            ds.RescaleType = "US"
        stored = (volume.array[index] - (intercept if slope else 0.0)) / (slope or 1.0)
        set_pixels(ds, stored, bits_stored or pattern.bits_stored, signed=signed)
        paths.append(save(ds, Path(folder) / f"{series_number:03d}_{number:04d}.dcm", transfer_syntax))
    return paths


def _csa_header(elements: dict[str, tuple[str, list[str]]]) -> bytes:
    """Return a CSA2 ("SV10") header: name to VR and values, as Siemens writes it into (0029,1010)."""
    blob = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(elements), 77)
    for name, (vr, values) in elements.items():
        blob += struct.pack("<64si4siii", name.encode(), len(values), vr.encode(), 0, len(values), 77)
        for value in values:
            data = value.encode() + b"\0"
            blob += struct.pack("<4i", len(data), len(data), 77, len(data)) + data + b"\0" * (-len(data) % 4)
    return blob + b"\0" * (len(blob) % 2)


def write_mosaic(
    volume: Volume,
    pattern: HeaderPattern,
    path: Path,
    *,
    study_uid: str,
    frame_of_reference_uid: str,
    series_number: int,
    series_uid: str | None = None,
    patient: Patient = DEMO_PATIENT,
    instance: int = 1,
) -> Path:
    """Write all slices as tiles of one Instance, as Siemens did before Enhanced MR.

    Image Position (Patient) is that of a plane of the mosaic's size around the first slice, so it has to be
    moved inward by half the difference of the sizes; the slices ascend along the normal of the CSA header.
    """
    series_uid = series_uid or uid_from(study_uid, series_number)
    count, rows, columns = volume.grid.shape
    tiles = int(np.ceil(np.sqrt(count)))
    sheet = np.zeros((tiles * rows, tiles * columns), dtype=np.float32)
    for index in range(count):
        row, column = divmod(index, tiles)
        sheet[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = volume.array[index]
    ds = new_dataset(
        MRImageStorage, uid_from(series_uid, "instance", instance), ExplicitVRLittleEndian, patient, study_uid
    )
    set_pattern(ds, pattern.but(ImageType=[*pattern.elements()["ImageType"], "MOSAIC"]))
    set_series(ds, series_uid, frame_of_reference_uid, series_number, instance)
    corner = np.array([[0, -(tiles - 1) * rows / 2, -(tiles - 1) * columns / 2]])
    set_plane(ds, volume, volume.grid.to_lps(corner)[0])
    normal = volume.grid.affine[:3, 0] / np.linalg.norm(volume.grid.affine[:3, 0])
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(
        0x10,
        "OB",
        _csa_header(
            {
                "NumberOfImagesInMosaic": ("US", [str(count)]),
                "SliceNormalVector": ("FD", [f"{value:.8f}" for value in normal]),
            }
        ),
    )
    set_pixels(ds, sheet, pattern.bits_stored, signed=pattern.signed)
    return save(ds, Path(path), ExplicitVRLittleEndian)
