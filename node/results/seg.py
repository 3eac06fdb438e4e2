"""Findings as DICOM Segmentation: masks placed by geometry, with references to the frames they were drawn on.

Decisions:
- BINARY, because every viewer shows it.
- Frames without a voxel of their segment are left out; a segment without any voxel keeps one empty frame, so
  that readers which look for frames of each segment find one and an empty result is still a valid object.
- Slice Thickness is the distance of the slices: a mask's voxel stands for the space up to its neighbour, and
  whoever multiplies area by thickness gets the volume that the report states.
- Planes are placed by the volume's grid alone. Order of files and of frames plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from engines.findings import ModelIdentity
from engines.segments import Segment
from engines.volume import Grid
from node.model import SourceVolume
from node.results import codes
from node.results.context import PRODUCT_NAME, EvaluationContext
from node.results.equipment import LONG_STRING, stamp
from node.results.errors import EncodingFailedError, MaskMismatchError
from node.results.references import instances_of, series_item
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.source_header import SourceHeader
from node.results.texts import NOT_REVIEWED, ascii_text
from node.results.uids import (
    derived_uid,
    dimension_organization_uid,
    result_instance_uid,
    result_series_uid,
    tracking_uid,
)

MM_TOLERANCE = 1e-3
"""How far a mask's grid may lie off its source's, mm; viewers match planes within this distance."""


@dataclass(frozen=True, slots=True)
class SegmentMask:
    """One segment to be encoded: its (slices, rows, columns) bool mask on the source's grid, its model."""

    segment: Segment
    mask: NDArray[np.bool_]
    model: ModelIdentity


@dataclass(frozen=True, slots=True)
class SegmentationPlan:
    """What one Segmentation holds.

    Attributes:
        role: distinguishes it from the other results of its evaluation.
        series_number: Series Number (0020,0011).
        description: Series Description (0008,103E), at most 64 characters.
        content_label: Content Label (0070,0080), CS.
        masks: segment number n is the n-th of them.
    """

    role: str
    series_number: int
    description: str
    content_label: str
    masks: tuple[SegmentMask, ...]


def mask_on_source(
    segment: Segment, mask: NDArray[np.bool_], grid: Grid, source: SourceVolume
) -> NDArray[np.bool_]:
    """Return the mask if it lies on the source's grid.

    Raises:
        MaskMismatchError: if shapes differ or any corner lies further off than ``MM_TOLERANCE``.
    """
    expected = source.volume.grid
    if grid.shape != expected.shape:
        problem = f"shape {grid.shape}, images {expected.shape}"
        raise MaskMismatchError(source.study_uid, source.series_uid, segment.value, problem)
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(expected.shape) - 1)
    off_mm = float(np.abs(grid.to_lps(corners) - expected.to_lps(corners)).max())
    if off_mm > MM_TOLERANCE:
        problem = f"it lies {off_mm:.4g} mm off"
        raise MaskMismatchError(source.study_uid, source.series_uid, segment.value, problem)
    return mask


def build_segmentation(
    plan: SegmentationPlan, source: SourceVolume, header: SourceHeader, context: EvaluationContext
) -> Dataset:
    """Encode masks as one Segmentation with one segment each.

    Args:
        plan: the masks; each (slices, rows, columns) on the source's grid.
        source: whose frames are referred to, whose patient space is shared.
        header: what is taken over from the source.
        context: of the evaluation.

    Raises:
        EncodingFailedError: if highdicom refuses the masks.

    Source: PS3.3 A.51 (Segmentation IOD), C.8.20.
    """
    filled = [mask.mask.any(axis=(1, 2)) for mask in plan.masks]
    planes = np.flatnonzero(np.logical_or.reduce(filled))
    is_empty = planes.size == 0
    if is_empty:
        planes = np.array([source.volume.grid.shape[0] // 2])
    try:
        dataset = _encode(plan, source, context, planes, is_empty=is_empty)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        # highdicom may quote attributes of the patient: the class and the first words of ours have to do.
        problem = f"highdicom {hd.__version__} raised {type(error).__name__}"
        raise EncodingFailedError(source.study_uid, source.series_uid, plan.role, problem) from error
    if not is_empty:
        _add_empty_frames(dataset, [number for number, any_in in enumerate(filled, 1) if not any_in.any()])
    _set_references(dataset, source, planes)
    _set_identity(dataset, plan, source, header, context)
    return dataset


def _encode(
    plan: SegmentationPlan,
    source: SourceVolume,
    context: EvaluationContext,
    planes: NDArray[np.intp],
    *,
    is_empty: bool,
) -> Dataset:
    return hd.seg.Segmentation(
        source_images=_stand_ins(source, planes),
        pixel_array=_pixels([mask.mask[planes] for mask in plan.masks]),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, mask, context) for number, mask in enumerate(plan.masks, 1)
        ],
        series_instance_uid=result_series_uid(context, plan.role),
        series_number=plan.series_number,
        sop_instance_uid=result_instance_uid(context, plan.role),
        instance_number=1,
        manufacturer=ascii_text(context.manufacturer, LONG_STRING),
        manufacturer_model_name=PRODUCT_NAME,
        software_versions=ascii_text(context.software_version, LONG_STRING),
        device_serial_number=ascii_text(context.station_name, LONG_STRING),
        content_label=plan.content_label,
        content_description=NOT_REVIEWED,
        series_description=plan.description,
        omit_empty_frames=not is_empty,
    )


