"""What Series of the vendors are taken for that resemble one of the wanted types, and the wanted ones beside.

No Series Description speaks unless the case is about it: a hospital may blank them. Each block names where
its facts come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from engines.segments import SeriesType
from node.header_reader import read_image_header
from node.headers import ImageHeader
from node.identification import Identification, identify
from node.identification_rules import DEFAULT_RULES
from node.inventory import select_series
from node.stacks import split_stacks
from tests.support.mr_headers import (
    AXIAL,
    add_private,
    enhanced_dataset,
    item,
    mr_dataset,
    one_stack,
    sequence,
)

FLAIR, T1, DWI, T2_STAR = (SeriesType.T2_FLAIR, SeriesType.T1, SeriesType.DWI_B1000, SeriesType.T2_STAR)

# fmt: off
GRE_3D = {"ScanningSequence": "GR", "SequenceVariant": ["SP"], "MRAcquisitionType": "3D"}
T1_GRE_3D = {**GRE_3D, "RepetitionTime": 20, "EchoTime": 4.6, "FlipAngle": 25}
TOF = {**GRE_3D, "RepetitionTime": 23, "EchoTime": 3.4, "FlipAngle": 18}
SWAN = {**GRE_3D, "RepetitionTime": 41, "EchoTime": 24, "FlipAngle": 15}
MPRAGE = {**GRE_3D, "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP", "MP"],
          "RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900, "FlipAngle": 9}
T2_STAR_GRE = {"ScanningSequence": "GR", "RepetitionTime": 650, "EchoTime": 20, "FlipAngle": 20}
T1_SE = {"ScanningSequence": "SE", "RepetitionTime": 550, "EchoTime": 9, "FlipAngle": 90}
IR_TSE = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
EPI = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": 6300, "EchoTime": 80, "FlipAngle": 90}
PROCESSED = ["DERIVED", "SECONDARY", "PROCESSED"]
COMPUTED = ["DERIVED", "SECONDARY"]
# fmt: on


def ge_diffusion(b_value: int, kind: int | None = None) -> tuple[Any, ...]:
    """Return GE's private b-value, biased by 1e9, and the kind of diffusion image (0043,1030)."""
    elements: dict[str, Any] = {"b": (0x39, "IS", [1_000_000_000 + b_value, 8, 0, 0])}
    if kind is not None:
        elements["kind"] = (0x30, "SS", kind)
    return (0x0043, "GEMS_PARM_01", elements)


def series(physics: Mapping[str, Any], *private: Any, slices: int = 8, **changed: Any) -> list[ImageHeader]:
    headers = []
    for number in range(1, slices + 1):
        dataset = mr_dataset(number, **{**physics, **changed})
        for group, creator, elements in private:
            add_private(dataset, group, creator, **elements)
        headers.append(read_image_header(dataset))
    return headers


def identified(physics: Mapping[str, Any], *private: Any, **changed: Any) -> Identification:
    return identify(one_stack(series(physics, *private, **changed)), DEFAULT_RULES)


