"""The slices with lesions as Secondary Capture, for viewers that show neither Segmentation nor report.

Decisions:
- Single-frame Secondary Capture in RGB: of all forms of a colour picture the one that every viewer shows.
- Each picture names the patient, as a film does, unless that is forbidden; Burned In Annotation says which.
- Pixel Spacing is that of the picture, so that lengths measured on it are right.
- The first picture says in words what was found, what was not assessed and why, and all remarks.
- A segment without a lesion has one picture that says so; one that was not assessed is named on all.

Source: PS3.3 A.8.1 (Secondary Capture Image IOD), C.8.6.1, C.8.6.2, C.7.6.1, 10.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import SeriesType
from node.model import FrameReference
from node.results import codes
from node.results.context import EvaluationContext
from node.results.equipment import LONG_TEXT, stamp
from node.results.forms import key_image_role
from node.results.identity_lines import IdentityLines, burned_in_annotation, identity_lines
from node.results.macros import code_item, reference_item
from node.results.picture_slices import View, telling_slices, view_of
from node.results.picture_texts import EDGE_PX, IDENTITY_PX, WARNING, draw_identity
from node.results.picture_tiles import BLACK, GREY, WHITE, draw_tile, font
from node.results.pictures import slice_tiles, tile_scale
from node.results.result_object import ResultObject
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.segmentations import SourceSeries
from node.results.source_header import SourceHeader
from node.results.summary_image import draw_summary, sentences
from node.results.texts import NOT_REVIEWED, cut, found_on, lesion_count
from node.results.uids import result_instance_uid, result_series_uid

KEY_IMAGES_A_SEGMENT = 12
"""At most so many slices of one segment, those first that show lesions which no other shows."""

TILE_PX = (640, 600)
"""(width, height) of the slice in the picture."""

FOOTER_PX = 84
PICTURE_PX = (TILE_PX[0], IDENTITY_PX + TILE_PX[1] + FOOTER_PX)
"""(width, height) of a picture; the one in words may be higher."""

SERIES_NUMBER = 9041
_SERIES_ROLE = "key-images"


@dataclass(frozen=True, slots=True)
class _Slice:
    """One slice to be shown: which, the how-many-th of how many with lesions are shown."""

    index: int
    shown: int
    with_lesions: int


def key_images(
    findings: StudyFindings, series: SourceSeries, context: EvaluationContext
) -> Iterator[ResultObject]:
    """Draw what was found in words, then the telling slices of each segment, by ``Segment`` and slice.

    Args:
        findings: of one Study.
        series: what they lie on.
        context: of the evaluation.
    """
    absent = ", ".join(one.segment.label for one in findings.not_assessed)
    yield _in_words(findings, series, context)
    number = 1
    for finding in findings.findings:
        source, header = series.volumes[finding.series_type], series.headers[finding.series_type]
        identity = identity_lines(header.patient_and_study, context.names_patient)
        places = _slices(finding)
        tiles = slice_tiles(finding, source, [place.index for place in places])
        px_per_mm = tile_scale(source, TILE_PX)
        for place, tile in zip(places, tiles, strict=True):
            number += 1
            slice_picture = draw_tile(tile, TILE_PX, px_per_mm)
            picture = _draw(finding, place, slice_picture, identity, absent)
            dataset = _dataset(picture, number, context)
            _set_source(dataset, finding, source.frames[place.index], view_of(source.volume.grid), px_per_mm)
            dataset.BurnedInAnnotation = burned_in_annotation([header], context.names_patient)
            _set_lossy(dataset, header)
            stamp(dataset, header, context, [finding.model])
            yield ResultObject(key_image_role(number), dataset)


def _in_words(findings: StudyFindings, series: SourceSeries, context: EvaluationContext) -> ResultObject:
    """Draw the picture without a slice: it holds nothing of the source's pixels."""
    header = series.headers[next(kind for kind in SeriesType if kind in series.headers)]
    identity = identity_lines(header.patient_and_study, context.names_patient)
    dataset = _dataset(draw_summary(findings, identity, PICTURE_PX), 1, context)
    dataset.DerivationDescription = f"Findings in words. {NOT_REVIEWED}."
    dataset.ImageComments = cut("\r\n".join((f"{NOT_REVIEWED}.", *sentences(findings))), LONG_TEXT)
    dataset.PatientOrientation = None
    dataset.BurnedInAnnotation = burned_in_annotation([], context.names_patient)
    stamp(dataset, header, context, dict.fromkeys(found.model for found in findings.findings))
    return ResultObject(key_image_role(1), dataset)


