"""Reads the header of a classic, enhanced or legacy converted MR image into an ``ImageHeader``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, MRImageStorage

from node.acquisition_reader import read_acquisition
from node.b_values import read_diffusion
from node.damaged_files import READING_ERRORS, reason_of
from node.errors import InflatedTooLargeError, NodeError
from node.header_layers import HeaderLayers, Layer
from node.headers import FrameHeader, ImageHeader, Plane
from node.inflation import read_up_to_pixels
from node.mosaic import read_mosaic, tile_planes
from node.private_elements import PrivateBlocks
from node.sop_classes import MR_IMAGE_SOP_CLASSES, unread_encoding

_DATE_AND_TIME = re.compile(r"(?P<date>\d{8})(?P<time>\d{6})", re.ASCII)

FARTHEST_MM = 100_000.0
"""A position farther from the origin than this is no place in a scanner, mm."""


class NotDicomError(NodeError):
    """A file is no DICOM file, or its header cannot be read."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}; it is left out")


class NotAnMrImageError(NodeError):
    """An Instance is not an MR image: a report, raw data, a segmentation, another modality."""

    def __init__(self, study_uid: str, series_uid: str, sop_class: str) -> None:
        self.study_uid, self.series_uid, self.sop_class = study_uid, series_uid, sop_class
        super().__init__(
            f"Study {study_uid}, Series {series_uid}: {sop_class} is not an MR image; it is left out"
        )


def read_image_header(source: Path | Dataset) -> ImageHeader:
    """Read what identification and geometry need; pixel data is not read and patient data not kept.

    Args:
        source: a Part 10 file, or a data set.

    Raises:
        NotDicomError: if the file cannot be read as DICOM.
        NotAnMrImageError: if it is another kind of object.
    """
    dataset = source if isinstance(source, Dataset) else _read_file(source)
    name = str(source) if isinstance(source, Path) else "A data set"
    try:
        return _read_dataset(dataset, name)
    # Elements are read one by one, and a damaged one makes pydicom raise nearly anything.
    except READING_ERRORS as error:
        raise NotDicomError(name, f"its header cannot be read: {reason_of(error)}") from error


def _read_dataset(dataset: Dataset, name: str) -> ImageHeader:
    sop_class = dataset.get("SOPClassUID", "")
    if not sop_class or not isinstance(sop_class, UID):
        raise NotDicomError(name, "its header names no SOP Class")
    if sop_class not in MR_IMAGE_SOP_CLASSES:
        raise NotAnMrImageError(
            str(dataset.get("StudyInstanceUID", "unknown")),
            str(dataset.get("SeriesInstanceUID", "unknown")),
            sop_class.name,
        )
    return _classic(dataset) if sop_class == MRImageStorage else _enhanced(dataset)


def _read_file(path: Path) -> Dataset:
    try:
        return read_up_to_pixels(path)
    except InflatedTooLargeError as error:
        raise NotDicomError(str(path), str(error)) from error
    except InvalidDicomError as error:
        raise NotDicomError(str(path), "not a DICOM file (Part 10)") from error
    # A damaged file makes the parser raise nearly anything; none of it concerns the other files.
    except Exception as error:
        raise NotDicomError(str(path), f"cannot be read as DICOM: {type(error).__name__}") from error


def _classic(dataset: Dataset) -> ImageHeader:
    layers = HeaderLayers.of(dataset)
    frame = _frame(layers, None)
    header = _instance(dataset, layers, (frame,))
    mosaic = read_mosaic(layers.standard[0], frame.acquisition.image_type)
    if mosaic is None:
        return header
    planes = (
        tile_planes(mosaic, frame.plane, header.rows, header.columns)
        if frame.plane
        else (None,) * mosaic.tiles
    )
    return replace(
        header,
        rows=header.rows // mosaic.tiles_down,
        columns=header.columns // mosaic.tiles_across,
        frames=tuple(replace(frame, tile=tile, plane=plane) for tile, plane in enumerate(planes)),
        mosaic_tiles_across=mosaic.tiles_across,
    )


def _enhanced(dataset: Dataset) -> ImageHeader:
    top = Layer.of(dataset)
    layered = _enhanced_layers(top)
    frames = tuple(_frame(layers, number) for number, layers in enumerate(layered, start=1))
    return _instance(dataset, HeaderLayers((top,), ()), frames)