# fmt: off
RESEMBLING_T1 = [
    # Siemens AAHead_Scout and contrast-enhanced angiograms: 3D FLASH of the shortest echo.
    ("3D scout", "fast gradient echo of a localizer or an angiogram", T1_GRE_3D,
     {"RepetitionTime": 3.15, "EchoTime": 1.37, "FlipAngle": 8}),
    # GE ASSET calibration: 2D GRE of large flip angle and a small matrix, shown on 256 x 256.
    ("coil calibration", "calibration scan", {"ScanningSequence": "GR", "RepetitionTime": 150},
     {"EchoTime": 2.1, "FlipAngle": 50, "AcquisitionMatrix": [0, 64, 64, 0]}),
    ("coil calibration by text", "calibration scan", {"ScanningSequence": "GR", "RepetitionTime": 150},
     {"EchoTime": 2.1, "FlipAngle": 50, "SeriesDescription": "ASSET calibration"}),
    # PS3.3 C.8.3.1.1 Scan Options FC, Sequence Variant MTC; GE conformance statement: FC_SLICE_AX_GEMS.
    ("time of flight of GE", "MR angiogram", TOF, {"ScanOptions": ["FC_SLICE_AX_GEMS", "FC_FREQ_AX_GEMS"]}),
    ("time of flight, flow compensated", "MR angiogram", TOF, {"ScanOptions": "FC"}),
    ("time of flight with MTC", "gradient echo with magnetisation transfer or angiogram", TOF,
     {"SequenceVariant": ["SP", "MTC"]}),
    ("time of flight of an enhanced object", "MR angiogram", TOF,
     {"ImageType": ["ORIGINAL", "PRIMARY", "TOF", "NONE"]}),
    ("first echo of a venogram", "gradient echo, neither T1 nor T2*", SWAN, {"EchoTime": 7.2}),
    # dcm2niix, console/nii_dicom_batch.cpp: fl3d1r_t and fl3d1r_tm are angiograms.
    ("time of flight of Siemens by name", "MR angiogram", TOF, {"SequenceName": "*fl3d1r_t70"}),
    ("time of flight by its flag", "MR angiogram", TOF, {"AngioFlag": "Y"}),
    ("phase contrast of Philips", "MR angiogram", TOF,
     {"ImageType": ["ORIGINAL", "PRIMARY", "M_PCA", "M", "PCA"]}),
    # dcm2niix docs/PARSER_GOTCHAS.md, issue 1022: W, F, IP, OP or FAT in the Image Type of Dixon images.
    ("fat of Philips Dixon", "fat or opposed-phase image of Dixon", T1_SE,
     {"ImageType": ["ORIGINAL", "PRIMARY", "F", "F", "SE"]}),
    ("fat of Siemens Dixon", "fat or opposed-phase image of Dixon", T1_SE,
     {"ImageType": ["ORIGINAL", "PRIMARY", "DIXON", "FAT"]}),
    # dcm2niix issue 675, bids-specification 1890: INV1, INV2 and UNI of MP2RAGE, a repetition time of 5 s.
    ("INV1 of MP2RAGE", "one inversion of MP2RAGE", MPRAGE, {"RepetitionTime": 4000, "InversionTime": 700}),
    ("INV1 by text", "one inversion of MP2RAGE", MPRAGE, {"SeriesDescription": "anat_MP2RAGE_INV1"}),
    # FGATIR, Sudhyadhom et al., NeuroImage 2009;47:T44: TR 3000, TI 409, TE 4.39.
    ("white matter nulled", "MPRAGE that nulls white matter", MPRAGE,
     {"RepetitionTime": 3000, "InversionTime": 409}),
    # dcm2niix Siemens/README.md: tgse is the 3D arterial spin labelling of Siemens; TI is its delay.
    ("spin labelling", "perfusion image", IR_TSE,
     {"RepetitionTime": 4000, "EchoTime": 20, "InversionTime": 1200, "SequenceName": "*tgse3d1_2700"}),
    ("balanced SSFP of Siemens by name", "balanced SSFP", T1_GRE_3D,
     {"SequenceVariant": ["SK", "SS", "SP"], "RepetitionTime": 5.4, "SequenceName": "*ci3d1rr46"}),
    ("subtraction that only its text tells", "subtraction image", T1_SE,
     {"ImageType": COMPUTED, "SeriesDescription": "T1 SUB"}),
    ("subtraction that its text misspells", "subtraction image", T1_SE,
     {"ImageType": COMPUTED, "SeriesDescription": "T1 substraction"}),
    ("3D scout of another name", "fast gradient echo of a localizer or an angiogram", T1_GRE_3D,
     {"RepetitionTime": 3.15, "EchoTime": 1.37, "FlipAngle": 8, "SeriesDescription": "AutoAlign"}),
    ("reformat of an angiogram that says no more than computed", "gradient echo, neither T1 nor T2*", TOF,
     {"ImageType": COMPUTED}),
]
RESEMBLING_OTHERS = [
    # Abidi et al., Electron Physician 2017;9:4162: DIR with TI1 3400. One inversion has 2800 at TR 11000.
    ("double inversion without text", "inversion recovery that does not null fluid", IR_TSE,
     {"RepetitionTime": 11000, "InversionTime": 3400}),
    # dcm2niix issues 690, 777: EP, RM without directions; README of Toshiba: b0 states no b-value.
    ("diffusion of GE without its private elements", "EPI of unknown echo", EPI,
     {"ScanningSequence": ["EP", "RM"], "EchoTime": 58}),
    ("diffusion of Siemens without its names", "EPI of unknown echo", EPI,
     {"ScanningSequence": "EP", "EchoTime": 58}),
    # SWAN and SWI: filtered phase and projections that only their text or thickness tells.
    ("filtered phase of SWAN", "phase or complex image", SWAN,
     {"ImageType": PROCESSED, "SeriesDescription": "FILT_PHA: Ax SWAN"}),
    ("projection by its overlapping slices", "intensity projection", SWAN, {"SliceThickness": 20}),
    ("phase of SWI by text", "phase or complex image", SWAN, {"SeriesDescription": "SWI_phase"}),
    # PS3.3 C.8.16.2.1.4, C.8.13.3.1.1: what was derived stands in the fourth value of Image Type.
    ("smallest of several", "intensity projection", SWAN,
     {"ImageType": ["DERIVED", "PRIMARY", "T2_STAR", "MINIMUM"]}),
    ("spread of several", "image calculated from others", SWAN,
     {"ImageType": ["DERIVED", "PRIMARY", "T2_STAR", "STD_DEVIATION"]}),
    ("anisotropy of an enhanced object", "diffusion tensor map", EPI,
     {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "DIFFUSION_ANISO"], "DiffusionBValue": 1000.0,
      "DiffusionDirectionality": "ISOTROPIC"}),
    ("susceptibility map", "parametric map", SWAN, {"ImageType": COMPUTED, "SeriesDescription": "QSM"}),
    # Philips: dADC, eADC; GE FuncTool: Average DC, Exponential Atten.
    ("dADC of Philips", "ADC map", EPI, {"DiffusionBValue": 1000.0, "SeriesDescription": "dADC_map"}),
    ("isotropic ADC", "ADC map", EPI,
     {"ImageType": COMPUTED, "DiffusionBValue": 1000.0, "SeriesDescription": "ADC (Iso)"}),
    ("average DC of GE", "ADC map", EPI, {"ImageType": PROCESSED, "SeriesDescription": "Average DC"}),
    # dcm2niix Canon/README.md: the direction is in Image Comments.
    ("direction of Canon", "DWI of one direction", EPI, {"ImageComments": "b=1000(0.445,0.000,0.895)"}),
]
TAKEN = [
    # T1 VIBE of Siemens and LAVA of GE are as fast as a scout; a scout calls itself no T1.
    ("VIBE", T1, "T1 3D GRE", T1_GRE_3D,
     {"RepetitionTime": 3.9, "EchoTime": 1.4, "FlipAngle": 9, "SeriesDescription": "t1_vibe_tra"}),
    ("computed T1 of a numbered subject", T1, "computed T1 image", T1_SE,
     {"ImageType": COMPUTED, "SeriesDescription": "sub-01 T1w"}),
    ("computed T1 of a subject of a site", T1, "computed T1 image", T1_SE,
     {"ImageType": COMPUTED, "SeriesDescription": "sub-HC01_T1w"}),
    ("computed T1 of less than a millimetre", T1, "computed T1 image", T1_SE,
     {"ImageType": COMPUTED, "SeriesDescription": "T1 sub-mm"}),
    # Older GE systems set the flag whatever they acquire.
    ("T2* that calls itself angiogram", T2_STAR, "T2* GRE", T2_STAR_GRE, {"AngioFlag": "Y"}),
    ("SWAN that calls itself angiogram", T2_STAR, "T2* GRE", SWAN, {"AngioFlag": "Y"}),
    # SWIp of Philips states the first of its four echoes, 7.2 ms; at 7 T one echo of that length suffices.
    ("SWIp of Philips", T2_STAR, "SWI", SWAN,
     {"EchoTime": 7.2, "ImageType": ["ORIGINAL", "PRIMARY", "SW_M_FFE", "M", "FFE"]}),
    ("SWI of an early echo is no T1", T2_STAR, "SWI", SWAN,
     {"EchoTime": 6, "ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI"]}),
    ("3D scout is no T1, 3D SPGR is", T1, "T1 3D GRE", T1_GRE_3D, {}),
    ("SWAN", T2_STAR, "T2* GRE", SWAN, {"ScanOptions": ["FC_SLICE_AX_GEMS"]}),
    ("slices interpolated to half their distance", T2_STAR, "T2* GRE", SWAN, {"SliceThickness": 10}),
    # Flow compensation and computed images leave two answers, which the text settles.
    ("flow-compensated SPGR", T1, "T1 3D GRE", T1_GRE_3D,
     {"ScanOptions": "FC_SLICE_AX_GEMS", "SeriesDescription": "Ax 3D SPGR"}),
    ("flow-compensated FFE", T1, "T1 3D GRE", T1_GRE_3D,
     {"ScanOptions": "FC", "SeriesDescription": "T1W_3D_FFE"}),
    ("flow-compensated BRAVO", T1, "T1 MPRAGE", T1_GRE_3D,
     {"ScanOptions": "FC_FREQ_AX_GEMS", "RepetitionTime": 8.2, "InversionTime": 450, "FlipAngle": 12}),
    ("FLASH of an older scanner", T1, "T1 3D GRE", T1_GRE_3D,
     {"RepetitionTime": 22, "EchoTime": 9.2, "FlipAngle": 30, "SeriesDescription": "t1_fl3d_sag"}),
    ("SPGR that a PACS compressed", T1, "computed T1 image", T1_GRE_3D,
     {"ImageType": ["DERIVED", "PRIMARY"], "SeriesDescription": "Sag T1 SPGR"}),
    ("magnitude of a protocol named after its map", T2_STAR, "T2* GRE", SWAN,
     {"SeriesDescription": "gre_qsm_3D"}),
    ("computed trace by isotropic", DWI, "computed DWI b1000, trace by its text", EPI,
     {"ImageType": COMPUTED, "DiffusionBValue": 1000.0, "SeriesDescription": "DWI Isotropic"}),
    ("computed trace by its b-value", DWI, "computed DWI b1000, trace by its text", EPI,
     {"ImageType": COMPUTED, "DiffusionBValue": 1000.0, "SeriesDescription": "Ax DWI b1000"}),
    # dcm2niix issue 675: XA30 writes UNIFORM, its private copy UNI.
    ("UNI of XA without private elements", T1, "T1 MP2RAGE", MPRAGE,
     {"RepetitionTime": 5000, "ImageType": ["DERIVED", "PRIMARY", "T1", "UNIFORM"]}),
    ("FLAIR with IR and no inversion time", FLAIR, "T2 FLAIR without inversion time", IR_TSE,
     {"InversionTime": None}),
    # Seen in a header of GENESIS_SIGNA: RM, no inversion time, Sequence Name flair, Angio Flag Y in a FLAIR.
    ("FLAIR of old GE by its name", FLAIR, "T2 FLAIR without inversion time", IR_TSE,
     {"ScanningSequence": "RM", "InversionTime": None, "SequenceName": "flair", "AngioFlag": "Y"}),
    ("spin echo of old GE that calls itself angiogram", T1, "T1 spin echo", T1_SE,
     {"ScanningSequence": "RM", "AngioFlag": "Y"}),
    # Protocols of the vendors: the inversion time that nulls fluid follows the repetition time.
    *[(f"FLAIR {repetition}/{inversion}", FLAIR, "T2 FLAIR", IR_TSE,
       {"RepetitionTime": repetition, "InversionTime": inversion})
      for repetition, inversion in ((4800, 1650), (5000, 1800), (6000, 2200), (8000, 2250), (9000, 2500),
                                    (11000, 2800), (12000, 2850))],
]
# fmt: on


