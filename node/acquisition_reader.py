"""How a frame was acquired, from the attributes of classic and of enhanced headers alike."""

from __future__ import annotations

import re

from node.header_layers import HeaderLayers
from node.headers import Acquisition, Component

_COMPONENT_WORDS: dict[Component, frozenset[str]] = {
    Component.PHASE: frozenset(
        ("P", "PHASE", "PHASE MAP", "P_FFE", "P_SE", "P_IR", "SW_P", "SW_P_FFE", "PHASEMAP")
    ),
    Component.REAL: frozenset(("R", "REAL", "R_FFE", "R_SE", "R_IR")),
    Component.IMAGINARY: frozenset(("I", "IMAGINARY", "I_FFE", "I_SE", "I_IR")),
}
"""Values of Image Type by vendor that mean another component than the magnitude."""

_GE_COMPONENTS = (Component.MAGNITUDE, Component.PHASE, Component.REAL, Component.IMAGINARY)
"""(0043,xx2F) of GE: 0 to 3."""

_GE_MAPS = {18: "FA"}
"""(0043,xx30) of GE where the image is a map whose Image Type says no more than PROCESSED."""

_NO_AGENT = re.compile(
    r"$|(no|not|non(?![ -]?ion)|none|nil|null|without|w/?o|ohne|nicht|kein\w*|sans|aucun\w*|senza|nessun\w*"
    r"|sin|ningun\w*|sem|nenhum\w*|bez|brak|zonder|geen|ingen|ut[ae]n|uden|yok|nativ\w*|unknown|false|n/?a?)\b"
    r"|[-0.]+ ?(ml|cc)?$",
    re.IGNORECASE,
)
"""Contrast/Bolus Agent that means none: GE writes NONE, an operator whatever the language has for it."""

_AFTER_AGENT = "POST_CONTRAST"
"""The third value of Image Type that means so in enhanced objects: PS3.3 C.8.16.1.3."""

_EPI_NAME = re.compile(r"epi|^\*?ep[_0-9]|epfid|epse|^\*?(ep|re)_b|dwise|dwiepi", re.IGNORECASE)
_GRADIENT_ECHO_EPI_NAME = re.compile(r"epfid|feepi|ffe-?epi", re.IGNORECASE)
_SPIN_ECHO_EPI_NAME = re.compile(r"epse|dwise|^\*?(ep|re)_b|seepi", re.IGNORECASE)
"""Names of pulse sequences: Siemens ``*epfid2d1_64`` and ``epse2d1_72``, Philips ``FEEPI`` and ``DwiSE``."""


_SIEMENS_SLICES = re.compile(rb"sSliceArray\.lSize\s*=\s*(0x[0-9a-fA-F]+|\d+)")
"""The number of slices in Siemens' protocol, decimal or hexadecimal; of a 3D acquisition it counts slabs."""


def read_acquisition(layers: HeaderLayers) -> Acquisition:
    """Read how a frame was acquired; what is not stated stays empty."""
    image_type = _image_type(layers)
    name = _sequence_name(layers)
    scan_options = _scan_options(layers)
    return Acquisition(
        repetition_time_ms=layers.positive("RepetitionTime"),
        echo_time_ms=layers.positive("EffectiveEchoTime", "EchoTime"),
        inversion_time_ms=layers.positive("InversionTimes", "InversionTime"),
        acquisition_matrix=_acquisition_matrix(layers),
        flip_angle_deg=layers.positive("FlipAngle"),
        echo_train_length=_echo_train_length(layers),
        echo_number=layers.integer("EchoNumbers"),
        field_strength_t=_field_strength(layers),
        slice_thickness_mm=layers.positive("SliceThickness"),
        spacing_between_slices_mm=layers.positive("SpacingBetweenSlices"),
        image_type=image_type,
        scanning_sequence=_scanning_sequence(layers, name, scan_options),
        sequence_variant=_sequence_variant(layers),
        scan_options=scan_options,
        acquisition_contrast=layers.text("AcquisitionContrast").upper(),
        acquisition_type=layers.text("MRAcquisitionType").upper(),
        sequence_name=name,
        angio_flag=_angio_flag(layers),
        body_part=layers.text("BodyPartExamined").upper(),
        contrast_agent=_contrast_agent(layers, image_type),
        calculation_technique=layers.text("VolumeBasedCalculationTechnique").upper(),
        photometric_interpretation=layers.text("PhotometricInterpretation").upper(),
        component=_component(layers, image_type),
        derivation_codes=_derivation_codes(layers),
        temporal_positions=layers.integer("NumberOfTemporalPositions"),
        stated_slices=_stated_slices(layers),
    )