def _enhanced_layers(top: Layer) -> Iterator[HeaderLayers]:
    """Yield for each frame the data sets that describe it.

    The Standard's own functional groups come first, the vendors' copies of classic headers last: Philips
    states another Image Position (Patient) there, which holds only if there is no other.
    """
    shared: list[Layer] = []
    shared_copies: list[Layer] = []
    for item in top.items("SharedFunctionalGroupsSequence")[:1]:
        shared, shared_copies = _groups(item)
    for item in top.items("PerFrameFunctionalGroupsSequence"):
        groups, copies = _groups(item)
        yield HeaderLayers(
            standard=(*groups, *shared, top, *copies, *shared_copies),
            private=(*copies, *groups, *shared_copies, top),
        )


_PRIVATE_COPIES = (
    (0x2005, 0x0F, "Philips MR Imaging DD 005"),
    (0x2005, 0x0E, "Philips MR Imaging DD 005"),
    (0x0021, 0xFE, "SIEMENS MR SDS 01"),
    (0x0021, 0xFE, "SIEMENS MR SDI 02"),
)
"""Private sequences in functional groups whose item repeats a classic header."""


def _groups(groups: Dataset) -> tuple[list[Layer], list[Layer]]:
    """Return the first items of the functional groups, and those of the vendor's copies."""
    items = [
        element.value[0]
        for element in groups
        if element.VR == "SQ" and element.value and not element.tag.is_private
    ]
    private = PrivateBlocks(groups)
    found = (private.item(group, offset, creator) for group, offset, creator in _PRIVATE_COPIES)
    return list(map(Layer.of, items)), [Layer.of(item) for item in found if item is not None]


def _frame(layers: HeaderLayers, number: int | None) -> FrameHeader:
    acquisition = read_acquisition(layers)
    return FrameHeader(
        number=number,
        tile=None,
        plane=_plane(layers),
        acquisition=acquisition,
        diffusion=read_diffusion(layers, acquisition.sequence_name),
        rescale_slope=layers.number("RescaleSlope") or 1.0,
        rescale_intercept=layers.number("RescaleIntercept") or 0.0,
        temporal_position=layers.integer("TemporalPositionIndex", "TemporalPositionIdentifier"),
        acquisition_number=layers.integer("FrameAcquisitionNumber", "AcquisitionNumber"),
    )


def _plane(layers: HeaderLayers) -> Plane | None:
    position = layers.numbers("ImagePositionPatient")
    orientation = layers.numbers("ImageOrientationPatient")
    spacing = layers.numbers("PixelSpacing")
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2 or min(spacing) <= 0:
        return None
    if max(map(abs, position)) > FARTHEST_MM:
        return None
    (x, y, z), (rx, ry, rz, cx, cy, cz) = position, orientation
    return Plane((x, y, z), (rx, ry, rz, cx, cy, cz), (spacing[0], spacing[1]))


def _instance(dataset: Dataset, layers: HeaderLayers, frames: Sequence[FrameHeader]) -> ImageHeader:
    return ImageHeader(
        study_uid=layers.text("StudyInstanceUID"),
        series_uid=layers.text("SeriesInstanceUID"),
        sop_instance_uid=layers.text("SOPInstanceUID"),
        sop_class_uid=str(dataset.SOPClassUID),
        frame_of_reference_uid=layers.text("FrameOfReferenceUID"),
        manufacturer=layers.text("Manufacturer"),
        series_number=layers.integer("SeriesNumber"),
        instance_number=layers.integer("InstanceNumber"),
        series_description=layers.text("SeriesDescription"),
        protocol_name=layers.text("ProtocolName"),
        rows=layers.integer("Rows") or 0,
        columns=layers.integer("Columns") or 0,
        frames=tuple(frames),
        acquired_at=_acquired_at(layers),
        unread_encoding=_unread_encoding(dataset),
    )


def _acquired_at(layers: HeaderLayers) -> datetime | None:
    """Return Acquisition DateTime or Date and Time; those of a computed image are its source's.

    Midnight sharp stands for a time that is not known.
    """
    date, time = layers.text("AcquisitionDate", "SeriesDate", "StudyDate"), layers.text("AcquisitionTime")
    stated = layers.text("AcquisitionDateTime") or f"{date}{time}"
    found = _DATE_AND_TIME.match(stated.replace(":", ""))
    if found is None or not int(found["time"]):
        return None
    try:
        return datetime.strptime(found["date"] + found["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _unread_encoding(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return unread_encoding(UID(meta.TransferSyntaxUID)) if meta and "TransferSyntaxUID" in meta else ""
