"""From the volumes of a Study to its findings: a pure function of its arguments.

The steps: leave out what is no image, register, segment, exclude, measure, combine. What goes wrong with
one Series costs only the segments that need it; each of them says why it was not assessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from engines.alignment import Alignment, align
from engines.combination import combine
from engines.coverage import coverage_remarks
from engines.errors import InputError
from engines.exclusion import EXCLUSION_ORDER, exclude
from engines.findings import (
    ExclusionRecord,
    NotAssessed,
    RegistrationRecord,
    SegmentFinding,
    StudyFindings,
)
from engines.lesions import measure
from engines.postprocessing import MM3_PER_ML, only_lesions
from engines.preprocessing import check_image
from engines.progress import MEASURING, Progress, Step
from engines.registration import RegistrationSpec
from engines.segmentation import Segmented, Segmentor, segment_all
from engines.segments import Segment, SeriesType
from engines.volume import Volume


class PipelineSettings(BaseModel):
    """What can be chosen about the pipeline.

    Attributes:
        registration: when a registration between two Series is believed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    registration: RegistrationSpec = Field(
        default=RegistrationSpec(), description="when a registration between two Series is believed"
    )


def segment_study(
    volumes: Mapping[SeriesType, Volume],
    segmentors: Mapping[Segment, Segmentor],
    settings: PipelineSettings | None = None,
    progress: Progress = lambda _: None,
    unavailable: Mapping[SeriesType, str] = MappingProxyType({}),
    frames: Mapping[SeriesType, str] = MappingProxyType({}),
) -> StudyFindings:
    """Find, exclude and measure the lesions of a Study.

    Args:
        volumes: the chosen volume of each Series that the Study has.
        segmentors: by segment; a segment without one is not assessed.
        settings: of the pipeline.
        progress: told what is done now.
        unavailable: why there is no volume of a Series, a sentence; told where one is wanted.
        frames: the Frame of Reference of each volume; those that are not named share one.

    Returns: the findings. The same arguments give the same findings.
    Raises: RunnerError: if a runtime fails, which has nothing to do with the Study.
    """
    settings = settings or PipelineSettings()
    usable, problems = _usable(volumes)
    planned, not_assessed = _plan(segmentors, usable, {**unavailable, **problems})
    alignment = align(usable, _meeting(planned, usable), settings.registration, progress, frames)
    segmented, unusable = segment_all(planned, usable, alignment, progress)
    reasons = not_assessed | unusable
    progress(Step(MEASURING, "excluding and measuring"))
    masks, exclusions = _exclude(segmented, planned, alignment)
    masks, dropped = _without_remainders(masks, exclusions, segmented, planned)
    findings = tuple(_finding(planned[one], masks[one], segmented[one]) for one in segmented)
    combined, unseen = combine(findings, usable.get(SeriesType.T2_FLAIR), alignment)
    return StudyFindings(
        findings=findings,
        not_assessed=tuple(NotAssessed(one, reasons[one]) for one in Segment if one in reasons),
        registrations=alignment.records,
        exclusions=exclusions,
        combined=combined,
        remarks=(
            *_untold(problems, reasons),
            *_remarks(findings, usable, alignment),
            *coverage_remarks(_looked_on(findings), _seen_beside(findings), usable, alignment),
            *(notice for found in segmented.values() for notice in found.notices),
            *dropped,
            *unseen,
        ),
    )


def _usable(
    volumes: Mapping[SeriesType, Volume],
) -> tuple[dict[SeriesType, Volume], dict[SeriesType, str]]:
    """Part the volumes that hold an image from those that do not, with the reason."""
    usable, problems = {}, {}
    for series_type, volume in volumes.items():
        try:
            check_image(volume)
            usable[series_type] = volume
        except InputError as exc:
            problems[series_type] = f"{series_type.label} Series: {exc}"
    return usable, problems


def _plan(
    segmentors: Mapping[Segment, Segmentor],
    usable: Mapping[SeriesType, Volume],
    absences: Mapping[SeriesType, str],
) -> tuple[dict[Segment, Segmentor], dict[Segment, str]]:
    """Decide in the order of ``Segment`` what can be looked for, and why the rest cannot.

    Args:
        segmentors: by segment.
        usable: the volumes that hold an image.
        absences: why others do not, or are not there.
    """
    planned, reasons = {}, {}
    for segment in Segment:
        segmentor = segmentors.get(segment)
        if segmentor is None:
            reasons[segment] = f"No model for {segment.label.lower()} is configured."
            continue
        optional = segmentor.manifest.optional_inputs
        missing = [one for one in segmentor.manifest.inputs if one not in usable and one not in optional]
        if missing:
            reasons[segment] = " / ".join(absences.get(one, _is_absent(one)) for one in missing)
        else:
            planned[segment] = segmentor
    return planned, reasons


def _is_absent(series_type: SeriesType) -> str:
    return f"There is no {series_type.label} Series in the Study."


