"""The Segmentations of an evaluation in one encoding, and where each segment lies in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.findings import SegmentFinding, StudyFindings
from engines.resampling import resample
from engines.segments import Segment, SeriesType
from engines.volume import Grid
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.results.errors import MissingSourceError
from node.results.forms import Form, mask_role
from node.results.references import SegmentReference, network_inputs
from node.results.result_object import ResultObject
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation, mask_on_source
from node.results.source_header import SourceHeader
from node.results.texts import NOT_REVIEWED

_FIRST_SERIES_NUMBERS = {Form.BINARY: 9001, Form.FRACTIONAL: 9021, Form.LABELMAP: 9031}
"""High enough not to mix with the Series of a scanner."""

_NAMES = {Form.BINARY: "", Form.FRACTIONAL: " prob.", Form.LABELMAP: " map"}
"""What tells the encodings apart in Series Description, which has room for no more."""

_LABELS = {Form.BINARY: "", Form.FRACTIONAL: "_PROB", Form.LABELMAP: "_MAP"}
"""The same in Content Label, at most 16 characters."""

_COMBINED_LABELS = {
    Form.BINARY: "CSVD_COMBINED",
    Form.FRACTIONAL: "CSVD_ALL_PROB",
    Form.LABELMAP: "CSVD_ALL_MAP",
}


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """What results are made on: the volumes and headers of a Study, by type of Series."""

    volumes: Mapping[SeriesType, SourceVolume]
    headers: Mapping[SeriesType, SourceHeader]


def segmentation_of(
    finding: SegmentFinding, encoding: Form, series: SourceSeries, context: EvaluationContext
) -> ResultObject:
    """Encode a segment on the grid of its own Series.

    Raises:
        MissingSourceError: if that Series, or another one that the network saw, is not there.
        MaskMismatchError: if the mask does not lie on it.
    """
    inputs = _inputs(finding, series, context)
    source = series.volumes[finding.series_type]
    mask = mask_on_source(finding.segment, finding.mask.array, finding.mask.grid, source)
    plan = SegmentationPlan(
        mask_role(encoding, finding.segment),
        _FIRST_SERIES_NUMBERS[encoding] + list(Segment).index(finding.segment),
        f"{finding.segment.label}{_NAMES[encoding]} ({NOT_REVIEWED})",
        f"{finding.segment.value}{_LABELS[encoding]}",
        (SegmentMask(finding.segment, mask, finding.model, inputs, finding.probability.array),),
        encoding,
    )
    header = series.headers[finding.series_type]
    return ResultObject(plan.role, build_segmentation(plan, source, header, context), source.series_uid)


def combined_segmentation(
    findings: StudyFindings, encoding: Form, series: SourceSeries, context: EvaluationContext
) -> ResultObject:
    """Encode all segments on the grid of the T2-FLAIR.

    Raises:
        MissingSourceError: if there is no T2-FLAIR, or a Series that a network saw is not there.
        MaskMismatchError: if a mask does not lie on it.
    """
    if SeriesType.T2_FLAIR not in series.volumes:
        raise MissingSourceError(context.study_uid, "the combined mask", SeriesType.T2_FLAIR.value)
    source = series.volumes[SeriesType.T2_FLAIR]
    shown = _in_combined(findings)
    how_many = "All" if len(shown) == len(Segment) else f"{len(shown)} of {len(Segment)}"
    plan = SegmentationPlan(
        mask_role(encoding, None),
        _FIRST_SERIES_NUMBERS[encoding] + len(Segment),
        f"{how_many} on {SeriesType.T2_FLAIR.label}{_NAMES[encoding]} ({NOT_REVIEWED})",
        _COMBINED_LABELS[encoding],
        tuple(_combined_mask(found, findings, encoding, series, context) for found in shown),
        encoding,
    )
    header = series.headers[SeriesType.T2_FLAIR]
    return ResultObject(plan.role, build_segmentation(plan, source, header, context), source.series_uid)


def combined_references(findings: StudyFindings, combined: ResultObject) -> dict[Segment, SegmentReference]:
    """Say which segment number each finding has in the combined Segmentation."""
    return {found.segment: combined.segment(number) for number, found in enumerate(_in_combined(findings), 1)}


def _inputs(finding: SegmentFinding, series: SourceSeries, context: EvaluationContext) -> tuple[str, ...]:
    """Name the Series that the network saw.

    Raises: MissingSourceError: if one is not there.
    """
    for kind in finding.inputs:
        if kind not in series.volumes:
            raise MissingSourceError(context.study_uid, finding.segment.value, kind.value)
    return tuple(network_inputs(finding, series.volumes))


def _in_combined(findings: StudyFindings) -> list[SegmentFinding]:
    return [found for found in findings.findings if found.segment in findings.combined]


def _combined_mask(
    found: SegmentFinding,
    findings: StudyFindings,
    encoding: Form,
    series: SourceSeries,
    context: EvaluationContext,
) -> SegmentMask:
    mask = findings.combined[found.segment]
    checked = mask_on_source(found.segment, mask.array, mask.grid, series.volumes[SeriesType.T2_FLAIR])
    probability = _probability_on(found, findings, mask.grid) if encoding is Form.FRACTIONAL else None
    return SegmentMask(found.segment, checked, found.model, _inputs(found, series, context), probability)


def _probability_on(found: SegmentFinding, findings: StudyFindings, grid: Grid) -> NDArray[np.float32]:
    """Bring a probability onto the T2-FLAIR the way its mask was brought there: the nearest voxel's value."""
    transforms = (one.fixed_to_moving for one in findings.registrations if one.moving is found.series_type)
    return np.asarray(resample(found.probability, grid, next(transforms, None)).array, dtype=np.float32)
