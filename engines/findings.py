"""What the segmentors found, and what was done to it: the one result that leaves ``engines``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment, SeriesType
from engines.volume import Volume


class SizeClass(StrEnum):
    """Size of a lesion by the area of its largest slice, in mm2: below 20, 20 to 150, above 150."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Lesion:
    """One connected component of a segment.

    Attributes:
        number: 1-based, the value of its voxels in ``SegmentFinding.labels``.
        voxel_count: voxels in the component.
        volume_ml: voxel count times voxel volume, ml.
        max_diameter_mm: largest distance between two points of its surface in patient space, mm.
        max_axial_diameter_mm: largest distance between two points of its outline on one axial slice, mm.
        max_area_mm2: area of its largest axial slice, mm2.
        centroid_lps_mm: centre of mass, LPS mm.
        size_class: by ``max_area_mm2``.
        within_limits: whether the axial diameter lies in the bounds of the method for this segment.
    """

    number: int
    voxel_count: int
    volume_ml: float
    max_diameter_mm: float
    max_axial_diameter_mm: float
    max_area_mm2: float
    centroid_lps_mm: tuple[float, float, float]
    size_class: SizeClass
    within_limits: bool


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model spoke: its name, version, ONNX digest and the runtime that ran it."""

    name: str
    version: str
    sha256: str
    runner: str


@dataclass(frozen=True, slots=True)
class SegmentFinding:
    """The lesions of one segment on the grid of its own Series.

    Attributes:
        segment: which lesion.
        series_type: which Series it was looked for on.
        mask: Volume of bool, after exclusion.
        probability: Volume of float32 in 0..1, before thresholding.
        labels: (slices, rows, columns) int32; 0 outside, n inside lesion number n.
        lesions: by number.
        model: who found them.
        size_limits_mm: smallest and largest axial diameter that the method allows, both included, mm; 0 and
            infinity stand for no bound.
        other_inputs: Series that the network saw beside ``series_type``.
        rule: what the model counts as a lesion; None where an earlier version kept the finding without it.
    """

    segment: Segment
    series_type: SeriesType
    mask: Volume
    probability: Volume
    labels: NDArray[np.int32]
    lesions: tuple[Lesion, ...]
    model: ModelIdentity
    size_limits_mm: tuple[float, float] | None
    other_inputs: tuple[SeriesType, ...] = ()
    rule: PostprocessingSpec | None = None

    @property
    def inputs(self) -> tuple[SeriesType, ...]:
        """Every Series that the network saw, the one that the mask lies on first."""
        return (self.series_type, *self.other_inputs)

    @property
    def volume_ml(self) -> float:
        """Total volume of all lesions, ml."""
        return sum(lesion.volume_ml for lesion in self.lesions)


@dataclass(frozen=True, slots=True)
class NotAssessed:
    """A segment that no statement can be made about, and why. Never to be read as zero lesions."""

    segment: Segment
    reason: str


@dataclass(frozen=True, slots=True)
class RegistrationRecord:
    """How one Series was brought onto another.

    Attributes:
        fixed: the Series whose patient space is the target.
        moving: the Series that moved.
        fixed_to_moving: (4, 4) rigid transform of LPS mm points of the fixed into the moving Series, as
            used; the identity if it was not applied.
        rotation_deg: angle of the rotation that was found, degrees.
        translation_mm: shift of the fixed volume's centre that was found, mm.
        applied: False if it was refused or not needed; then the scanner geometry was used.
        reason: why it was refused or not needed, or how good it is.
        refused: True if it failed or is implausible, so that the scanner geometry is in doubt.
        shares_frame: whether both lie in one Frame of Reference; the scanner relates them only then.
    """

    fixed: SeriesType
    moving: SeriesType
    fixed_to_moving: NDArray[np.float64]
    rotation_deg: float
    translation_mm: float
    applied: bool
    reason: str
    refused: bool = False
    shares_frame: bool = True


@dataclass(frozen=True, slots=True)
class ExclusionRecord:
    """One subtraction: ``removed_voxels`` of ``minuend`` that lay in ``subtrahend``.

    ``performed`` is False, with a reason, if one of the two was not assessed.
    """

    minuend: Segment
    subtrahend: Segment
    performed: bool
    removed_voxels: int
    removed_ml: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StudyFindings:
    """Everything that is known of one Study after segmentation, exclusion and measurement.

    Attributes:
        findings: one for each assessed segment, in the order of ``Segment``.
        not_assessed: the other segments, each with its reason.
        registrations: what brought the Series together.
        exclusions: what was subtracted, in the order applied.
        combined: masks (bool) on the grid of the T2-FLAIR, by segment, which nowhere overlap; empty without a
            T2-FLAIR.
        remarks: sentences a reader of the report must know.
    """

    findings: tuple[SegmentFinding, ...]
    not_assessed: tuple[NotAssessed, ...]
    registrations: tuple[RegistrationRecord, ...] = ()
    exclusions: tuple[ExclusionRecord, ...] = ()
    combined: Mapping[Segment, Volume] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def of(self, segment: Segment) -> SegmentFinding | None:
        """Return the finding of a segment, or None if it was not assessed."""
        return next((found for found in self.findings if found.segment is segment), None)