def _stated_slices(layers: HeaderLayers) -> int | None:
    """Return how many slices Philips (Number of Slices MR), GE (Locations in Acquisition) or Siemens counts.

    Images in Acquisition (0020,1002) is not asked: real Series of twenty slices state 1.
    """
    for layer in layers.private:
        counted = layer.private.numbers(
            0x2001, 0x18, "Philips Imaging DD 001", "SL"
        ) or layer.private.numbers(0x0021, 0x4F, "GEMS_RELA_01", "SS")
        if counted and counted[0] > 0:
            return int(counted[0])
        protocol = layer.private.element(0x0029, 0x20, "SIEMENS CSA HEADER")
        if protocol is None or not isinstance(protocol.value, bytes):
            continue
        found = _SIEMENS_SLICES.search(protocol.value)
        if found and layers.text("MRAcquisitionType").upper() == "2D":
            return int(found[1], 0)
    return None


def _image_type(layers: HeaderLayers) -> tuple[str, ...]:
    """Return Frame Type or Image Type and, after it, what only the vendor's own copies add."""
    words = list(layers.words("FrameType", "ImageType"))
    copies = [layer.words("ImageType") for layer in layers.standard]
    copies += [layer.private.texts(0x0021, 0x75, "SIEMENS MR SDI 02") for layer in layers.private]
    # The first two values (ORIGINAL or DERIVED, PRIMARY or SECONDARY) are the frame's own matter.
    added = [word.upper() for copy in copies for word in copy[2:]]
    kinds = [layer.private.numbers(0x0043, 0x30, "GEMS_PARM_01", "SS") for layer in layers.private]
    added += [_GE_MAPS[int(kind[0])] for kind in kinds if kind and int(kind[0]) in _GE_MAPS]
    return tuple(dict.fromkeys([*words, *added]))


def _sequence_name(layers: HeaderLayers) -> str:
    stated = layers.text("PulseSequenceName", "SequenceName")
    if stated:
        return stated
    for layer in layers.private:
        private = layer.private.texts(0x2001, 0x20, "Philips Imaging DD 001") or layer.private.texts(
            0x0019, 0x9C, "GEMS_ACQU_01"
        )
        if private:
            return private[0]
    return ""


def _echo_train_length(layers: HeaderLayers) -> float | None:
    """Return Echo Train Length, or in enhanced objects the longer of the two kinds of train."""
    trains = [layers.number("RFEchoTrainLength"), layers.number("GradientEchoTrainLength")]
    known = [length for length in trains if length]
    return max(known) if known else layers.positive("EchoTrainLength")


def _acquisition_matrix(layers: HeaderLayers) -> float | None:
    """Return the larger side of the measured matrix; enhanced objects count its encoding steps."""
    matrix = layers.numbers("AcquisitionMatrix")
    steps = ("MRAcquisitionFrequencyEncodingSteps", "MRAcquisitionPhaseEncodingStepsInPlane")
    sides = matrix if len(matrix) == 4 else tuple(layers.positive(keyword) or 0.0 for keyword in steps)
    return max(sides) or None


def _field_strength(layers: HeaderLayers) -> float | None:
    """Return tesla; older GE systems write gauss."""
    stated = layers.positive("MagneticFieldStrength")
    return stated / 10_000 if stated is not None and stated > 100 else stated