@pytest.mark.parametrize(
    ("kind", "physics", "changed"),
    [pytest.param(*row, id=name) for name, *row in RESEMBLING_T1 + RESEMBLING_OTHERS],
)
def test_series_that_resembles_a_wanted_one_is_not_taken(
    kind: str, physics: dict[str, Any], changed: dict[str, Any]
) -> None:
    found = identified(physics, **changed)
    assert (found.series_type, found.kind) == (None, kind)


@pytest.mark.parametrize(
    ("series_type", "kind", "physics", "changed"), [pytest.param(*row, id=name) for name, *row in TAKEN]
)
def test_series_is_taken(
    series_type: SeriesType, kind: str, physics: dict[str, Any], changed: dict[str, Any]
) -> None:
    found = identified(physics, **changed)
    assert (found.series_type, found.kind) == (series_type, kind)


def test_plain_t1_is_preferred_to_t1_flair() -> None:
    t1_flair = {**IR_TSE, "RepetitionTime": 2500, "EchoTime": 10, "InversionTime": 860}
    plain = series(MPRAGE, SeriesInstanceUID="1.2.3.1", SeriesNumber=1)
    selection = select_series([*plain, *series(t1_flair, SeriesInstanceUID="1.2.3.2", SeriesNumber=2)])
    assert selection.chosen[T1].header.series_number == 1


