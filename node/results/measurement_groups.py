"""Measurement groups of the report: one for each segment as a whole, one for each lesion.

Every group has its own Tracking Unique Identifier, because viewers merge groups that share one. Every number
has modifiers, because some viewers fail on a number without content. Every group has points: a segment can
not tell its lesions apart, a viewer can jump to a lesion's centroid.

Where the readers have no masks, a group has no region and follows the template for such groups.

Source: PS3.16 TID 1411, TID 1501, TID 4019, TID 4108.
"""

from __future__ import annotations

from collections.abc import Mapping

from engines.findings import Lesion, SegmentFinding
from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results import codes
from node.results.content_items import (
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    ContentItem,
    code,
    container,
    number,
    segment,
    text,
    uid_reference,
)
from node.results.context import EvaluationContext
from node.results.markers import lesion_marker, lesion_place, summary_marker
from node.results.references import SegmentReference, network_inputs
from node.results.segment_concepts import SEGMENT_CONCEPTS, SIZE_CODES
from node.results.texts import ascii_text, counted, lesion_line, summary
from node.results.uids import tracking_uid

VOLUMETRIC_GROUP, GROUP_WITHOUT_REGION = "1411", "1501"


def summary_group(
    finding: SegmentFinding,
    reference: SegmentReference | None,
    sources: Mapping[SeriesType, SourceVolume],
    context: EvaluationContext,
) -> ContentItem:
    """Return the group of an assessed segment: present or absent, number of lesions, total volume."""
    concept = SEGMENT_CONCEPTS[finding.segment]
    total = code(codes.DERIVATION, codes.TOTAL, HAS_CONCEPT_MOD)
    return container(
        codes.MEASUREMENT_GROUP,
        [
            *_tracking(context, finding.segment, finding.segment.label, None),
            *_what(finding.segment),
            *_algorithm(finding, sources),
            *_region(reference),
            *summary_marker(sources[finding.series_type]),
            number(codes.NUMBER_OF_LESIONS, len(finding.lesions), codes.COUNTS, [total]),
            number(codes.VOLUME, finding.volume_ml, codes.MILLILITER, [_method(), total]),
            code(concept.finding, codes.PRESENT if finding.lesions else codes.ABSENT),
            text(codes.COMMENT, summary(finding)),
        ],
        template=VOLUMETRIC_GROUP if reference else GROUP_WITHOUT_REGION,
    )


def lesion_group(
    finding: SegmentFinding,
    lesion: Lesion,
    reference: SegmentReference | None,
    sources: Mapping[SeriesType, SourceVolume],
    context: EvaluationContext,
) -> ContentItem:
    """Return the group of one lesion: volume, diameters, centroid, size class, flag."""
    name = f"{finding.segment.label} {lesion.number}"
    maximum = code(codes.DERIVATION, codes.MAXIMUM, HAS_CONCEPT_MOD)
    axial = [code(codes.MEASUREMENT_METHOD, codes.ON_ONE_AXIAL_SLICE, HAS_CONCEPT_MOD), maximum]
    within = codes.YES if lesion.within_limits else codes.NO
    source = sources[finding.series_type]
    place = lesion_place(lesion.centroid_lps_mm, source)
    return container(
        codes.MEASUREMENT_GROUP,
        [
            *_tracking(context, finding.segment, name, lesion.number),
            *_what(finding.segment),
            *_algorithm(finding, sources),
            *_region(reference),
            *lesion_marker(lesion.centroid_lps_mm, source),
            number(codes.VOLUME, lesion.volume_ml, codes.MILLILITER, [_method(), place]),
            number(codes.MAXIMUM_3D_DIAMETER, lesion.max_diameter_mm, codes.MILLIMETER, [maximum]),
            number(codes.DIAMETER, lesion.max_axial_diameter_mm, codes.MILLIMETER, axial),
            number(codes.AREA, lesion.max_area_mm2, codes.SQUARE_MILLIMETER, axial),
            code(codes.SIZE_DESCRIPTOR, SIZE_CODES[lesion.size_class]),
            *([code(codes.DIAMETER_IN_LIMITS, within)] if finding.size_limits_mm else []),
            text(codes.COMMENT, lesion_line(finding, lesion)),
        ],
        template=VOLUMETRIC_GROUP if reference else GROUP_WITHOUT_REGION,
    )


def _tracking(context: EvaluationContext, what: Segment, name: str, lesion: int | None) -> list[ContentItem]:
    return [
        text(codes.TRACKING_IDENTIFIER, name, HAS_OBS_CONTEXT),
        uid_reference(codes.TRACKING_UNIQUE_IDENTIFIER, tracking_uid(context, what, lesion), HAS_OBS_CONTEXT),
    ]


def _what(what: Segment) -> list[ContentItem]:
    concept = SEGMENT_CONCEPTS[what]
    return [
        code(codes.FINDING_CATEGORY, codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
        code(codes.FINDING, concept.finding),
        code(codes.FINDING_SITE, concept.site, HAS_CONCEPT_MOD),
    ]


def _algorithm(finding: SegmentFinding, sources: Mapping[SeriesType, SourceVolume]) -> list[ContentItem]:
    """Name the model, what counts for it and what it saw: Source Series has room for one Series only."""
    model, rule = finding.model, [finding.rule] if finding.rule else []
    seen = network_inputs(finding, sources)
    return [
        text(codes.ALGORITHM_NAME, ascii_text(model.name), HAS_CONCEPT_MOD),
        text(codes.ALGORITHM_VERSION, ascii_text(model.version), HAS_CONCEPT_MOD),
        text(codes.ALGORITHM_PARAMETERS, ascii_text(f"SHA-256 {model.sha256}"), HAS_CONCEPT_MOD),
        text(codes.ALGORITHM_PARAMETERS, ascii_text(f"run by {model.runner}"), HAS_CONCEPT_MOD),
        *(text(codes.ALGORITHM_PARAMETERS, f"a lesion: {counted(one)}", HAS_CONCEPT_MOD) for one in rule),
        *(text(codes.ALGORITHM_PARAMETERS, ascii_text(one), HAS_CONCEPT_MOD) for one in seen),
        code(codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE, HAS_CONCEPT_MOD),
    ]


def _region(reference: SegmentReference | None) -> list[ContentItem]:
    if reference is None:
        return []
    return [
        segment(
            codes.REFERENCED_SEGMENT,
            reference.sop_class_uid,
            reference.sop_instance_uid,
            reference.segment_number,
        ),
        uid_reference(codes.SOURCE_SERIES, reference.source_series_uid),
    ]


def _method() -> ContentItem:
    return code(codes.MEASUREMENT_METHOD, codes.VOXEL_SUMMATION, HAS_CONCEPT_MOD)
