"""The facts about a stack that the rules of identification speak of, by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from node.geometry import extent_mm
from node.headers import Acquisition, Diffusion, ImageHeader
from node.stacks import Stack


class Quantity(StrEnum):
    """A number; those from RepetitionTime to AcquisitionMatrix are DICOM keywords, ms, degrees, mm, T.

    FluidSignal is what an inversion leaves of fluid, as a share of its full signal: about 0 in FLAIR;
    SliceOverlap is how many times thicker a slice is than the way to the next one; DoubtedBValue a b-value
    that is stated beside an echo too early for it.
    """

    REPETITION_TIME = "RepetitionTime"
    ECHO_TIME = "EchoTime"
    INVERSION_TIME = "InversionTime"
    FLIP_ANGLE = "FlipAngle"
    ECHO_TRAIN_LENGTH = "EchoTrainLength"
    ECHO_NUMBER = "EchoNumbers"
    B_VALUE = "DiffusionBValue"
    PIXEL_SPACING = "PixelSpacing"
    SLICE_THICKNESS = "SliceThickness"
    FIELD_STRENGTH = "MagneticFieldStrength"
    ACQUISITION_MATRIX = "AcquisitionMatrix"
    FLUID_SIGNAL = "FluidSignal"
    SLICE_OVERLAP = "SliceOverlap"
    DOUBTED_B_VALUE = "DoubtedBValue"
    POSITIONS = "Positions"
    REPEATS = "FramesPerPosition"
    ORIENTATIONS = "OrientationsInSeries"
    ECHOES = "EchoesInSeries"
    LONGEST_ECHO_TIME = "LongestEchoTimeInSeries"
    INVERSION_TIMES = "InversionTimesInSeries"
    VOLUMES_ALIKE = "VolumesAlikeInSeries"
    TEMPORAL_POSITIONS = "NumberOfTemporalPositions"


class Words(StrEnum):
    """A set of code strings; all but the last four are DICOM keywords."""

    IMAGE_TYPE = "ImageType"
    SCANNING_SEQUENCE = "ScanningSequence"
    SEQUENCE_VARIANT = "SequenceVariant"
    SCAN_OPTIONS = "ScanOptions"
    ACQUISITION_CONTRAST = "AcquisitionContrast"
    ACQUISITION_TYPE = "MRAcquisitionType"
    COMPONENT = "ComplexImageComponent"
    DIRECTIONALITY = "DiffusionDirectionality"
    CALCULATION_TECHNIQUE = "VolumeBasedCalculationTechnique"
    PHOTOMETRIC_INTERPRETATION = "PhotometricInterpretation"
    ANGIO_FLAG = "AngioFlag"
    MANUFACTURER = "Manufacturer"
    DERIVATION = "DerivationCodeSequence"
    BODY_PART = "BodyPartExamined"
    CONTRAST_AGENT = "ContrastAgent"
    DIFFUSION = "Diffusion"
    SERIES_COMPONENTS = "ComponentsInSeries"
    STUDY_BODY_PARTS = "BodyPartsInStudy"


UNITS: Mapping[Quantity, str] = {
    Quantity.REPETITION_TIME: " ms",
    Quantity.ECHO_TIME: " ms",
    Quantity.INVERSION_TIME: " ms",
    Quantity.LONGEST_ECHO_TIME: " ms",
    Quantity.FLIP_ANGLE: " degrees",
    Quantity.B_VALUE: " s/mm2",
    Quantity.DOUBTED_B_VALUE: " s/mm2",
    Quantity.PIXEL_SPACING: " mm",
    Quantity.SLICE_THICKNESS: " mm",
    Quantity.FIELD_STRENGTH: " T",
}

_WORD_JOINTS = re.compile(r"[_-]+")

_DIFFUSION_SEQUENCE = re.compile(r"dwi|^\*?(?:ep|re)_b\d", re.IGNORECASE)
"""Names of diffusion sequences: Philips ``DwiSE``, Siemens ``*ep_b0``."""

FLUID_T1_MS = 4300.0
"""T1 of cerebrospinal fluid, ms, at any field strength: Rooney et al., Magn Reson Med 2007, 57:308."""

SHORTEST_DIFFUSION_ECHO_MS = 25.0
"""An echo before this, ms, leaves no time for diffusion gradients: a b-value beside it was left over."""

_DIFFUSION_TYPES = frozenset(("DIFFUSION", "TRACEW", "TRACE", "ADC", "FA", "EADC"))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the other stacks of its Study tell of a stack.

    Attributes:
        after_agent: whether it was acquired after another one that states a contrast agent.
        agent_everywhere: whether all of several Series state an agent, which then tells nothing of each.
        body_parts: Body Part Examined of any of them.
    """

    after_agent: bool = False
    agent_everywhere: bool = False
    body_parts: frozenset[str] = frozenset()


