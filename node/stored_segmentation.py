"""Reads Segmentations, the node's own and those that a reader drew or corrected, as marked points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import SegmentationStorage

from engines.segments import Segment
from node.damaged_files import READING_ERRORS, reason_of
from node.errors import NodeError
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.sop_classes import LABEL_MAP_SEGMENTATION


class UnreadableSegmentationError(NodeError):
    """A file is a Segmentation, or may be one, and can not be read."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path.name} is no readable Segmentation: {problem}")


@dataclass(frozen=True, slots=True)
class StoredSegmentation:
    """What a Segmentation marks.

    Attributes:
        study_uid: Study Instance UID.
        written: Content Date and Time; the later of two counts.
        frame_of_reference_uid: that its points lie in.
        points_lps: (n, 3) centres of the marked voxels by segment, LPS mm; of other findings nothing.
    """

    study_uid: str
    written: str
    frame_of_reference_uid: str
    points_lps: Mapping[Segment, NDArray[np.float64]]


def read_segmentation(path: Path) -> StoredSegmentation | None:
    """Read a Segmentation in any encoding; None if the file is none.

    Raises: UnreadableSegmentationError: if it is one and can not be read.
    """
    try:
        dataset = pydicom.dcmread(path, defer_size=1024)
        if dataset.get("SOPClassUID") not in (SegmentationStorage, LABEL_MAP_SEGMENTATION):
            return None
        return StoredSegmentation(
            study_uid=str(dataset.StudyInstanceUID),
            written=f"{dataset.get('ContentDate', '')}{dataset.get('ContentTime', '')}",
            frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
            points_lps=_points_by_segment(dataset),
        )
    except InvalidDicomError:
        return None
    except READING_ERRORS as error:
        # The error may quote the patient's data: neither log nor traceback may hold it.
        raise UnreadableSegmentationError(path, reason_of(error)) from None


def _points_by_segment(dataset: Dataset) -> dict[Segment, NDArray[np.float64]]:
    """Return the points of each of the four findings that the Segmentation describes, marked or not."""
    points: dict[Segment, list[NDArray[np.float64]]] = {}
    numbers: dict[int, Segment] = {}
    for described in dataset.SegmentSequence:
        segment = _meant(described)
        if segment is not None:
            numbers[int(described.SegmentNumber)] = segment
            points.setdefault(segment, [np.empty((0, 3))])
    for number, marked in _marked(dataset):
        if number in numbers:
            points[numbers[number]].append(marked)
    return {segment: np.concatenate(parts) for segment, parts in points.items()}


def _meant(described: Dataset) -> Segment | None:
    """Return the finding that a segment's property type means."""
    kind = described.SegmentedPropertyTypeCodeSequence[0]
    for segment, concept in SEGMENT_CONCEPTS.items():
        code = concept.property_type
        if (kind.CodingSchemeDesignator, kind.CodeValue) == (code.scheme_designator, code.value):
            return segment
    return None


def _marked(dataset: Dataset) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield Segment Number and (n, 3) LPS mm for each frame and segment.

    Source: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1; C.8.20.2 for what a pixel means in each encoding.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = dataset.pixel_array.reshape(-1, rows, columns)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame, own in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if dataset.SegmentationType == "LABELMAP":
            found = [(int(number), frame == number) for number in np.unique(frame) if number]
        else:
            groups = own if "SegmentIdentificationSequence" in own else shared
            number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            found = [(number, frame > 0)]
        for number, pixels in found:
            yield number, _to_lps(np.argwhere(pixels), own, shared)


def _to_lps(indices: NDArray[np.intp], own: Dataset, shared: Dataset) -> NDArray[np.float64]:
    """Map (n, 2) rows and columns of a frame to patient space."""

    def group(name: str) -> Dataset:
        item: Dataset = (own if name in own else shared)[name][0]
        return item

    cosines = np.array(group("PlaneOrientationSequence").ImageOrientationPatient, dtype=float)
    row_mm, column_mm = (float(value) for value in group("PixelMeasuresSequence").PixelSpacing)
    position = np.array(group("PlanePositionSequence").ImagePositionPatient, dtype=float)
    points: NDArray[np.float64] = (
        position + indices[:, 1:] * column_mm * cosines[:3] + indices[:, :1] * row_mm * cosines[3:]
    )
    return points