def _meeting(planned: Mapping[Segment, Segmentor], usable: Mapping[SeriesType, Volume]) -> set[SeriesType]:
    """Return the Series whose voxels or masks meet those of another Series.

    On a T2-FLAIR all masks meet; otherwise only those of the exclusion, and the inputs of one network.
    """
    excluded = {segment for pair in EXCLUSION_ORDER for segment in pair}
    on_flair = SeriesType.T2_FLAIR in usable
    meeting: set[SeriesType] = set()
    for segment, segmentor in planned.items():
        inputs = [series for series in segmentor.manifest.inputs if series in usable]
        if on_flair or len(inputs) > 1:
            meeting.update(inputs)
        elif segment in excluded:
            meeting.add(inputs[0])
    return meeting


def _exclude(
    segmented: Mapping[Segment, Segmented], planned: Mapping[Segment, Segmentor], alignment: Alignment
) -> tuple[dict[Segment, Volume], tuple[ExclusionRecord, ...]]:
    """Apply the rules of exclusion to the masks, each on the grid of its own Series."""
    masks = {segment: found.mask for segment, found in segmented.items()}
    series_of = {segment: planned[segment].manifest.inputs[0] for segment in segmented}
    placed = {segment: series for segment, series in series_of.items() if alignment.is_placed(series)}
    return exclude(masks, {segment: alignment.reference_to(series) for segment, series in placed.items()})


def _without_remainders(
    masks: Mapping[Segment, Volume],
    exclusions: tuple[ExclusionRecord, ...],
    segmented: Mapping[Segment, Segmented],
    planned: Mapping[Segment, Segmentor],
) -> tuple[dict[Segment, Volume], list[str]]:
    """Drop from masks that were reduced what no longer is a lesion; return sentences on it, too.

    The edge of a mask around that of another segment is no lesion.
    """
    kept, said = dict(masks), []
    for segment in dict.fromkeys(one.minuend for one in exclusions if one.removed_voxels):
        spec = planned[segment].manifest.postprocessing
        kept[segment] = only_lesions(masks[segment], segmented[segment].probability, spec)
        voxels = np.count_nonzero(masks[segment].array) - np.count_nonzero(kept[segment].array)
        if voxels:
            volume_ml = voxels * masks[segment].grid.voxel_mm3 / MM3_PER_ML
            said.append(
                f"{segment.label}: {volume_ml:.2g} ml that the subtraction of other segments left of lesions "
                "were dropped, as they are smaller or nowhere as probable as a lesion must be"
            )
    return kept, said


def _finding(segmentor: Segmentor, mask: Volume, segmented: Segmented) -> SegmentFinding:
    manifest = segmentor.manifest
    measured = measure(mask, segmentor.limits_mm, drop=manifest.drop_outside_limits)
    return SegmentFinding(
        segment=manifest.segment,
        series_type=manifest.inputs[0],
        mask=measured.mask,
        probability=segmented.probability,
        labels=measured.labels,
        lesions=measured.lesions,
        model=segmentor.identity,
        size_limits_mm=segmentor.limits_mm,
        other_inputs=segmented.other_inputs,
        rule=manifest.postprocessing,
    )


def _looked_on(findings: tuple[SegmentFinding, ...]) -> dict[SeriesType, list[Segment]]:
    """Return the Series that masks lie on, with the segments that were looked for there."""
    segments: dict[SeriesType, list[Segment]] = {}
    for found in findings:
        segments.setdefault(found.series_type, []).append(found.segment)
    return segments


def _seen_beside(findings: tuple[SegmentFinding, ...]) -> dict[tuple[SeriesType, SeriesType], list[Segment]]:
    """Return the second Series that networks saw, each with the one that the masks lie on."""
    segments: dict[tuple[SeriesType, SeriesType], list[Segment]] = {}
    for found in findings:
        for second in found.other_inputs:
            segments.setdefault((found.series_type, second), []).append(found.segment)
    return segments


def _untold(problems: Mapping[SeriesType, str], reasons: Mapping[Segment, str]) -> list[str]:
    """Return the problems that no reason why a segment was not assessed tells already."""
    return [one for one in problems.values() if not any(one in reason for reason in reasons.values())]


def _remarks(
    findings: tuple[SegmentFinding, ...], usable: Mapping[SeriesType, Volume], alignment: Alignment
) -> list[str]:
    remarks = []
    if findings and SeriesType.T2_FLAIR not in usable:
        remarks.append(
            f"There is no usable {SeriesType.T2_FLAIR.label}, so the masks were not brought onto one grid"
        )
    remarks.extend(_askew(record) for record in alignment.records if record.refused)
    return remarks


def _askew(record: RegistrationRecord) -> str:
    moving, fixed = record.moving.label, record.fixed.label
    if record.shares_frame:
        return f"{moving} may lie askew to {fixed}, for the scanner geometry alone was used: {record.reason}"
    return (
        f"{moving} lies in another Frame of Reference than {fixed}, and where is not known: {record.reason}"
    )