ALONE = Surroundings()
"""Of a stack of whose Study nothing else is known."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a stack.

    Attributes:
        numbers: the known quantities.
        words: the known code strings; a missing key is an empty set.
        sequence_name: the pulse sequence as the vendor names it.
        text: Series Description and Protocol Name, one after the other, of GE the first alone: an operator's
            words, with blanks for underscores and hyphens.
        b_value_source: the element that the b-value was read from.
    """

    numbers: Mapping[Quantity, float]
    words: Mapping[Words, frozenset[str]]
    sequence_name: str
    text: str
    b_value_source: str = ""


def gather_facts(stack: Stack, around: Surroundings = ALONE) -> Facts:
    """Gather what the rules ask about from a stack's first frame, its Series and its Study.

    Args:
        stack: what is asked about.
        around: what the others of its Study tell of it.
    """
    header, frame = stack.header, stack.first
    diffusion = _believed(frame.diffusion, frame.acquisition)
    numbers = {**_stated_numbers(frame.acquisition, diffusion), **_counted_numbers(stack)}
    if _is_too_early(frame.acquisition):
        numbers[Quantity.DOUBTED_B_VALUE] = frame.diffusion.b_value
    return Facts(
        numbers={name: value for name, value in numbers.items() if value is not None},
        words=_words(stack, frame.acquisition, diffusion, around),
        sequence_name=frame.acquisition.sequence_name,
        text=_WORD_JOINTS.sub(" ", _text(header)),
        b_value_source=diffusion.source,
    )


def _believed(diffusion: Diffusion, acquisition: Acquisition) -> Diffusion:
    """Return the diffusion weighting, none where a sequence can have none: GE states left-over b-values."""
    sequence = acquisition.scanning_sequence
    is_gradient_echo = "GR" in sequence and "EP" not in sequence
    return Diffusion() if _is_too_early(acquisition) or is_gradient_echo else diffusion


def _is_too_early(acquisition: Acquisition) -> bool:
    echo = acquisition.echo_time_ms
    return echo is not None and echo < SHORTEST_DIFFUSION_ECHO_MS


def _text(header: ImageHeader) -> str:
    """Join what an operator wrote; Protocol Name of GE is that of the whole examination, W/WO CONTRAST."""
    if header.series_description and header.manufacturer.upper().startswith("GE"):
        return header.series_description
    return f"{header.series_description} | {header.protocol_name}"


def _stated_numbers(acquisition: Acquisition, diffusion: Diffusion) -> dict[Quantity, float | None]:
    return {
        Quantity.REPETITION_TIME: acquisition.repetition_time_ms,
        Quantity.ECHO_TIME: acquisition.echo_time_ms,
        Quantity.INVERSION_TIME: acquisition.inversion_time_ms,
        Quantity.FLIP_ANGLE: acquisition.flip_angle_deg,
        Quantity.FLUID_SIGNAL: _fluid_signal(acquisition),
        Quantity.ACQUISITION_MATRIX: acquisition.acquisition_matrix,
        Quantity.ECHO_TRAIN_LENGTH: acquisition.echo_train_length,
        Quantity.ECHO_NUMBER: acquisition.echo_number,
        Quantity.B_VALUE: diffusion.b_value,
        Quantity.SLICE_THICKNESS: acquisition.slice_thickness_mm,
        Quantity.FIELD_STRENGTH: acquisition.field_strength_t,
    }