@pytest.mark.parametrize(
    ("inversion_times", "physics", "kind"),
    [
        pytest.param((170, 670, 1840, 3840), {**IR_TSE, "RepetitionTime": 4500, "EchoTime": 95},
                     "relaxometry by several inversion times", id="source images of synthetic MR"),
        pytest.param((700, 2500), {**MPRAGE, "RepetitionTime": 6.2}, "one inversion of MP2RAGE",
                     id="both inversions of Philips MP2RAGE"),
    ],
)  # fmt: skip
def test_series_of_several_inversion_times_is_none_of_the_wanted(
    inversion_times: tuple[float, ...], physics: dict[str, Any], kind: str
) -> None:
    headers = [
        header
        for place, inversion in enumerate(inversion_times)
        for header in series(physics, InversionTime=inversion, AcquisitionNumber=place)
    ]
    assert {identify(stack, DEFAULT_RULES).kind for stack in split_stacks(headers)} == {kind}


@pytest.mark.parametrize(
    ("image_type", "kind", "text", "expected"),
    [
        pytest.param(["ORIGINAL", "PRIMARY", "OTHER"], None, "", (DWI, "DWI b1000 of unknown directionality"),
                     id="original of unknown directionality"),
        pytest.param(PROCESSED, None, "", (None, "computed diffusion image"), id="computed and unnamed"),
        pytest.param(PROCESSED, None, "Trace b1000", (DWI, "computed DWI b1000, trace by its text"),
                     id="trace by text"),
        pytest.param(PROCESSED, 18, "", (None, "diffusion tensor map"), id="18 is fractional anisotropy"),
        pytest.param(PROCESSED, 19, "", (DWI, "trace DWI b1000"), id="19 is the trace"),
    ],
)  # fmt: skip
def test_diffusion_of_ge_is_told_by_its_kind(
    image_type: list[str], kind: int | None, text: str, expected: tuple[SeriesType | None, str]
) -> None:
    """(0043,1030): 14 T2, 16 direction, 18 FA, 19 trace, by dcm2niix issue 574; maps are PROCESSED."""
    found = identified(EPI, ge_diffusion(1000, kind), ImageType=image_type, SeriesDescription=text)
    assert (found.series_type, found.kind) == expected


