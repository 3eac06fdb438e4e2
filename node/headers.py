"""What an MR image says about itself: physics and geometry of each frame, and nothing about the patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Vector3 = tuple[float, float, float]
"""A point or direction in patient space, LPS; points in mm."""


class Component(StrEnum):
    """Complex Image Component (0008,9208), also for images that do not carry the attribute."""

    MAGNITUDE = "MAGNITUDE"
    PHASE = "PHASE"
    REAL = "REAL"
    IMAGINARY = "IMAGINARY"
    MIXED = "MIXED"


class Directionality(StrEnum):
    """Diffusion Directionality (0018,9075); BMATRIX counts as DIRECTIONAL: one gradient set per frame."""

    NONE = "NONE"
    ISOTROPIC = "ISOTROPIC"
    DIRECTIONAL = "DIRECTIONAL"


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Diffusion weighting of a frame.

    Attributes:
        b_value: s/mm2; None if no element states one.
        directionality: None if no element tells.
        gradient: direction of the gradient as the vendor states it; None if not stated.
        source: the element that the b-value was read from, for the evidence.
    """

    b_value: float | None = None
    directionality: Directionality | None = None
    gradient: Vector3 | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where a frame lies.

    Attributes:
        position_mm: Image Position (Patient): centre of the first voxel, LPS mm.
        orientation: Image Orientation (Patient): row cosines, then column cosines.
        spacing_mm: Pixel Spacing: distance of rows, distance of columns, mm.
    """

    position_mm: Vector3
    orientation: tuple[float, float, float, float, float, float]
    spacing_mm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How a frame was acquired; None, an empty tuple or an empty text where nothing is stated.

    Attributes:
        image_type: values of Image Type or Frame Type, then those of the vendor's own copies of it.
        acquisition_matrix: the larger side of the matrix that was measured, before interpolation.
        scanning_sequence: SE, GR, IR, EP, RM; for enhanced objects put together from its own attributes.
        sequence_name: Sequence Name, Pulse Sequence Name, or the vendor's private name of the technique.
        spacing_between_slices_mm: from centre to centre, as stated; some write the gap instead.
        body_part: Body Part Examined.
        contrast_agent: name of the agent or of the element that tells of one; empty without.
        derivation_codes: code values of Derivation Code Sequence, CID 7203 and 7180.
        temporal_positions: Number of Temporal Positions.
        stated_slices: how many slices the volume has, by the vendor's own count.
    """

    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    acquisition_matrix: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: float | None = None
    echo_number: int | None = None
    field_strength_t: float | None = None
    slice_thickness_mm: float | None = None
    spacing_between_slices_mm: float | None = None
    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    acquisition_contrast: str = ""
    acquisition_type: str = ""
    sequence_name: str = ""
    angio_flag: str = ""
    body_part: str = ""
    contrast_agent: str = ""
    calculation_technique: str = ""
    photometric_interpretation: str = ""
    component: Component = Component.MAGNITUDE
    derivation_codes: tuple[str, ...] = ()
    temporal_positions: int | None = None
    stated_slices: int | None = None


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One image frame.

    Attributes:
        number: 1-based in a multi-frame Instance, None in a single-frame one.
        tile: 0-based place in a mosaic, None outside of mosaics.
        plane: None if position, orientation or spacing is missing.
        acquisition: how it was acquired.
        diffusion: its diffusion weighting.
        rescale_slope: factor from stored to output values.
        rescale_intercept: added after the factor.
        temporal_position: Temporal Position Identifier or Index.
        acquisition_number: Acquisition Number or Frame Acquisition Number.
    """

    number: int | None
    tile: int | None
    plane: Plane | None
    acquisition: Acquisition
    diffusion: Diffusion
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    temporal_position: int | None = None
    acquisition_number: int | None = None


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One MR image Instance with its frames; the texts are an operator's and serve as tie-break only.

    Attributes:
        rows: of one frame; of one tile for a mosaic.
        columns: of one frame; of one tile for a mosaic.
        mosaic_tiles_across: tiles in a row of a mosaic; 0 if the Instance is not a mosaic.
        acquired_at: when its acquisition began, to the second, by the scanner's clock in whatever zone (given
            as UTC); None if not stated.
        unread_encoding: name of the transfer syntax if it is not read, as it may have changed grey values.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    frame_of_reference_uid: str
    manufacturer: str
    series_number: int | None
    instance_number: int | None
    series_description: str
    protocol_name: str
    rows: int
    columns: int
    frames: tuple[FrameHeader, ...]
    mosaic_tiles_across: int = 0
    acquired_at: datetime | None = None
    unread_encoding: str = ""

    @property
    def is_multi_frame(self) -> bool:
        """Whether frames are counted within the Instance."""
        return bool(self.frames) and self.frames[0].number is not None