def _counted_numbers(stack: Stack) -> dict[Quantity, float | None]:
    plane, context = stack.first.plane, stack.context
    return {
        Quantity.PIXEL_SPACING: max(plane.spacing_mm) if plane else None,
        Quantity.POSITIONS: stack.positions,
        Quantity.REPEATS: stack.repeats,
        Quantity.ORIENTATIONS: context.orientations,
        Quantity.ECHOES: len(context.echo_times_ms) or None,
        Quantity.LONGEST_ECHO_TIME: max(context.echo_times_ms, default=None),
        Quantity.INVERSION_TIMES: len(context.inversion_times_ms) or None,
        Quantity.SLICE_OVERLAP: _slice_overlap(stack),
        Quantity.VOLUMES_ALIKE: context.volumes_alike,
        Quantity.TEMPORAL_POSITIONS: max(
            context.volumes_alike, stack.first.acquisition.temporal_positions or 1
        ),
    }


def _fluid_signal(acquisition: Acquisition) -> float | None:
    """Return the signal of fluid after an inversion: about 0 for FLAIR, well above if the time is too long.

    Source: inversion recovery in the steady state, 1 - 2 exp(-TI / T1) + exp(-TR / T1).
    """
    inversion, repetition = acquisition.inversion_time_ms, acquisition.repetition_time_ms
    if inversion is None or repetition is None:
        return None
    return 1 - 2 * math.exp(-inversion / FLUID_T1_MS) + math.exp(-repetition / FLUID_T1_MS)


def _slice_overlap(stack: Stack) -> float | None:
    """Return slice thickness by the mean distance of slices; None where one of them is not known."""
    thickness = stack.first.acquisition.slice_thickness_mm
    extent = extent_mm(stack)
    if thickness is None or stack.positions < 2 or extent <= 0:
        return None
    return thickness * (stack.positions - 1) / extent


def _words(
    stack: Stack, acquisition: Acquisition, diffusion: Diffusion, around: Surroundings
) -> dict[Words, frozenset[str]]:
    words = {
        Words.IMAGE_TYPE: acquisition.image_type,
        Words.SCANNING_SEQUENCE: acquisition.scanning_sequence,
        Words.SEQUENCE_VARIANT: acquisition.sequence_variant,
        Words.SCAN_OPTIONS: acquisition.scan_options,
        Words.ACQUISITION_CONTRAST: (acquisition.acquisition_contrast,),
        Words.ACQUISITION_TYPE: (acquisition.acquisition_type,),
        Words.COMPONENT: (acquisition.component,),
        Words.DIRECTIONALITY: (diffusion.directionality or "",),
        Words.CALCULATION_TECHNIQUE: (acquisition.calculation_technique,),
        Words.PHOTOMETRIC_INTERPRETATION: (acquisition.photometric_interpretation,),
        Words.ANGIO_FLAG: (acquisition.angio_flag,),
        Words.MANUFACTURER: (stack.header.manufacturer.upper(),),
        Words.DERIVATION: acquisition.derivation_codes,
        Words.CONTRAST_AGENT: (
            "YES" if acquisition.contrast_agent else "",
            "EARLIER" if around.after_agent else "",
            "EVERYWHERE" if around.agent_everywhere else "",
        ),
        Words.BODY_PART: (acquisition.body_part,),
        Words.STUDY_BODY_PARTS: around.body_parts,
        Words.DIFFUSION: ("YES" if _is_diffusion(stack, acquisition, diffusion) else "",),
        Words.SERIES_COMPONENTS: stack.context.components,
    }
    return {name: frozenset(str(value) for value in values if value) for name, values in words.items()}


def _is_diffusion(stack: Stack, acquisition: Acquisition, diffusion: Diffusion) -> bool:
    """Tell a diffusion image; b = 0 alone does not make one, for vendors write it into any Series."""
    if (
        _DIFFUSION_TYPES.intersection(acquisition.image_type)
        or "DIFFUSION" in acquisition.acquisition_contrast
    ):
        return True
    if diffusion.b_value is None:
        return False
    if _DIFFUSION_SEQUENCE.search(acquisition.sequence_name):
        return True
    return diffusion.b_value > 0 or any(value > 0 for value in stack.context.b_values)
