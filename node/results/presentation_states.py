"""Outlines and lesion numbers over the source images, as Grayscale Softcopy Presentation State.

The sources are grey images, so the grayscale kind fits: the colour kind is for images that are coloured
themselves. Outlines lie on the borders of the mask's pixels, in the images' own pixel coordinates. Only
images with a lesion are referred to; a segment without any has a sentence on the middle slice.

Source: PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD), C.10.5, C.11.10; PS3.14.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import highdicom as hd
import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from numpy.typing import NDArray
from pydicom import Dataset

from engines.findings import SegmentFinding, StudyFindings
from engines.segments import Segment
from node.model import SourceVolume
from node.results.context import PRODUCT_NAME, EvaluationContext
from node.results.displayed_images import displayed_images
from node.results.equipment import LONG_STRING, stamp
from node.results.errors import EncodingFailedError
from node.results.forms import presentation_state_role
from node.results.outlines import outlines
from node.results.result_object import ResultObject
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.segmentations import SourceSeries
from node.results.texts import NOT_REVIEWED, ascii_text
from node.results.uids import result_instance_uid, result_series_uid

FIRST_SERIES_NUMBER = 9051
LAYER = "CSVD"


def presentation_states(
    findings: StudyFindings, series: SourceSeries, context: EvaluationContext
) -> Iterator[ResultObject]:
    """Return one Presentation State for each assessed segment, on the images of its own Series.

    A mosaic has none: its tiles are no images that a viewer could draw on. Nor have images whose values are
    rescaled differently: a Presentation State has one Modality LUT.

    Raises:
        EncodingFailedError: if highdicom refuses the images.
    """
    for finding in findings.findings:
        source = series.volumes[finding.series_type]
        if source.is_mosaic:
            continue
        role = presentation_state_role(finding.segment)
        planes = np.flatnonzero(finding.labels.any(axis=(1, 2))).tolist() or [len(source.frames) // 2]
        try:
            images = displayed_images(source, planes)
            if not images:
                continue
            dataset = _state(finding, source, planes, images, role, context)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            problem = f"highdicom {hd.__version__}: {type(error).__name__}: {error}"
            raise EncodingFailedError(source.study_uid, source.series_uid, role, problem) from error
        stamp(dataset, series.headers[finding.series_type], context, [finding.model])
        _set_creation(dataset)
        for area in dataset.DisplayedAreaSelectionSequence:
            # It is of tiled images, which no source is; highdicom refers to their whole matrix.
            del area.PixelOriginInterpretation
        yield ResultObject(role, dataset)


def _set_creation(dataset: Dataset) -> None:
    """Set the time of the evaluation where highdicom set that of the clock; this IOD has no Content Date."""
    dataset.PresentationCreationDate = dataset.ContentDate
    dataset.PresentationCreationTime = dataset.ContentTime
    del dataset.ContentDate, dataset.ContentTime
    dataset.ContentCreatorName = None
    dataset.BodyPartExamined = "HEAD"


def _state(
    finding: SegmentFinding,
    source: SourceVolume,
    planes: Sequence[int],
    images: dict[str, Dataset],
    role: str,
    context: EvaluationContext,
) -> Dataset:
    concept = SEGMENT_CONCEPTS[finding.segment]
    layer = GraphicLayer(LAYER, 1, finding.segment.label, CIELabColor.from_rgb(*concept.rgb))
    made = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        series_instance_uid=result_series_uid(context, role),
        series_number=FIRST_SERIES_NUMBER + list(Segment).index(finding.segment),
        sop_instance_uid=result_instance_uid(context, role),
        instance_number=1,
        manufacturer=ascii_text(context.manufacturer, LONG_STRING),
        manufacturer_model_name=PRODUCT_NAME,
        software_versions=ascii_text(context.software_version, LONG_STRING),
        device_serial_number=ascii_text(context.station_name, LONG_STRING),
        content_label=finding.segment.value,
        content_description=NOT_REVIEWED,
        graphic_layers=[layer],
        graphic_annotations=[_annotation(plane, finding, source, images, layer) for plane in planes],
        series_description=f"{finding.segment.label} ({NOT_REVIEWED})",
    )
    plain = Dataset()
    for element in made:
        plain.add(element)
    return plain


def _annotation(
    plane: int,
    finding: SegmentFinding,
    source: SourceVolume,
    images: dict[str, Dataset],
    layer: GraphicLayer,
) -> GraphicAnnotation:
    frame = source.frames[plane]
    labels = finding.labels[plane]
    return GraphicAnnotation(
        referenced_images=[images[frame.sop_instance_uid]],
        referenced_frame_number=frame.frame_number,
        graphic_layer=layer,
        graphic_objects=[
            GraphicObject(GraphicTypeValues.POLYLINE, outline, AnnotationUnitsValues.PIXEL)
            for number in np.setdiff1d(labels, [0])
            for outline in outlines(labels == number)
        ],
        text_objects=[_banner(finding), *_numbers(labels)],
    )


def _banner(finding: SegmentFinding) -> TextObject:
    found = finding.segment.label if finding.lesions else f"{finding.segment.label}: none found"
    return TextObject(
        f"{found}. {NOT_REVIEWED}", AnnotationUnitsValues.DISPLAY, bounding_box=(0.01, 0.92, 0.99, 0.99)
    )


def _numbers(labels: NDArray[np.int32]) -> Iterator[TextObject]:
    """Name each lesion by its number in the report, at its right end."""
    for number in np.setdiff1d(labels, [0]).tolist():
        rows, columns = np.nonzero(labels == number)
        place = int(columns.argmax())
        anchor = (float(columns[place]) + 2.0, float(rows[place]) + 1.0)
        yield TextObject(str(number), AnnotationUnitsValues.PIXEL, anchor_point=anchor)