def _slices(finding: SegmentFinding) -> list[_Slice]:
    chosen = telling_slices(finding.labels, KEY_IMAGES_A_SEGMENT)
    filled = int(finding.labels.any(axis=(1, 2)).sum())
    return [_Slice(index, len(chosen), filled) for index in chosen]


def _draw(
    finding: SegmentFinding, place: _Slice, shown: Image.Image, identity: IdentityLines, absent: str
) -> Image.Image:
    canvas = Image.new("RGB", PICTURE_PX, BLACK)
    canvas.paste(shown, (0, IDENTITY_PX))
    draw_identity(canvas, identity)
    _draw_footer(ImageDraw.Draw(canvas), finding, place, absent, IDENTITY_PX + TILE_PX[1])
    return canvas


def _draw_footer(
    draw: ImageDraw.ImageDraw, finding: SegmentFinding, place: _Slice, absent: str, top: int
) -> None:
    concept = SEGMENT_CONCEPTS[finding.segment]
    draw.rectangle([EDGE_PX, top + 9, EDGE_PX + 16, top + 25], concept.rgb)
    draw.text((EDGE_PX + 26, top + 8), f"{finding.segment.label}: {found_on(finding)}", WHITE, font(15))
    draw.text((EDGE_PX, top + 32), _on_this_slice(finding, place), GREY, font(13))
    draw.text((EDGE_PX, top + 48), f"Model {finding.model.name} {finding.model.version}", GREY, font(13))
    if absent:
        draw.text((EDGE_PX, top + 64), f"Not assessed: {absent}", WARNING, font(13))


def _on_this_slice(finding: SegmentFinding, place: _Slice) -> str:
    here = len(np.setdiff1d(finding.labels[place.index], [0]))
    if not here:
        return "No lesion on any slice."
    shown = "" if place.shown == place.with_lesions else f" {place.shown} of them are shown."
    with_lesions = "1 slice has" if place.with_lesions == 1 else f"{place.with_lesions} slices have"
    return f"{lesion_count(here)}, counted in 3D, on this slice. {with_lesions} lesions.{shown}"


def _dataset(picture: Image.Image, number: int, context: EvaluationContext) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = result_instance_uid(context, key_image_role(number))
    dataset.StudyInstanceUID = context.study_uid
    dataset.SeriesInstanceUID = result_series_uid(context, _SERIES_ROLE)
    dataset.Modality, dataset.ConversionType = "OT", "WSD"
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, number
    dataset.SeriesDescription = f"CSVD key images ({NOT_REVIEWED})"
    dataset.BodyPartExamined = "HEAD"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = picture.height, picture.width
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = picture.tobytes()
    return dataset


def _set_source(
    dataset: Dataset, finding: SegmentFinding, frame: FrameReference, view: View, px_per_mm: float
) -> None:
    """Set what relates the picture to the image that it shows."""
    concept = SEGMENT_CONCEPTS[finding.segment]
    reference = reference_item(frame.sop_class_uid, frame.sop_instance_uid)
    if frame.frame_number is not None:
        reference.ReferencedFrameNumber = frame.frame_number
    reference.PurposeOfReferenceCodeSequence = [code_item(codes.SOURCE_IMAGE)]
    dataset.SourceImageSequence = [reference]
    dataset.DerivationCodeSequence = [code_item(codes.SEGMENTATION)]
    dataset.DerivationDescription = f"Outlines of {concept.plural} burned in. {NOT_REVIEWED}."
    dataset.ImageComments = f"{finding.segment.label}: {found_on(finding)}. {NOT_REVIEWED}."
    _, right, _, bottom = view.letters
    dataset.PatientOrientation = [right, bottom]
    dataset.PixelSpacing = [format_number_as_ds(1 / px_per_mm)] * 2
    dataset.PixelSpacingCalibrationType = "GEOMETRY"
    dataset.PixelSpacingCalibrationDescription = "Slice scaled to the picture"


def _set_lossy(dataset: Dataset, header: SourceHeader) -> None:
    for element in header.lossy:
        dataset[element.tag] = element