@pytest.mark.parametrize("physics", [T1_SE, MPRAGE, {**SWAN, "EchoTime": 30}], ids=["SE", "MPRAGE", "SWAN"])
def test_b_value_left_over_in_another_sequence_of_ge_makes_no_diffusion(physics: dict[str, Any]) -> None:
    """dcm2niix issues 264, 393, 449: GE writes (0043,1039) into FSPGR and FLAIR."""
    assert identified(physics, ge_diffusion(1000)) == identified(physics)


def test_b0_that_ge_labels_with_the_b_value_of_its_shell_is_no_trace() -> None:
    """dcm2niix issue 777: before 29.1, b0 within multi-shell DTI states b > 0 and no gradient."""
    zero = {"r": (0xBB, "DS", 0), "a": (0xBC, "DS", 0), "s": (0xBD, "DS", 0)}
    found = identified(EPI, ge_diffusion(1000, 16), (0x0019, "GEMS_ACQU_01", zero))
    assert (found.series_type, found.kind) == (None, "DWI of one direction")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND"]}, id="Siemens"),
        pytest.param({"ScanningSequence": ["EP", "RM"]}, id="GE"),
        pytest.param({}, id="Toshiba"),
    ],
)
def test_diffusion_without_any_b_value_says_why_it_is_not_taken(changed: dict[str, Any]) -> None:
    """A PACS that strips private elements leaves an Image Type at best."""
    selection = select_series(series(EPI, **changed))
    assert "no element states its b-value" in selection.unavailable[DWI]


