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
from node.results.context import PRODUCT_NAME
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.sop_classes import LABEL_MAP_SEGMENTATION


class UnreadableSegmentationError(NodeError):
    """A file is a Segmentation, or may be one, and cannot be read."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path.name} is no readable Segmentation: {problem}")


@dataclass(frozen=True, slots=True)
class StoredSegmentation:
    """What a Segmentation marks.

    Attributes:
        path: of its file.
        study_uid: Study Instance UID.
        patient_id: of the patient whom it names; empty if it names none.
        written: Content Date and Time; the later of two counts.
        frame_of_reference_uid: that its points lie in.
        series_uids: Series that it refers to; none if it does not say.
        points_lps: (n, 3) centres of the marked voxels by segment, LPS mm.
        others: label and property type of each segment that is none of the findings.
    """

    path: Path
    study_uid: str
    patient_id: str
    written: str
    frame_of_reference_uid: str
    series_uids: frozenset[str]
    points_lps: Mapping[Segment, NDArray[np.float64]]
    others: tuple[str, ...]


def read_segmentation(path: Path) -> StoredSegmentation | None:
    """Read a Segmentation in any encoding; None if the file is none.

    Raises: UnreadableSegmentationError: if it is one and cannot be read.
    """
    try:
        dataset = pydicom.dcmread(path, defer_size=1024)
        if dataset.get("SOPClassUID") not in (SegmentationStorage, LABEL_MAP_SEGMENTATION):
            return None
        meant = {int(one.SegmentNumber): _meant(one) for one in dataset.SegmentSequence}
        return StoredSegmentation(
            path=path,
            study_uid=str(dataset.StudyInstanceUID),
            patient_id=str(dataset.get("PatientID") or ""),
            written=f"{dataset.get('ContentDate', '')}{dataset.get('ContentTime', '')}",
            frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
            series_uids=frozenset(
                str(one.SeriesInstanceUID) for one in dataset.get("ReferencedSeriesSequence", ())
            ),
            points_lps=_points_by_segment(dataset, meant),
            others=tuple(
                _described(one) for one in dataset.SegmentSequence if meant[int(one.SegmentNumber)] is None
            ),
        )
    except InvalidDicomError:
        return None
    except READING_ERRORS as error:
        # The error may quote the patient's data: neither log nor traceback may hold it.
        raise UnreadableSegmentationError(path, reason_of(error)) from None


def _points_by_segment(
    dataset: Dataset, meant: Mapping[int, Segment | None]
) -> dict[Segment, NDArray[np.float64]]:
    """Return the points of each finding that the Segmentation describes, marked or not."""
    points = {segment: [np.empty((0, 3))] for segment in meant.values() if segment is not None}
    for number, marked in _marked(dataset):
        segment = meant.get(number)
        if segment is not None:
            points[segment].append(marked)
    return {segment: np.concatenate(parts) for segment, parts in points.items()}


def _meant(described: Dataset) -> Segment | None:
    """Return the finding that a segment means: by its property type, or else by its label.

    Viewers write one type, such as "Tissue", for all that is drawn in them; a person can name the label.
    """
    kind = described.SegmentedPropertyTypeCodeSequence[0]
    label = str(described.get("SegmentLabel") or "").casefold()
    named = None
    for segment, concept in SEGMENT_CONCEPTS.items():
        code = concept.property_type
        if (kind.CodingSchemeDesignator, kind.CodeValue) == (code.scheme_designator, code.value):
            return segment
        if label in (segment.value.casefold(), segment.label.casefold()):
            named = segment
    return named


def _described(segment: Dataset) -> str:
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    return f'"{segment.get("SegmentLabel", "")}" ({kind.CodingSchemeDesignator}:{kind.CodeValue})'


def _marked(dataset: Dataset) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield Segment Number and (n, 3) LPS mm for each frame and segment.

    Of fractions half and more is marked. Those of this node are 0 outside the mask: all above is marked.

    Source: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1; C.8.20.2 for what a pixel means in each encoding.
    """
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    frames = dataset.pixel_array.reshape(-1, rows, columns)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    least = 1.0
    if dataset.SegmentationType == "FRACTIONAL" and dataset.get("ManufacturerModelName") != PRODUCT_NAME:
        least = float(dataset.MaximumFractionalValue) / 2
    for frame, own in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if dataset.SegmentationType == "LABELMAP":
            found = [(int(number), frame == number) for number in np.unique(frame) if number]
        else:
            groups = own if "SegmentIdentificationSequence" in own else shared
            number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            found = [(number, frame >= least)]
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