def _scanning_sequence(layers: HeaderLayers, name: str, scan_options: tuple[str, ...]) -> tuple[str, ...]:
    """Return SE, GR, IR, EP, RM as classic headers do.

    Enhanced objects say the same in attributes of their own. Philips and Siemens leave EP or the kind of echo
    out of classic headers, and only the name of the pulse sequence tells.
    """
    words = [*layers.words("ScanningSequence")]
    for layer in layers.private:
        words += layer.private.texts(0x0021, 0x5A, "SIEMENS MR SDS 01")
    echo = layers.text("EchoPulseSequence").upper()
    told = {
        "SE": echo in ("SPIN", "BOTH") or bool(_SPIN_ECHO_EPI_NAME.search(name)),
        "GR": echo in ("GRADIENT", "BOTH") or bool(_GRADIENT_ECHO_EPI_NAME.search(name)),
        "IR": layers.text("InversionRecovery").upper() == "YES",
        "EP": layers.text("EchoPlanarPulseSequence").upper() == "YES"
        or "EPI_GEMS" in scan_options
        or bool(_EPI_NAME.search(name)),
    }
    return tuple(dict.fromkeys([*words, *(word for word, holds in told.items() if holds)]))


_VARIANTS = {
    "Spoiling": ("SP", ("RF", "GRADIENT", "RF_AND_GRADIENT")),
    "MagnetizationTransfer": ("MTC", ("ON_RESONANCE", "OFF_RESONANCE")),
}
"""Attributes of enhanced objects, the Sequence Variant that they stand for, and the values that mean it."""


def _sequence_variant(layers: HeaderLayers) -> tuple[str, ...]:
    words = [*layers.words("SequenceVariant")]
    for layer in layers.private:
        words += layer.private.texts(0x0021, 0x5B, "SIEMENS MR SDS 01")
    words += [word for keyword, (word, values) in _VARIANTS.items() if layers.text(keyword).upper() in values]
    return tuple(dict.fromkeys(words))


def _scan_options(layers: HeaderLayers) -> tuple[str, ...]:
    """Return Scan Options, with the flow compensation that enhanced objects state by itself."""
    words = layers.words("ScanOptions")
    compensated = layers.text("FlowCompensation").upper() in ("ACCELERATION", "VELOCITY", "OTHER")
    return tuple(dict.fromkeys([*words, *(["FC"] if compensated else [])]))


def _angio_flag(layers: HeaderLayers) -> str:
    """Return Angio Flag, for which enhanced objects have time of flight and phase contrast."""
    shown = any(layers.text(name).upper() == "YES" for name in ("TimeOfFlightContrast", "PhaseContrast"))
    return "Y" if shown else layers.text("AngioFlag").upper()


def _component(layers: HeaderLayers, image_type: tuple[str, ...]) -> Component:
    stated = layers.text("ComplexImageComponent").upper()
    if stated in Component.__members__:
        return Component(stated)
    for component, words in _COMPONENT_WORDS.items():
        if words.intersection(image_type[2:]):
            return component
    for layer in layers.private:
        code = layer.private.numbers(0x0043, 0x2F, "GEMS_PARM_01", "SS")
        if code and 0 <= code[0] < len(_GE_COMPONENTS):
            return _GE_COMPONENTS[int(code[0])]
    return Component.MAGNITUDE


def _derivation_codes(layers: HeaderLayers) -> tuple[str, ...]:
    items = [item for layer in layers.standard for item in layer.items("DerivationCodeSequence")]
    return tuple(dict.fromkeys(str(item.get("CodeValue", "")) for item in items))


def _contrast_agent(layers: HeaderLayers, image_type: tuple[str, ...]) -> str:
    """Return the agent's name, or the element that tells of an agent without naming it."""
    agent = layers.text("ContrastBolusAgent")
    if not _NO_AGENT.match(agent):
        return agent
    for keyword in ("ContrastBolusVolume", "ContrastBolusTotalDose"):
        if layers.positive(keyword):
            return keyword
    for keyword in ("ContrastBolusIngredient", "ContrastBolusRoute"):
        if not _NO_AGENT.match(layers.text(keyword)):
            return keyword
    for keyword in ("ContrastBolusAgentSequence", "ContrastBolusUsageSequence"):
        if any(layer.items(keyword) for layer in layers.standard):
            return keyword
    return _AFTER_AGENT if _AFTER_AGENT in image_type else ""