AGENTS = [
    "No contrast given",
    "None given",
    "ohne KM",
    "nil",
    "KEIN",
    "NON",
    "sans injection",
    "w/o",
    "N/A",
    "-",
    "0",
    "0 ml",
    "not given",
    "nicht gegeben",
    "aucun",
    "ninguno",
    "yok",
]


@pytest.mark.parametrize("agent", AGENTS)
def test_agent_that_means_none_is_none(agent: str) -> None:
    assert identified(T1_SE, ContrastBolusAgent=agent).series_type is T1


@pytest.mark.parametrize(
    "agent", ["Gadobutrol", "Dotarem 10 ml", "Novist", "Sinerem", "0.1 mmol/kg", "Non-ionic Gd"]
)
def test_agent_that_begins_like_none_is_one(agent: str) -> None:
    assert identified(T1_SE, ContrastBolusAgent=agent).kind == "contrast-enhanced T1"


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("T1 SE AX INJECTE", True), ("t1 tra MDC", True), ("T1Gd", True), ("T1 con contraste", True),
        ("T1 +", True), ("t1_mprage_KM", True), ("T1 w/ contrast", True), ("T1 na contrast", True),
        ("T1 sin contraste", False), ("T1 nativ vor KM", False), ("T1 sans inj", False),
        ("HEAD INJURY T1", False), ("T1 SANS PDC", False), ("T1 AVANT INJECTION", False),
        ("avant l'injection T1", False),
        ("T1 PRÉ CONTRASTE", False), ("T1 antes do contraste", False), ("T1 prima del mdc", False),
        ("T1 uten kontrast", False), ("T1 före kontrast", False), ("T1 KONTRASTSIZ", False),
        ("T1 PRZED KONTRASTEM", False), ("T1 zonder contrast", False), ("T1 prä KM", False),
        ("KM-frei T1", False),
        ("T1 non CE", False), ("T1 pre/post contrast", True), ("T1 KONTRASTLI", True),
        ("T1 depois do contraste", True),
        ("AX T1 POSTCONTRAST", True), ("T1 POSTGAD", True), ("t1_mpr_postGd", True), ("T1POST", True),
        ("T1 Gadavist", True), ("T1 nKM", True), ("T1 vKM", False), ("AX T1 W/C", True),
        ("AX T1 W/O C", False),
        ("T1 +K", True), ("T1 K+", True), ("T1 ENH", True), ("T1 enhanced", True), ("T1 unenhanced", False),
        ("T1 non-enhanced", False), ("T1 PRECONTRAST", False), ("T1 POSTOP", False), ("T1 gadgetron", False),
        ("T1 с контрастом", True), ("T1 с КУ", True), ("T1 без контраста", False), ("T1 до КУ", False),
        ("T1造影後", True), ("T1 造影前", False), ("T1 非造影", False),
        ("T1增强", True), ("T1 增強", True), ("T1 增强前", False), ("T1 조영", True), ("T1 조영 전", False),
        ("T1 NCE", False), ("t1_se_tra_nce", False), ("T1 not enhanced", False), ("T1 edge-enhanced", False),
        ("T1 非增强", False), ("T1 无造影", False), ("T1 造影剤なし", False), ("T1 造影(-)", False),
        ("平扫+增强 T1", False), ("T1 조영제 없이", False), ("T1 조영제 후", True),
        ("T1 без в/в контраста", False), ("T1 до введения контраста", False), ("T1 после контраста", True),
        ("BRAIN W/C-SPINE T1", False), ("T1 + C-SPINE", False), ("T1 +C", True), ("T1 + K-space", False),
    ],
)  # fmt: skip
def test_agent_is_told_by_texts_of_several_languages(text: str, enhanced: bool) -> None:
    assert (identified(T1_SE, SeriesDescription=text).series_type is None) is enhanced


