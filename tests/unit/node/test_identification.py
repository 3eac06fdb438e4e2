"""What a stack is taken for, from its physics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from engines.segments import SeriesType
from node.header_reader import read_image_header
from node.identification import Identification, IdentificationRule, identify
from node.identification_rules import DEFAULT_RULES
from node.stacks import split_stacks
from tests.support.mr_headers import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    add_private,
    mr_dataset,
    mr_series,
    one_stack,
)

FLAIR, T1, DWI, T2_STAR = (
    SeriesType.T2_FLAIR,
    SeriesType.T1,
    SeriesType.DWI_B1000,
    SeriesType.T2_STAR,
)

TSE_FLAIR = {
    "ScanningSequence": ["SE", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "RepetitionTime": 9000,
    "EchoTime": 89, "InversionTime": 2500, "FlipAngle": 150, "MRAcquisitionType": "2D",
}  # fmt: skip
MPRAGE = {
    "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "MRAcquisitionType": "3D",
    "RepetitionTime": 1900, "EchoTime": 2.98, "InversionTime": 900, "FlipAngle": 9,
}  # fmt: skip
SE_T1 = {"ScanningSequence": "SE", "RepetitionTime": 550, "EchoTime": 9, "FlipAngle": 90}
GRE_T2_STAR = {
    "ScanningSequence": "GR", "SequenceVariant": ["SP"], "RepetitionTime": 800, "EchoTime": 26,
    "FlipAngle": 20, "MRAcquisitionType": "2D",
}  # fmt: skip
SWI = {
    "ScanningSequence": "GR", "SequenceVariant": "SP", "RepetitionTime": 27, "EchoTime": 20, "FlipAngle": 15,
    "MRAcquisitionType": "3D",
}  # fmt: skip
EPI_DWI = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": 6300, "EchoTime": 92, "FlipAngle": 90}
BOLD = {
    "ScanningSequence": ["EP", "GR"], "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 90,
    "PixelSpacing": [3.0, 3.0],
}  # fmt: skip
T2_TSE = {"ScanningSequence": "SE", "RepetitionTime": 5000, "EchoTime": 92, "FlipAngle": 150}


def identified(**elements: Any) -> Identification:
    return identify(one_stack(mr_series(8, **elements)), DEFAULT_RULES)


def case(
    name: str, series_type: SeriesType | None, kind: str, physics: Mapping[str, Any], **changed: Any
) -> Any:
    """Name a row of the table: expected type and kind, then the header that they follow from."""
    return pytest.param({**physics, **changed}, series_type, kind, id=name)


TABLE = [
    # FLAIR
    case("2D FLAIR", FLAIR, "T2 FLAIR", TSE_FLAIR),
    case(
        "3D FLAIR",
        FLAIR,
        "T2 FLAIR",
        TSE_FLAIR,
        EchoTime=394,
        RepetitionTime=6000,
        InversionTime=2200,
        MRAcquisitionType="3D",
    ),
    case("FLAIR of Philips: IR alone", FLAIR, "T2 FLAIR", TSE_FLAIR, ScanningSequence="IR"),
    case("FLAIR of GE: RM with TI", FLAIR, "T2 FLAIR", TSE_FLAIR, ScanningSequence="RM"),
    case(
        "FLAIR of old GE: text breaks the tie",
        FLAIR,
        "T2 FLAIR without inversion time",
        TSE_FLAIR,
        ScanningSequence="RM",
        InversionTime=None,
        SeriesDescription="AX_FLAIR",
    ),
    case(
        "the same without the text",
        None,
        "T2 TSE",
        TSE_FLAIR,
        ScanningSequence="RM",
        InversionTime=None,
        SeriesDescription="AX T2",
    ),
    case(
        "text alone makes no FLAIR",
        None,
        "proton density TSE",
        T2_TSE,
        EchoTime=40,
        SeriesDescription="FLAIR",
    ),
    case(
        "low-field FLAIR by Acquisition Contrast",
        FLAIR,
        "T2 FLAIR",
        TSE_FLAIR,
        ScanningSequence=["SE"],
        InversionTime=1400,
        EchoTime=194,
        RepetitionTime=3500,
        AcquisitionContrast="FLUID_ATTENUATED",
    ),
    case("FLAIR with b = 0 of Philips", FLAIR, "T2 FLAIR", TSE_FLAIR, DiffusionBValue=0.0),
    case(
        "FLAIR with agent", FLAIR, "T2 FLAIR after contrast agent", TSE_FLAIR, ContrastBolusAgent="Gadobutrol"
    ),
    case("FLAIR +C", FLAIR, "T2 FLAIR after contrast agent", TSE_FLAIR, SeriesDescription="Ax T2 FLAIR +C"),
    case(
        "FLAIR POST", FLAIR, "T2 FLAIR after contrast agent", TSE_FLAIR, SeriesDescription="t2_flair_tra_post"
    ),
    case("FLAIR before contrast", FLAIR, "T2 FLAIR", TSE_FLAIR, SeriesDescription="FLAIR pre contrast"),
    case("FLAIR after surgery", FLAIR, "T2 FLAIR", TSE_FLAIR, SeriesDescription="FLAIR post op"),
    case("derived FLAIR", FLAIR, "computed T2 FLAIR", TSE_FLAIR, ImageType=["DERIVED", "SECONDARY", "OTHER"]),
    case("synthetic FLAIR", FLAIR, "computed T2 FLAIR", TSE_FLAIR, SeriesDescription="SyMRI synthetic FLAIR"),
    case("STIR", None, "STIR", TSE_FLAIR, InversionTime=170),
    case(
        "double inversion recovery",
        None,
        "double inversion recovery",
        TSE_FLAIR,
        InversionTime=3000,
        SeriesDescription="t2_spc_DIR",
    ),
    # T1
    case("MPRAGE of Siemens", T1, "T1 MPRAGE", MPRAGE),
    case(
        "MPRAGE of Philips: MP without TI",
        T1,
        "T1 MPRAGE",
        MPRAGE,
        ScanningSequence="GR",
        SequenceVariant="MP",
        InversionTime=0,
        RepetitionTime=6.5,
    ),
    case(
        "BRAVO of GE",
        T1,
        "T1 MPRAGE",
        MPRAGE,
        ScanningSequence="GR",
        SequenceVariant=["SS", "SP", "SK"],
        RepetitionTime=8.9,
        FlipAngle=None,
    ),
    case("T1 spin echo", T1, "T1 spin echo", SE_T1),
    case(
        "T1 FLAIR",
        T1,
        "T1 inversion recovery TSE",
        TSE_FLAIR,
        InversionTime=860,
        RepetitionTime=2000,
        EchoTime=12,
    ),
    case(
        "T1 FLASH",
        T1,
        "T1 2D GRE",
        {},
        ScanningSequence="GR",
        RepetitionTime=300,
        EchoTime=2.46,
        FlipAngle=80,
    ),
    case(
        "T1 SPGR",
        T1,
        "T1 3D GRE",
        {},
        ScanningSequence="GR",
        RepetitionTime=20,
        EchoTime=4.6,
        FlipAngle=25,
        MRAcquisitionType="3D",
    ),
    case("derived T1", T1, "computed T1 image", MPRAGE, ImageType=["DERIVED", "PRIMARY", "M", "NORM"]),
    case("MP2RAGE", T1, "T1 MP2RAGE", MPRAGE, ImageType=["ORIGINAL", "PRIMARY", "M", "UNI"]),
    case("MP2RAGE INV2", None, "gradient echo of late inversion", MPRAGE, InversionTime=2500),
    case("T1 with agent", None, "contrast-enhanced T1", SE_T1, ContrastBolusAgent="Gadobutrol"),
    case("agent NONE of GE", T1, "T1 spin echo", SE_T1, ContrastBolusAgent="NONE"),
    case("T1 with a volume of agent", None, "contrast-enhanced T1", MPRAGE, ContrastBolusVolume=7),
    case("T1 KM by text", None, "contrast-enhanced T1", SE_T1, SeriesDescription="t1_se_tra_KM"),
    case("wide space of Japanese texts", None, "contrast-enhanced T1", SE_T1, SeriesDescription="T1\u3000Gd"),
    case("T1 +C by text", None, "contrast-enhanced T1", SE_T1, SeriesDescription="AX T1 +C"),
    case("T1 POST by text", None, "contrast-enhanced T1", SE_T1, SeriesDescription="T1 POST"),
    case("T1 before contrast", T1, "T1 spin echo", SE_T1, SeriesDescription="T1 pre contrast"),
    case("T1 after surgery", T1, "T1 spin echo", SE_T1, SeriesDescription="T1 post op"),
    case("T1 of the posterior fossa", T1, "T1 spin echo", SE_T1, SeriesDescription="T1 SAG POST. FOSSA"),
    # T2*
    case("T2*-GRE", T2_STAR, "T2* GRE", GRE_T2_STAR),
    case("SWI of Siemens", T2_STAR, "SWI", SWI, ImageType=["ORIGINAL", "PRIMARY", "M", "SWI"]),
    case(
        "SWI of Philips without echo time",
        T2_STAR,
        "SWI",
        SWI,
        EchoTime=0,
        ImageType=["ORIGINAL", "PRIMARY", "SW_M_FFE", "SW_M", "FFE"],
    ),
    case("magnitude of SWI", T2_STAR, "magnitude image of SWI", SWI, SequenceName="*swi3d1r"),
    case("SWAN of GE by text", T2_STAR, "SWI", SWI, SeriesDescription="SWAN"),
    case("phase", None, "phase or complex image", SWI, ImageType=["ORIGINAL", "PRIMARY", "P"]),
    case("minIP", None, "intensity projection", SWI, ImageType=["ORIGINAL", "PRIMARY", "MNIP"]),
    case("minIP by text", None, "intensity projection", SWI, SeriesDescription="mIP_Images(SW)"),
    case("BOLD", None, "BOLD EPI time series", BOLD, NumberOfTemporalPositions=156),
    case(
        "BOLD without EP", None, "T2* time series", BOLD, ScanningSequence="GR", NumberOfTemporalPositions=156
    ),
    case("single functional volume", None, "EPI of functional resolution", BOLD),
    case("clinical GRE-EPI", T2_STAR, "T2* gradient-echo EPI", BOLD, PixelSpacing=[0.9, 0.9]),
    case(
        "perfusion",
        None,
        "perfusion time series",
        BOLD,
        NumberOfTemporalPositions=40,
        ContrastBolusAgent="Gadobutrol",
    ),
    case("time of flight", None, "MR angiogram", SWI, EchoTime=7, AngioFlag="Y"),
    case("TOF by text", None, "MR angiogram", SWI, EchoTime=5, SeriesDescription="3D_TOF"),
    case(
        "field map of Siemens",
        None,
        "field map",
        GRE_T2_STAR,
        EchoTime=12.46,
        FlipAngle=90,
        SequenceName="*fm2d2r",
    ),
    case("T2* map", None, "parametric map", GRE_T2_STAR, ImageType=["DERIVED", "PRIMARY", "T2_STAR MAP"]),
    # Diffusion
    case(
        "TRACEW",
        DWI,
        "trace DWI b1000",
        EPI_DWI,
        DiffusionBValue=1000.0,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"],
    ),
    case(
        "isotropic b1000",
        DWI,
        "trace DWI b1000",
        EPI_DWI,
        DiffusionBValue=1000.0,
        DiffusionDirectionality="ISOTROPIC",
    ),
    case(
        "b800 counts",
        DWI,
        "trace DWI b1000",
        EPI_DWI,
        DiffusionBValue=800.0,
        DiffusionDirectionality="ISOTROPIC",
    ),
    case(
        "b1200 counts",
        DWI,
        "trace DWI b1000",
        EPI_DWI,
        DiffusionBValue=1200.0,
        DiffusionDirectionality="ISOTROPIC",
    ),
    case(
        "b799 does not",
        None,
        "DWI of another b-value",
        EPI_DWI,
        DiffusionBValue=799.0,
        DiffusionDirectionality="ISOTROPIC",
    ),
    case(
        "b1201 does not",
        None,
        "DWI of another b-value",
        EPI_DWI,
        DiffusionBValue=1201.0,
        DiffusionDirectionality="ISOTROPIC",
    ),
    case(
        "zero gradient at b1000 is a trace, no ADC map",
        DWI,
        "trace DWI b1000",
        EPI_DWI,
        DiffusionBValue=1000.0,
        DiffusionGradientOrientation=[0.0, 0.0, 0.0],
    ),
    case(
        "b1000 without direction", DWI, "DWI b1000 of unknown directionality", EPI_DWI, DiffusionBValue=1000.0
    ),
    case(
        "raw direction",
        None,
        "DWI of one direction",
        EPI_DWI,
        DiffusionBValue=1000.0,
        DiffusionGradientOrientation=[1.0, 0.0, 0.0],
    ),
    case("b0", None, "DWI b0", EPI_DWI, DiffusionBValue=0.0, ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION"]),
    case(
        "ADC with the b-value of its source",
        None,
        "ADC map",
        EPI_DWI,
        DiffusionBValue=1000.0,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
    ),
    case(
        "ADC of Philips marked original",
        None,
        "ADC map",
        EPI_DWI,
        DiffusionBValue=1000.0,
        ImageType=["ORIGINAL", "PRIMARY", "ADC_UNSPECIFIED", "ADC"],
    ),
    case(
        "letters within a word are no ADC",
        DWI,
        "DWI b1000 of unknown directionality",
        EPI_DWI,
        DiffusionBValue=1000.0,
        SeriesDescription="DWI_HEADCOIL",
    ),
    case(
        "ADC of GE by text",
        None,
        "ADC map",
        EPI_DWI,
        ImageType=["DERIVED", "SECONDARY", "PROCESSED"],
        SeriesDescription="Apparent Diffusion Coefficient (mm2/s)",
    ),
    case(
        "ADC of unknown directionality by text",
        None,
        "ADC map",
        EPI_DWI,
        DiffusionBValue=1000.0,
        SeriesDescription="Ax_ADC",
    ),
    case("FA", None, "diffusion tensor map", EPI_DWI, ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "FA"]),
    case(
        "computed b-value",
        None,
        "computed DWI",
        EPI_DWI,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "CALC_BVALUE"],
        DiffusionBValue=1000.0,
    ),
    case(
        "b-value in the text only",
        DWI,
        "trace DWI with its b-value in the description only",
        EPI_DWI,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"],
        SeriesDescription="DWI_b1000_TRACEW",
    ),
    case(
        "trace without any b-value",
        None,
        "diffusion image without b-value",
        EPI_DWI,
        ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"],
    ),
    case("b in the sequence name", DWI, "trace DWI b1000", EPI_DWI, SequenceName="*ep_b1000t"),
    # Others
    case("T2 TSE", None, "T2 TSE", T2_TSE),
    case("proton density", None, "proton density TSE", T2_TSE, EchoTime=20),
    case("T2 TSE with agent", None, "T2 TSE", T2_TSE, ContrastBolusAgent="Gadobutrol"),
    case("localizer", None, "localizer", SE_T1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    case("localizer by text", None, "localizer", MPRAGE, RepetitionTime=8, SeriesDescription="3-plane_loc"),
    case(
        "text makes no localizer of a long sequence",
        FLAIR,
        "T2 FLAIR",
        TSE_FLAIR,
        SeriesDescription="FLAIR loc",
    ),
    case("MPR", None, "reformatted image (MPR)", MPRAGE, ImageType=["DERIVED", "SECONDARY", "MPR"]),
    case("original of GE marked MPR", T1, "T1 spin echo", SE_T1, ImageType=["ORIGINAL", "PRIMARY", "MPR"]),
    case("MIP", None, "intensity projection", MPRAGE, VolumeBasedCalculationTechnique="MAX_IP"),
    case("colour FA", None, "colour map", EPI_DWI, PhotometricInterpretation="RGB"),
    case("subtraction", None, "subtraction image", MPRAGE, ImageType=["DERIVED", "PRIMARY", "SUBTRACTION"]),
    case(
        "balanced SSFP",
        None,
        "balanced SSFP",
        {},
        ScanningSequence="GR",
        SequenceVariant=["SS"],
        RepetitionTime=5,
        EchoTime=2.3,
        FlipAngle=45,
    ),
    case("nothing known", None, "unrecognised", {}),
]


@pytest.mark.parametrize(("elements", "series_type", "kind"), TABLE)
def test_stack_is_taken_for(elements: dict[str, Any], series_type: SeriesType | None, kind: str) -> None:
    found = identified(**elements)
    assert (found.series_type, found.kind) == (series_type, kind)


def test_evidence_names_value_and_range() -> None:
    assert "EchoTime 89 ms (T2 FLAIR: 60-700)" in identified(**TSE_FLAIR).evidence


def test_evidence_names_the_pulse_sequence_and_where_the_b_value_stands() -> None:
    assert "pulse sequence *swi3d1r" in identified(**SWI, SequenceName="*swi3d1r").evidence
    evidence = identified(**EPI_DWI, DiffusionBValue=1000.0, DiffusionDirectionality="ISOTROPIC").evidence
    assert "b-value from DiffusionBValue (0018,9087)" in evidence


def test_evidence_names_the_text_that_broke_a_tie() -> None:
    evidence = identified(**{**SE_T1, "SeriesDescription": "t1_se_tra_KM"}).evidence
    assert "tie-break by the text 'KM'" in evidence


def test_unrecognised_stack_still_shows_its_physics() -> None:
    found = identified(RepetitionTime=6.2, EchoTime=3.4, ScanningSequence="RM")
    assert found.kind == "unrecognised"
    assert found.evidence[:2] == ("RepetitionTime 6.2 ms", "EchoTime 3.4 ms")
    assert found.evidence[-1] == "no rule holds"


@pytest.mark.parametrize("b_value", [0, 1000])
def test_ge_flair_with_a_private_b_value_is_no_diffusion(b_value: int) -> None:
    """dcm2niix 393 and 449: GE writes (0043,1039) into FLAIR."""
    headers = []
    for number in range(1, 9):
        dataset = mr_dataset(number, **TSE_FLAIR)
        add_private(dataset, 0x0043, "GEMS_PARM_01", b=(0x39, "IS", [b_value, 0, 0, 0]))
        headers.append(read_image_header(dataset))
    assert identify(one_stack(headers), DEFAULT_RULES).series_type is FLAIR


def test_single_sagittal_slice_beside_a_flair_is_a_localizer() -> None:
    """dcm2niix 393: a multi-slice FLAIR and a single sagittal slice in one Series."""
    headers = mr_series(24, **TSE_FLAIR) + mr_series(1, first=25, orientation=SAGITTAL, **TSE_FLAIR)
    kinds = {stack.positions: identify(stack, DEFAULT_RULES).kind for stack in split_stacks(headers)}
    assert kinds == {24: "T2 FLAIR", 1: "localizer"}


def test_three_orientations_of_few_slices_are_a_localizer() -> None:
    physics = {"ScanningSequence": "GR", "RepetitionTime": 7.5, "EchoTime": 3.69, "FlipAngle": 20}
    headers = [
        header
        for number, orientation in enumerate((AXIAL, SAGITTAL, CORONAL))
        for header in mr_series(5, first=1 + 5 * number, orientation=orientation, **physics)
    ]
    assert {identify(stack, DEFAULT_RULES).kind for stack in split_stacks(headers)} == {"localizer"}


def test_several_b1000_of_unknown_direction_are_directions_not_a_trace() -> None:
    physics = {**EPI_DWI, "DiffusionBValue": 1000.0}
    headers = [
        header
        for number in range(3)
        for header in mr_series(8, first=1 + 8 * number, AcquisitionNumber=number, **physics)
    ]
    kinds = {identify(stack, DEFAULT_RULES).kind for stack in split_stacks(headers)}
    assert kinds == {"one of several DWI at the same b-value"}


def test_magnitude_beside_phase_of_short_echo_is_a_field_map() -> None:
    physics = {"ScanningSequence": "GR", "RepetitionTime": 20, "EchoTime": 4.6, "FlipAngle": 10}
    headers = mr_series(30, **physics)
    headers += mr_series(30, first=31, ImageType=["ORIGINAL", "PRIMARY", "P"], **physics)
    kinds = [identify(stack, DEFAULT_RULES).kind for stack in split_stacks(headers)]
    assert kinds == ["field map", "phase or complex image"]


def test_short_echoes_of_a_multi_echo_gre_are_no_t1() -> None:
    physics = {"ScanningSequence": "GR", "RepetitionTime": 40, "FlipAngle": 15, "MRAcquisitionType": "3D"}
    headers = mr_series(30, EchoTime=5, **physics) + mr_series(30, first=31, EchoTime=25, **physics)
    found = [identify(stack, DEFAULT_RULES) for stack in split_stacks(headers)]
    assert [one.series_type for one in found] == [None, T2_STAR]


def test_enhanced_adc_is_told_by_its_derivation_code() -> None:
    assert (
        IdentificationRule.model_validate(
            {"kind": "ADC map", "any_of": {"DerivationCodeSequence": ["113041"]}}
        )
        in DEFAULT_RULES
    )