def _pixels(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return (planes, rows, columns) segment numbers, or a fourth axis of segments where they overlap."""
    if len(masks) > 1 and any(
        (first & second).any() for place, first in enumerate(masks) for second in masks[:place]
    ):
        return np.stack(masks, axis=-1).astype(np.uint8)
    numbers = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, 1):
        numbers[mask] = number
    return numbers


def _description(number: int, mask: SegmentMask, context: EvaluationContext) -> SegmentDescription:
    concept = SEGMENT_CONCEPTS[mask.segment]
    description = SegmentDescription(
        segment_number=number,
        segment_label=concept.label,
        segmented_property_category=codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE,
        segmented_property_type=concept.property_type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=ascii_text(mask.model.name, LONG_STRING),
            version=ascii_text(mask.model.version, LONG_STRING),
            family=codes.ARTIFICIAL_INTELLIGENCE,
            source=ascii_text(context.manufacturer, LONG_STRING),
        ),
        tracking_uid=tracking_uid(context, mask.segment),
        tracking_id=concept.label,
        anatomic_regions=[concept.site],
        display_color=CIELabColor.from_rgb(*concept.rgb),
    )
    description.SegmentDescription = NOT_REVIEWED
    return description


def _stand_in_uid(index: int) -> str:
    return derived_uid("slice", str(index))


def _stand_ins(source: SourceVolume, planes: NDArray[np.intp]) -> list[Dataset]:
    """Return a single-frame image for each plane, with geometry and without a patient.

    The true images may be frames or tiles, and their patient's data should not reach another library's log;
    so that highdicom is given these, and the references are set right afterwards.
    """
    grid = source.volume.grid
    row_step, column_step = grid.affine[:3, 1], grid.affine[:3, 2]
    rows_mm, columns_mm = (float(np.linalg.norm(step)) for step in (row_step, column_step))
    spacing = format_number_as_ds(_normal_spacing_mm(grid))
    shared = Dataset()
    shared.StudyInstanceUID, shared.SeriesInstanceUID = source.study_uid, source.series_uid
    shared.SOPClassUID, shared.Modality = hd.UID("1.2.840.10008.5.1.4.1.1.4"), "MR"
    shared.FrameOfReferenceUID, shared.PositionReferenceIndicator = source.frame_of_reference_uid, ""
    for keyword in _ABSENT_FROM_STAND_INS:
        setattr(shared, keyword, "")
    shared.Rows, shared.Columns = grid.shape[1:]
    shared.ImageOrientationPatient = [
        format_number_as_ds(float(value)) for value in (*(column_step / columns_mm), *(row_step / rows_mm))
    ]
    shared.PixelSpacing = [format_number_as_ds(rows_mm), format_number_as_ds(columns_mm)]
    shared.SliceThickness = shared.SpacingBetweenSlices = spacing
    positions = grid.to_lps(np.stack([planes, 0 * planes, 0 * planes], axis=1))
    return [_stand_in(shared, int(plane), place) for plane, place in zip(planes, positions, strict=True)]


_ABSENT_FROM_STAND_INS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


def _stand_in(shared: Dataset, plane: int, position: NDArray[np.float64]) -> Dataset:
    image = Dataset()
    for element in shared:
        image.add(element)
    image.SOPInstanceUID = _stand_in_uid(plane)
    image.ImagePositionPatient = [format_number_as_ds(float(value) + 0.0) for value in position]
    return image


def _normal_spacing_mm(grid: Grid) -> float:
    """Return the distance of neighbouring planes along their normal, mm."""
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    return float(abs(grid.affine[:3, 0] @ normal) / np.linalg.norm(normal))


def _add_empty_frames(dataset: Dataset, numbers: Sequence[int]) -> None:
    """Append a frame without voxels, at the first plane there is, for each of these segments."""
    groups = dataset.PerFrameFunctionalGroupsSequence
    first = groups[0]
    bits = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    for number in numbers:
        group = Dataset()
        for element in first:
            group.add(element)
        content, identification = Dataset(), Dataset()
        plane = first.FrameContentSequence[0].DimensionIndexValues[1]
        content.DimensionIndexValues = [number, plane]
        identification.ReferencedSegmentNumber = number
        group.FrameContentSequence = [content]
        group.SegmentIdentificationSequence = [identification]
        groups.append(group)
    dataset.NumberOfFrames = len(groups)
    length = -(-(bits + len(numbers) * dataset.Rows * dataset.Columns) // 8)
    dataset.PixelData = dataset.PixelData[: -(-bits // 8)].ljust(length + length % 2, b"\0")


def _set_references(dataset: Dataset, source: SourceVolume, planes: NDArray[np.intp]) -> None:
    """Put the true Instances and frames where the stand-ins are referred to."""
    frames = {_stand_in_uid(int(plane)): source.frames[plane] for plane in planes}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        frame = frames.get(reference.ReferencedSOPInstanceUID)
        if frame is None:
            continue  # an item that several frames of one plane share, and that is right already
        reference.ReferencedSOPClassUID = frame.sop_class_uid
        reference.ReferencedSOPInstanceUID = frame.sop_instance_uid
        if frame.frame_number is not None:
            reference.ReferencedFrameNumber = frame.frame_number
        if source.is_mosaic:
            reference.SpatialLocationsPreserved = "NO"
    instances = instances_of(source)
    dataset.ReferencedSeriesSequence = [series_item(source.series_uid, instances)]
    dataset.SourceImageSequence = series_item(source.series_uid, instances).ReferencedInstanceSequence


def _set_identity(
    dataset: Dataset,
    plan: SegmentationPlan,
    source: SourceVolume,
    header: SourceHeader,
    context: EvaluationContext,
) -> None:
    organization = dimension_organization_uid(context, plan.role)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    dataset.PositionReferenceIndicator = header.position_reference_indicator
    for element in header.lossy:
        dataset[element.tag] = element
    unique = {mask.model: None for mask in plan.masks}
    stamp(dataset, header, context, unique)