@pytest.mark.parametrize(
    ("manufacturer", "description", "enhanced"),
    [
        ("GE MEDICAL SYSTEMS", "Ax T1", False), ("GE MEDICAL SYSTEMS", "Ax T1 +C", True),
        ("GE MEDICAL SYSTEMS", "", True), ("SIEMENS", "Ax T1", True),
    ],
)  # fmt: skip
def test_protocol_of_the_whole_examination_of_ge_says_nothing_of_a_series(
    manufacturer: str, description: str, enhanced: bool
) -> None:
    """dcm2niix issue 563: of GE, Series Description is the operator's, Protocol Name the examination's."""
    found = identified(
        T1_SE, Manufacturer=manufacturer, SeriesDescription=description, ProtocolName="BRAIN WITH CONTRAST"
    )
    assert (found.series_type is None) is enhanced


@pytest.mark.parametrize(
    ("elements", "modifiers", "kind"),
    [
        pytest.param({"TimeOfFlightContrast": "YES"}, {}, "MR angiogram", id="time of flight"),
        pytest.param({"PhaseContrast": "YES"}, {}, "MR angiogram", id="phase contrast"),
        pytest.param({"AcquisitionContrast": "TOF"}, {}, "MR angiogram", id="time of flight by contrast"),
        pytest.param({}, {"FlowCompensation": "VELOCITY"}, "MR angiogram", id="flow compensation"),
        pytest.param({}, {"MagnetizationTransfer": "OFF_RESONANCE"},
                     "gradient echo with magnetisation transfer or angiogram", id="magnetisation transfer"),
        pytest.param({"TimeOfFlightContrast": "NO", "PhaseContrast": "NO"},
                     {"FlowCompensation": "NONE", "MagnetizationTransfer": "NONE"}, "T1 3D GRE", id="T1"),
    ],
)  # fmt: skip
def test_angiogram_of_an_enhanced_object_is_no_t1(
    elements: dict[str, str], modifiers: dict[str, str], kind: str
) -> None:
    """PS3.3 C.8.13.4, C.8.13.5.5: what classic headers say by Scan Options, Sequence Variant, Angio Flag."""
    shared = item(
        PlaneOrientationSequence=sequence(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=sequence(PixelSpacing=[0.5, 0.5], SliceThickness=1.0),
        MRTimingAndRelatedParametersSequence=sequence(RepetitionTime=23.0, FlipAngle=18.0),
        MREchoSequence=sequence(EffectiveEchoTime=3.4),
        MRModifierSequence=sequence(**{"Spoiling": "RF", "InversionRecovery": "NO", **modifiers}),
    )
    frames = [
        item(PlanePositionSequence=sequence(ImagePositionPatient=[0.0, 0.0, float(z)])) for z in range(80)
    ]
    dataset = enhanced_dataset(
        shared, frames, EchoPulseSequence="GRADIENT", MRAcquisitionType="3D", **elements
    )
    assert identify(one_stack([read_image_header(dataset)]), DEFAULT_RULES).kind == kind
