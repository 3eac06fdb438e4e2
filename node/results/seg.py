"""Findings as DICOM Segmentation: masks placed by geometry, with references to the frames they were drawn on.

Decisions:
- BINARY unless a destination wants otherwise, because every viewer shows it.
- FRACTIONAL holds the probability of each voxel of the mask and zero elsewhere: no viewer shows a lesion that
  the report does not count. LABELMAP holds one frame a plane; its segments must not overlap. Its background
  is named by Pixel Padding Value alone: viewers paint a segment "Background", which highdicom adds, over all.
- Frames without a voxel of their segment are left out; a segment without any voxel keeps one empty frame.
- Slice Thickness is the distance of the slices: a mask's voxel stands for the space up to its neighbour, and
  whoever multiplies area by thickness gets the volume that the report states.
- Planes are placed by the volume's grid alone. Order of files and of frames plays no part.
- Segment Identification stands with each frame, because some readers look for it nowhere else.
- Referenced Series Sequence names the one Series that the mask lies on. Of several, viewers take the one that
  reached them first, look for the frames there and show a mask without lesions. What else the network saw
  stands in Algorithm Parameters, as in the report.
- highdicom writes and checks all that is not said frame by frame; it is given one plane without a patient, so
  that no name can reach its log.

Source: PS3.3 A.51 (Segmentation IOD), C.8.20.
"""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    SegmentationFractionalTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from engines.findings import ModelIdentity
from engines.segments import Segment
from engines.volume import Grid
from node.model import SourceVolume
from node.results import codes
from node.results.context import PRODUCT_NAME, EvaluationContext
from node.results.equipment import LONG_STRING, stamp
from node.results.errors import EncodingFailedError, MaskMismatchError
from node.results.explicit_vr import encoded_sequence
from node.results.forms import Form
from node.results.references import instances_of, series_item
from node.results.seg_frames import (
    MAXIMUM_FRACTION,
    FramePlan,
    functional_groups,
    image_position,
    overlap,
    pack_fractions,
    pack_frames,
    pack_labels,
    plan_frames,
    plan_planes,
)
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.source_header import TYPE_2, SourceHeader
from node.results.texts import NOT_REVIEWED, ascii_text
from node.results.uids import (
    dimension_organization_uid,
    result_instance_uid,
    result_series_uid,
    tracking_uid,
)

MM_TOLERANCE = 1e-3
"""How far a mask's grid may lie off its source's, mm; viewers match planes within this distance."""

_REFERENCED_SERIES = 0x00081115

BACKGROUND = 0
"""What stands in a label map for no segment."""

_TYPES = {
    Form.BINARY: SegmentationTypeValues.BINARY,
    Form.FRACTIONAL: SegmentationTypeValues.FRACTIONAL,
    Form.LABELMAP: SegmentationTypeValues.LABELMAP,
}


