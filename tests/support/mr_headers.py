"""Small MR data sets without pixels, for what headers decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from node.header_reader import read_image_header
from node.headers import ImageHeader
from node.stacks import Stack, split_stacks

STUDY_UID, SERIES_UID, FRAME_UID = "1.2.3", "1.2.3.4", "1.2.3.9"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
NORMALS = {AXIAL: (0.0, 0.0, 1.0), SAGITTAL: (-1.0, 0.0, 0.0), CORONAL: (0.0, 1.0, 0.0)}


def mr_dataset(number: int = 1, **elements: Any) -> Dataset:
    """Return one classic axial slice at z = 5 mm times its number; None removes an element."""
    dataset = Dataset()
    values = {
        "SOPClassUID": MRImageStorage,
        "StudyInstanceUID": STUDY_UID,
        "SeriesInstanceUID": SERIES_UID,
        "FrameOfReferenceUID": FRAME_UID,
        "SeriesNumber": 3,
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "Rows": 8,
        "Columns": 6,
        "PixelSpacing": [1.0, 1.0],
        "SliceThickness": 5.0,
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": [-3.0, -4.0, 5.0 * number],
        **elements,
    }
    values.setdefault("SOPInstanceUID", f"{values['SeriesInstanceUID']}.{number}")
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def add_private(dataset: Dataset, group: int, creator: str, **elements: tuple[int, str, Any]) -> Dataset:
    """Add private elements, each as (offset, VR, value)."""
    block = dataset.private_block(group, creator, create=True)
    for offset, vr, value in elements.values():
        block.add_new(offset, vr, value)
    return dataset


def mr_series(
    slices: int = 24, first: int = 1, orientation: Sequence[float] = AXIAL, **elements: Any
) -> list[ImageHeader]:
    """Return the headers of parallel slices, 5 mm apart along their normal."""
    normal = NORMALS[tuple(orientation)]
    return [
        read_image_header(
            mr_dataset(
                number,
                ImageOrientationPatient=list(orientation),
                ImagePositionPatient=[5.0 * (number - first) * part for part in normal],
                **elements,
            )
        )
        for number in range(first, first + slices)
    ]


def one_stack(headers: Sequence[ImageHeader]) -> Stack:
    """Return the only stack of a Series."""
    (stack,) = split_stacks(headers)
    return stack


def item(**elements: Any) -> Dataset:
    """Return a sequence item."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def sequence(**elements: Any) -> DicomSequence:
    """Return a sequence of one item."""
    return DicomSequence([item(**elements)])


def enhanced_dataset(shared: Dataset, frames: Sequence[Dataset], **elements: Any) -> Dataset:
    """Return an enhanced MR object of these functional groups."""
    dataset = mr_dataset(
        SOPClassUID=EnhancedMRImageStorage,
        ImagePositionPatient=None,
        ImageOrientationPatient=None,
        PixelSpacing=None,
        SliceThickness=None,
        NumberOfFrames=len(frames),
    )
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    return dataset
