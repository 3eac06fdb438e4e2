"""Headers of classic, enhanced and legacy converted MR images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    RawDataStorage,
)

from node.header_reader import NotAnMrImageError, NotDicomError, read_image_header
from node.headers import Acquisition, Component, Directionality, Plane
from tests.support.mr_headers import add_private, enhanced_dataset, item, mr_dataset, sequence


def acquisition(**elements: Any) -> Acquisition:
    return read_image_header(mr_dataset(**elements)).frames[0].acquisition


def enhanced_frame(position: float, **groups: Any) -> Dataset:
    return item(
        PlanePositionSequence=sequence(ImagePositionPatient=[0.0, 0.0, position]),
        FrameContentSequence=sequence(StackID="1", TemporalPositionIndex=1, FrameAcquisitionNumber=7),
        **groups,
    )


def shared_groups(**groups: Any) -> Dataset:
    return item(
        PlaneOrientationSequence=sequence(ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        PixelMeasuresSequence=sequence(PixelSpacing=[0.9, 0.8], SliceThickness=4.0),
        MRTimingAndRelatedParametersSequence=sequence(RepetitionTime=9000.0, FlipAngle=150.0),
        MREchoSequence=sequence(EffectiveEchoTime=89.0),
        **groups,
    )


def test_classic_header_has_one_frame_with_its_plane_and_physics() -> None:
    header = read_image_header(
        mr_dataset(2, RepetitionTime=9000, EchoTime=89, InversionTime=2500, FlipAngle=150, EchoNumbers=1)
    )
    (frame,) = header.frames
    assert frame.number is None
    assert frame.plane == Plane((-3.0, -4.0, 10.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0))
    found = frame.acquisition
    assert (found.repetition_time_ms, found.echo_time_ms, found.inversion_time_ms) == (9000.0, 89.0, 2500.0)
    assert (found.flip_angle_deg, found.echo_number) == (150.0, 1)


def test_rescale_defaults_to_the_identity() -> None:
    (frame,) = read_image_header(mr_dataset()).frames
    assert (frame.rescale_slope, frame.rescale_intercept) == (1.0, 0.0)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_frame_without_geometry_has_no_plane(keyword: str) -> None:
    assert read_image_header(mr_dataset(**{keyword: None})).frames[0].plane is None


def test_zero_times_of_philips_count_as_not_stated() -> None:
    found = acquisition(EchoTime=0, InversionTime=0, RepetitionTime=31)
    assert (found.echo_time_ms, found.inversion_time_ms, found.repetition_time_ms) == (None, None, 31.0)


def test_gauss_of_older_ge_systems_become_tesla() -> None:
    assert acquisition(MagneticFieldStrength="15000").field_strength_t == 1.5


def test_value_that_is_no_number_counts_as_not_stated() -> None:
    dataset = mr_dataset()
    dataset.add_new(0x00180081, "LO", "short")
    assert read_image_header(dataset).frames[0].acquisition.echo_time_ms is None


@pytest.mark.parametrize(
    ("elements", "component"),
    [
        ({}, Component.MAGNITUDE),
        ({"ComplexImageComponent": "PHASE"}, Component.PHASE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, Component.PHASE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "SW_P_FFE", "SW_P", "FFE"]}, Component.PHASE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, Component.PHASE),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}, Component.REAL),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "I_FFE", "I", "FFE"]}, Component.IMAGINARY),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M_IR", "M", "IR"]}, Component.MAGNITUDE),
    ],
)
def test_complex_component_by_vendor(elements: dict[str, Any], component: Component) -> None:
    assert acquisition(**elements).component is component


@pytest.mark.parametrize(
    ("value", "component"),
    [
        (0, Component.MAGNITUDE),
        (1, Component.PHASE),
        (2, Component.REAL),
        (3, Component.IMAGINARY),
        (4, Component.MAGNITUDE),
        (-1, Component.MAGNITUDE),
    ],
)
def test_ge_states_the_component_in_a_private_element(value: int, component: Component) -> None:
    dataset = add_private(mr_dataset(), 0x0043, "GEMS_PARM_01", component=(0x2F, "SS", value))
    assert read_image_header(dataset).frames[0].acquisition.component is component


@pytest.mark.parametrize(
    ("elements", "has_agent"),
    [
        ({}, False),
        ({"ContrastBolusAgent": ""}, False),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgent": "Gadobutrol"}, True),
        ({"ContrastBolusVolume": 7.5}, True),
        ({"ContrastBolusVolume": 0}, False),
        ({"ContrastBolusTotalDose": 1}, True),
        ({"ContrastBolusIngredient": "GADOLINIUM"}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "POST_CONTRAST", "T1"]}, True),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "PRE_CONTRAST", "T1"]}, False),
        ({"ContrastBolusRoute": "IV"}, True),
        ({"ContrastBolusAgentSequence": sequence(CodeValue="C-17800")}, True),
        ({"ContrastBolusUsageSequence": sequence(ContrastBolusAgentNumber=1)}, True),
    ],
)
def test_contrast_agent_is_told_by_any_of_its_elements(elements: dict[str, Any], has_agent: bool) -> None:
    assert bool(acquisition(**elements).contrast_agent) is has_agent


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ScanningSequence": ["SE", "IR"]}, {"SE", "IR"}),
        ({"ScanningSequence": "SE", "ScanOptions": ["EPI_GEMS", "PFF"]}, {"SE", "EP"}),
        ({"ScanningSequence": "EP", "SequenceName": "*epfid2d1_64"}, {"EP", "GR"}),
        ({"ScanningSequence": "EP", "SequenceName": "*ep_b1000t"}, {"EP", "SE"}),
        ({"ScanningSequence": "GR", "PulseSequenceName": "FEEPI"}, {"GR", "EP"}),
        ({"ScanningSequence": "SE", "PulseSequenceName": "DwiSE"}, {"SE", "EP"}),
        ({"ScanningSequence": "SE", "SequenceName": "*tse2d1_19"}, {"SE"}),
    ],
)
def test_scanning_sequence_is_completed_from_names_and_options(
    elements: dict[str, Any], expected: set[str]
) -> None:
    assert set(acquisition(**elements).scanning_sequence) == expected


def test_philips_names_its_technique_in_a_private_element() -> None:
    dataset = add_private(mr_dataset(), 0x2001, "Philips Imaging DD 001", technique=(0x20, "LO", "FEEPI"))
    assert read_image_header(dataset).frames[0].acquisition.sequence_name == "FEEPI"


def test_enhanced_frames_join_shared_and_their_own_groups() -> None:
    shared = shared_groups(
        MRModifierSequence=sequence(InversionRecovery="YES", InversionTimes=2500.0),
        MRImageFrameTypeSequence=sequence(FrameType=["ORIGINAL", "PRIMARY", "M", "NONE"]),
    )
    frames = [
        enhanced_frame(
            position, PixelValueTransformationSequence=sequence(RescaleSlope=slope, RescaleIntercept=-4.0)
        )
        for position, slope in ((0.0, 2.0), (5.0, 3.0))
    ]
    header = read_image_header(
        enhanced_dataset(shared, frames, EchoPulseSequence="SPIN", EchoPlanarPulseSequence="NO")
    )
    assert header.sop_class_uid == EnhancedMRImageStorage
    assert header.is_multi_frame
    assert [frame.number for frame in header.frames] == [1, 2]
    assert [frame.rescale_slope for frame in header.frames] == [2.0, 3.0]
    assert {frame.rescale_intercept for frame in header.frames} == {-4.0}
    assert {frame.acquisition_number for frame in header.frames} == {7}
    first = header.frames[0]
    assert first.plane == Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (0.9, 0.8))
    assert first.acquisition.echo_time_ms == 89.0
    assert first.acquisition.inversion_time_ms == 2500.0
    assert set(first.acquisition.scanning_sequence) == {"SE", "IR"}


def test_enhanced_diffusion_is_read_per_frame() -> None:
    frames = [
        enhanced_frame(
            0.0, MRDiffusionSequence=sequence(DiffusionBValue=b_value, DiffusionDirectionality=direction)
        )
        for b_value, direction in ((0.0, "NONE"), (1000.0, "ISOTROPIC"))
    ]
    found = [frame.diffusion for frame in read_image_header(enhanced_dataset(shared_groups(), frames)).frames]
    assert [(one.b_value, one.directionality) for one in found] == [
        (0.0, Directionality.NONE),
        (1000.0, Directionality.ISOTROPIC),
    ]


def test_philips_copy_of_the_classic_header_does_not_move_the_frame() -> None:
    copy = item(ImagePositionPatient=[99.0, 99.0, 99.0], ScanningSequence="GR", ImageType=["A", "B", "M_FFE"])
    frame = add_private(enhanced_frame(5.0), 0x2005, "Philips MR Imaging DD 005", copy=(0x0F, "SQ", [copy]))
    (read,) = read_image_header(enhanced_dataset(shared_groups(), [frame])).frames
    assert read.plane is not None
    assert read.plane.position_mm == (0.0, 0.0, 5.0)
    assert read.acquisition.scanning_sequence == ("GR",)
    assert "M_FFE" in read.acquisition.image_type


def test_legacy_converted_frames_carry_the_classic_elements_unassigned() -> None:
    shared = item(
        PlaneOrientationSequence=sequence(ImageOrientationPatient=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        PixelMeasuresSequence=sequence(PixelSpacing=[1.0, 1.0]),
        UnassignedSharedConvertedAttributesSequence=sequence(
            RepetitionTime=9000.0, EchoTime=89.0, InversionTime=2500.0, ScanningSequence=["SE", "IR"]
        ),
    )
    frames = [
        enhanced_frame(5.0, UnassignedPerFrameConvertedAttributesSequence=sequence(DiffusionBValue=1000.0))
    ]
    header = read_image_header(
        enhanced_dataset(shared, frames, SOPClassUID=LegacyConvertedEnhancedMRImageStorage)
    )
    (frame,) = header.frames
    assert frame.acquisition.inversion_time_ms == 2500.0
    assert frame.acquisition.scanning_sequence == ("SE", "IR")
    assert frame.diffusion.b_value == 1000.0


def test_derivation_code_is_kept() -> None:
    derived = sequence(DerivationCodeSequence=sequence(CodeValue="113041"))
    header = read_image_header(
        enhanced_dataset(shared_groups(DerivationImageSequence=derived), [enhanced_frame(0.0)])
    )
    assert header.frames[0].acquisition.derivation_codes == ("113041",)


def test_nothing_about_the_patient_is_kept() -> None:
    dataset = mr_dataset(PatientName="SECRET^NAME", PatientID="SECRET", PatientBirthDate="19310101")
    kept = repr(dataclasses.asdict(read_image_header(dataset)))
    assert "SECRET" not in kept
    assert "19310101" not in kept


def test_other_objects_are_named() -> None:
    with pytest.raises(NotAnMrImageError, match=r"Series 1\.2\.3\.4: Raw Data Storage is not an MR image"):
        read_image_header(mr_dataset(SOPClassUID=RawDataStorage))


def test_text_file_is_no_dicom(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("a text that is long enough to hold a preamble" * 10)
    with pytest.raises(NotDicomError, match=r"notes\.txt: not a DICOM file"):
        read_image_header(path)


def test_damaged_dicom_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes(
        b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\x10\x00\x00\x00\x02\x00\x10\x00UI\xff"
    )
    with pytest.raises(NotDicomError, match=r"cut\.dcm"):
        read_image_header(path)


def test_data_set_without_sop_class_is_named() -> None:
    with pytest.raises(NotDicomError, match="A data set: its header names no SOP Class"):
        read_image_header(Dataset())


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotDicomError, match=r"gone\.dcm: cannot be read as DICOM: FileNotFoundError"):
        read_image_header(tmp_path / "gone.dcm")