@dataclass(frozen=True, slots=True)
class SegmentMask:
    """One segment to be encoded.

    Attributes:
        segment: which.
        mask: (slices, rows, columns) bool, on the source's grid.
        model: that found it.
        inputs: the Series that the model saw, in words.
        probability: of the same shape, 0..1; only a fractional Segmentation needs it.
    """

    segment: Segment
    mask: NDArray[np.bool_]
    model: ModelIdentity
    inputs: tuple[str, ...]
    probability: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class SegmentationPlan:
    """What one Segmentation holds.

    Attributes:
        role: distinguishes it from the other results of its evaluation.
        series_number: Series Number (0020,0011).
        description: Series Description (0008,103E), at most 64 characters.
        content_label: Content Label (0070,0080), CS.
        masks: segment number n is the n-th of them.
        encoding: how voxels are written.
    """

    role: str
    series_number: int
    description: str
    content_label: str
    masks: tuple[SegmentMask, ...]
    encoding: Form = Form.BINARY


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
        EncodingFailedError: if highdicom refuses what it is given, or segments of a label map overlap.
    """
    masks = [mask.mask for mask in plan.masks]
    overlaps = overlap(masks)
    is_labelmap = plan.encoding is Form.LABELMAP
    if is_labelmap and overlaps:
        raise EncodingFailedError(source.study_uid, source.series_uid, plan.role, "its segments overlap")
    frames = plan_planes(masks) if is_labelmap else plan_frames(masks)
    try:
        dataset = _skeleton(plan, _stand_in(source, frames.planes[0]), context)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        problem = f"highdicom {hd.__version__}: {type(error).__name__}: {error}"
        raise EncodingFailedError(source.study_uid, source.series_uid, plan.role, problem) from error
    dataset.SegmentsOverlap = "YES" if overlaps else "NO"
    dataset.NumberOfFrames = len(frames.frames)
    groups = functional_groups(frames, source)
    dataset[groups.tag] = groups
    dataset.PixelData = _pixels(plan, frames)
    _set_geometry(dataset, frames, source, header)
    _set_identity(dataset, plan, context)
    stamp(dataset, header, context, dict.fromkeys(mask.model for mask in plan.masks))
    return dataset


def _pixels(plan: SegmentationPlan, frames: FramePlan) -> bytes:
    masks = [mask.mask for mask in plan.masks]
    if plan.encoding is Form.LABELMAP:
        return pack_labels(masks, frames)
    if plan.encoding is Form.BINARY:
        return pack_frames(masks, frames)
    certain = [mask.mask.astype(np.float32) for mask in plan.masks]
    known = [mask.probability for mask in plan.masks]
    return pack_fractions(
        masks, [one if one is not None else sure for one, sure in zip(known, certain, strict=True)], frames
    )


def _skeleton(plan: SegmentationPlan, stand_in: Dataset, context: EvaluationContext) -> Dataset:
    """Return the Segmentation of one empty plane, as a plain data set: highdicom keeps an index of frames."""
    made = hd.seg.Segmentation(
        source_images=[stand_in],
        pixel_array=np.zeros((1, stand_in.Rows, stand_in.Columns, len(plan.masks)), dtype=np.uint8),
        segmentation_type=_TYPES[plan.encoding],
        fractional_type=SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=MAXIMUM_FRACTION,
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
        omit_empty_frames=False,
    )
    plain = Dataset()
    for element in made:
        plain.add(element)
    described = [item for item in plain.SegmentSequence if item.SegmentNumber != BACKGROUND]
    plain.SegmentSequence = described
    return plain


def _description(number: int, mask: SegmentMask, context: EvaluationContext) -> SegmentDescription:
    concept = SEGMENT_CONCEPTS[mask.segment]
    description = SegmentDescription(
        segment_number=number,
        segment_label=mask.segment.label,
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
        tracking_id=mask.segment.label,
        anatomic_regions=[concept.site],
        display_color=CIELabColor.from_rgb(*concept.rgb),
    )
    description.SegmentDescription = NOT_REVIEWED
    algorithm = description.SegmentationAlgorithmIdentificationSequence[0]
    algorithm.AlgorithmParameters = ascii_text("; ".join(mask.inputs))
    return description


def _stand_in(source: SourceVolume, plane: int) -> Dataset:
    """Return a single-frame image with the geometry of one slice and without a patient."""
    grid = source.volume.grid
    row_step, column_step = grid.affine[:3, 1], grid.affine[:3, 2]
    rows_mm, columns_mm = (float(np.linalg.norm(step)) for step in (row_step, column_step))
    cosines = (*(column_step / columns_mm), *(row_step / rows_mm))
    image = Dataset()
    for keyword in TYPE_2:
        setattr(image, keyword, "")
    image.StudyInstanceUID, image.SeriesInstanceUID = source.study_uid, source.series_uid
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, source.frames[plane].sop_instance_uid
    image.Modality = "MR"
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = source.frame_of_reference_uid, ""
    image.Rows, image.Columns = grid.shape[1:]
    image.ImageOrientationPatient = [format_number_as_ds(float(value) + 0.0) for value in cosines]
    image.ImagePositionPatient = image_position(plane, source)
    image.PixelSpacing = [format_number_as_ds(rows_mm), format_number_as_ds(columns_mm)]
    image.SliceThickness = image.SpacingBetweenSlices = format_number_as_ds(_normal_spacing_mm(grid))
    return image


def _normal_spacing_mm(grid: Grid) -> float:
    """Return the distance of neighbouring planes along their normal, mm."""
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    return float(abs(grid.affine[:3, 0] @ normal) / np.linalg.norm(normal))


def _set_geometry(dataset: Dataset, frames: FramePlan, source: SourceVolume, header: SourceHeader) -> None:
    """Set what relates the whole Segmentation to its source."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        del shared.SegmentIdentificationSequence
    if frames.is_contiguous_stack:
        dataset.DimensionOrganizationType = "3D"
    series = series_item(source.series_uid, instances_of(source))
    dataset[_REFERENCED_SERIES] = encoded_sequence(_REFERENCED_SERIES, [series])
    # The frames say which images they lie on; a list of all of them would say it once more.
    del dataset.SourceImageSequence
    dataset.PositionReferenceIndicator = header.position_reference_indicator
    for element in header.lossy:
        dataset[element.tag] = element


def _set_identity(dataset: Dataset, plan: SegmentationPlan, context: EvaluationContext) -> None:
    """Set what highdicom draws by lot or leaves out."""
    organization = dimension_organization_uid(context, plan.role)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    dataset.ContentCreatorName = None
