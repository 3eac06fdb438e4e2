"""What real scanners write about a sequence: the elements that a phantom Series takes over.

The values are those of the headers in the shared data where a file of that sequence lies there (marked
"seen"); the others follow the vendor's style with a usual clinical protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple


class PrivateElement(NamedTuple):
    """One private element: (group, 10xx) under its creator; ``offset`` is the last byte of the tag."""

    group: int
    creator: str
    offset: int
    vr: str
    value: Any


@dataclass(frozen=True, slots=True)
class HeaderPattern:
    """The sequence dependent part of an MR header.

    Attributes:
        name: what the pattern is called.
        attributes: DICOM keyword to value.
        private: private elements, b-values above all.
        contrast: Acquisition Contrast (0008,9209), written to Enhanced MR only.
        bits_stored: 12 or 16.
        signed: Pixel Representation.
    """

    name: str
    attributes: Mapping[str, Any]
    private: tuple[PrivateElement, ...] = ()
    contrast: str = "UNKNOWN"
    bits_stored: int = 12
    signed: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def elements(self) -> dict[str, Any]:
        """Return keyword to value, later changes applied; a value of None means absent."""
        merged = {**self.attributes, **self.extra}
        return {keyword: value for keyword, value in merged.items() if value is not None}

    def but(self, **changed: Any) -> HeaderPattern:
        """Return the same pattern with other values; None removes the element."""
        return replace(self, extra=MappingProxyType({**self.extra, **changed}))

    def with_private(self, *private: PrivateElement) -> HeaderPattern:
        """Return the same pattern with other private elements."""
        return replace(self, private=private)


def siemens_b(value: int, directionality: str = "ISOTROPIC") -> tuple[PrivateElement, ...]:
    """Return (0019,100C) B value and (0019,100D) Diffusion Directionality."""
    creator = "SIEMENS MR HEADER"
    return (
        PrivateElement(0x0019, creator, 0x0C, "IS", value),
        PrivateElement(0x0019, creator, 0x0D, "CS", directionality),
    )


def philips_b(value: float, direction: str = "I") -> tuple[PrivateElement, ...]:
    """Return (2001,1003) b-value and (2001,1004) diffusion direction; I is the isotropic one."""
    creator = "Philips Imaging DD 001"
    return (
        PrivateElement(0x2001, creator, 0x03, "FL", value),
        PrivateElement(0x2001, creator, 0x04, "CS", direction),
    )


def ge_b(value: int) -> tuple[PrivateElement, ...]:
    """Return (0043,1039), whose first value is the b-value, on newer releases plus 1e9."""
    return (PrivateElement(0x0043, "GEMS_PARM_01", 0x39, "IS", [value, 8, 0, 0]),)


def uih_b(value: float) -> tuple[PrivateElement, ...]:
    """Return (0065,1009), the b-value of UIH scanners."""
    return (PrivateElement(0x0065, "Image Private Header", 0x09, "FD", value),)


_SIEMENS = {
    "Manufacturer": "SIEMENS",
    "ManufacturerModelName": "Avanto",
    "SoftwareVersions": "syngo MR E11",
    "MagneticFieldStrength": 1.5,
    "ImagedNucleus": "1H",
    "ImagingFrequency": 63.67,
    "BodyPartExamined": "HEAD",
    "AngioFlag": "N",
    "TransmitCoilName": "Body",
    "EchoNumbers": 1,
    "NumberOfAverages": 1,
    "PercentSampling": 100,
    "PercentPhaseFieldOfView": 100,
    "MRAcquisitionType": "2D",
    "ScanOptions": "",
}
_PHILIPS = {
    "Manufacturer": "Philips Medical Systems",
    "ManufacturerModelName": "Achieva",
    "SoftwareVersions": ["2.5.3", "2.5.3.3"],
    "MagneticFieldStrength": 3,
    "ImagedNucleus": "1H",
    "ImagingFrequency": 127.782669,
    "BodyPartExamined": "BRAIN",
    "TransmitCoilName": "B",
    "EchoNumbers": 1,
    "NumberOfAverages": 2,
    "MRAcquisitionType": "2D",
    "ScanOptions": "",
}
_GE = {
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "DISCOVERY MR750",
    "SoftwareVersions": "24",
    "MagneticFieldStrength": 3,
    "ImagedNucleus": "1H",
    "ImagingFrequency": 127.77,
    "BodyPartExamined": "HEAD",
    "AngioFlag": "N",
    "TransmitCoilName": "HEAD",
    "EchoNumbers": 1,
    "NumberOfAverages": 1,
    "MRAcquisitionType": "2D",
    "ScanOptions": "",
}


def _siemens(name: str, contrast: str, **attributes: Any) -> HeaderPattern:
    return HeaderPattern(name, MappingProxyType({**_SIEMENS, **attributes}), contrast=contrast)


def _philips(name: str, contrast: str, **attributes: Any) -> HeaderPattern:
    return HeaderPattern(name, MappingProxyType({**_PHILIPS, **attributes}), contrast=contrast)


def _ge(name: str, contrast: str, **attributes: Any) -> HeaderPattern:
    merged = MappingProxyType({**_GE, **attributes})
    return HeaderPattern(name, merged, contrast=contrast, bits_stored=16, signed=True)


# T2-FLAIR
SIEMENS_FLAIR_TSE = _siemens(
    "SIEMENS_FLAIR_TSE", "FLUID_ATTENUATED",
    ImageType=["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"],
    ScanningSequence=["SE", "IR"], SequenceVariant=["SK", "SP", "MP", "OSP"], SequenceName="*tir2d1_16",
    RepetitionTime=9000, EchoTime=89, InversionTime=2500, FlipAngle=150, EchoTrainLength=16,
    PixelBandwidth=190, SeriesDescription="t2_tirm_tra_dark-fluid", ProtocolName="t2_tirm_tra_dark-fluid",
)  # fmt: skip
GE_FLAIR = _ge(  # seen: RM, no TI; two values of Image Type, for dciodvfy an error
    "GE_FLAIR", "FLUID_ATTENUATED",
    ManufacturerModelName="GENESIS_SIGNA", SoftwareVersions="04", MagneticFieldStrength=1.5,
    ImageType=["ORIGINAL", "PRIMARY"], ScanningSequence="RM", SequenceVariant="NONE", SequenceName="flair",
    ScanOptions=["GRAPH_GEMS", "FC", "EDR_GEMS"], RepetitionTime=10002, EchoTime=159.5, FlipAngle=90,
    EchoTrainLength=0, PixelBandwidth=167.1875, SeriesDescription="FLAIR",
)  # fmt: skip
GE_FLAIR_TI = _ge(
    "GE_FLAIR_TI", "FLUID_ATTENUATED",
    ImageType=["ORIGINAL", "PRIMARY", "OTHER"], ScanningSequence=["SE", "IR"], SequenceVariant=["SK", "OSP"],
    ScanOptions=["FAST_GEMS", "EDR_GEMS", "TRF_GEMS", "FILTERED_GEMS"], RepetitionTime=9002, EchoTime=124.6,
    InversionTime=2250, FlipAngle=160, EchoTrainLength=24, PixelBandwidth=162.7,
    SeriesDescription="Ax T2 FLAIR", ProtocolName="BRAIN ROUTINE",
)  # fmt: skip
PHILIPS_FLAIR = _philips(
    "PHILIPS_FLAIR", "FLUID_ATTENUATED",
    ImageType=["ORIGINAL", "PRIMARY", "M_IR", "M", "IR"], ScanningSequence="IR", SequenceVariant="SK",
    RepetitionTime=11000, EchoTime=125, InversionTime=2800, FlipAngle=90, EchoTrainLength=27,
    PixelBandwidth=287, SeriesDescription="FLAIR_longTR", ProtocolName="FLAIR_longTR CLEAR",
)  # fmt: skip

# T1
SIEMENS_T1_MPRAGE = _siemens(
    "SIEMENS_T1_MPRAGE", "T1",
    ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], ScanningSequence=["GR", "IR"],
    SequenceVariant=["SK", "SP", "MP"], ScanOptions="IR", SequenceName="*tfl3d1_16ns", MRAcquisitionType="3D",
    RepetitionTime=1900, EchoTime=2.98, InversionTime=900, FlipAngle=9, EchoTrainLength=1,
    PixelBandwidth=170, SeriesDescription="t1_mprage_sag_p2_iso", ProtocolName="t1_mprage_sag_p2_iso",
)  # fmt: skip
PHILIPS_T1_MPRAGE = _philips(  # seen
    "PHILIPS_T1_MPRAGE", "T1",
    Manufacturer="Philips", ManufacturerModelName="Ingenia Elition X", SoftwareVersions=["5.7.1", "5.7.1.1"],
    ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], ScanningSequence="GR", SequenceVariant="MP",
    ScanOptions="OTHER", MRAcquisitionType="3D", RepetitionTime=6.50099992752075, EchoTime=2.93, FlipAngle=9,
    EchoTrainLength=256, PixelBandwidth=271, DiffusionBValue=0.0, SeriesDescription="ADNI_Sag3D MPRAGE",
    ProtocolName="WIP ADNI_Sag3D MPRAGE",
).with_private(*philips_b(0.0, ""))  # fmt: skip
PHILIPS_T1_SE = _philips(
    "PHILIPS_T1_SE", "T1",
    ImageType=["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"], ScanningSequence="SE", SequenceVariant="SK",
    RepetitionTime=596, EchoTime=10, FlipAngle=70, EchoTrainLength=1, PixelBandwidth=190,
    SeriesDescription="T1W_SE", ProtocolName="T1W_SE CLEAR",
)  # fmt: skip
PHILIPS_T1_TSE = _philips(
    "PHILIPS_T1_TSE", "T1",
    ImageType=["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"], ScanningSequence="SE", SequenceVariant="SK",
    RepetitionTime=620, EchoTime=12, FlipAngle=90, EchoTrainLength=4, PixelBandwidth=230,
    SeriesDescription="T1W_TSE", ProtocolName="T1W_TSE",
)  # fmt: skip
SIEMENS_T1_SE = _siemens(
    "SIEMENS_T1_SE", "T1",
    ImageType=["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], ScanningSequence="SE",
    SequenceVariant=["SP", "OSP"], ScanOptions="SAT1", SequenceName="*se2d1",
    RepetitionTime=550, EchoTime=8.9, FlipAngle=90,
    EchoTrainLength=1, PixelBandwidth=130, SeriesDescription="t1_se_tra", ProtocolName="t1_se_tra",
)  # fmt: skip
SIEMENS_T1_FL2D = _siemens(  # seen
    "SIEMENS_T1_FL2D", "T1",
    ManufacturerModelName="Prisma_fit", MagneticFieldStrength=3, ImagingFrequency=123.254871,
    ImageType=["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], ScanningSequence="GR",
    SequenceVariant=["SP", "OSP"], SequenceName="*fl2d1", RepetitionTime=300,
    EchoTime=2.46, FlipAngle=80, EchoTrainLength=1,
    PixelBandwidth=355, SeriesDescription="t1_fl2d_sag", ProtocolName="t1_fl2d_sag",
)  # fmt: skip
POST_CONTRAST_T1 = SIEMENS_T1_SE.but(
    ContrastBolusAgent="Gadobutrol", SeriesDescription="t1_se_tra_KM", ProtocolName="t1_se_tra_KM"
)

# T2*
SIEMENS_T2STAR_FL2D = _siemens(
    "SIEMENS_T2STAR_FL2D", "T2_STAR",
    ImageType=["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], ScanningSequence="GR",
    SequenceVariant=["SP", "OSP"], SequenceName="*fl2d1", RepetitionTime=800,
    EchoTime=26, FlipAngle=20, EchoTrainLength=1,
    PixelBandwidth=80, SeriesDescription="t2_fl2d_tra_hemo", ProtocolName="t2_fl2d_tra_hemo",
)  # fmt: skip
GE_T2STAR_GRE = _ge(
    "GE_T2STAR_GRE", "T2_STAR",
    ImageType=["ORIGINAL", "PRIMARY", "OTHER"], ScanningSequence="GR", SequenceVariant=["SS", "SK"],
    ScanOptions=["FC_FREQ_AX_GEMS", "FILTERED_GEMS"], RepetitionTime=550, EchoTime=20, FlipAngle=20,
    EchoTrainLength=1, PixelBandwidth=122.1, SeriesDescription="Ax T2* GRE", ProtocolName="BRAIN ROUTINE",
)  # fmt: skip
SIEMENS_SWI = _siemens(
    "SIEMENS_SWI", "T2_STAR",
    ImageType=["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"], ScanningSequence="GR", SequenceVariant="SP",
    ScanOptions="FC", SequenceName="*swi3d1r", MRAcquisitionType="3D", RepetitionTime=49, EchoTime=40,
    FlipAngle=15, EchoTrainLength=1, PixelBandwidth=80, SeriesDescription="SWI_Images",
    ProtocolName="t2_swi_tra_p2",
)  # fmt: skip
PHASE = SIEMENS_SWI.but(ImageType=["ORIGINAL", "PRIMARY", "P", "ND"], SeriesDescription="Pha_Images")
MIP = SIEMENS_SWI.but(ImageType=["ORIGINAL", "PRIMARY", "MNIP", "NORM"], SeriesDescription="mIP_Images(SW)")
PHILIPS_SWI = _philips(  # seen: EchoTime 0 in the header
    "PHILIPS_SWI", "T2_STAR",
    ImageType=["ORIGINAL", "PRIMARY", "SW_M_FFE", "SW_M", "FFE"], ScanningSequence="GR", SequenceVariant="SP",
    MRAcquisitionType="3D", RepetitionTime=31, EchoTime=0, FlipAngle=17, EchoTrainLength=4,
    PixelBandwidth=255, DiffusionBValue=0.0, SeriesDescription="SWIp", ProtocolName="SWIp",
).with_private(*philips_b(0.0, ""))  # fmt: skip
SIEMENS_BOLD_EPI = _siemens(  # seen
    "SIEMENS_BOLD_EPI", "T2_STAR",
    ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], ScanningSequence="EP", SequenceVariant="SK",
    ScanOptions="FS", SequenceName="*epfid2d1_64", RepetitionTime=3000, EchoTime=30,
    FlipAngle=76, EchoTrainLength=1,
    PixelBandwidth=2111, SeriesDescription="ax_asc_35sl", ProtocolName="ax_asc_35sl",
)  # fmt: skip

# Diffusion
SIEMENS_EP2D_B0 = _siemens(  # seen: SequenceName, ScanOptions, (0019,100C)
    "SIEMENS_EP2D_B0", "DIFFUSION",
    ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND", "NORM"], ScanningSequence="EP",
    SequenceVariant=["SK", "SP"], ScanOptions=["PFP", "FS"], SequenceName="*ep_b0", RepetitionTime=6300,
    EchoTime=92, FlipAngle=90, EchoTrainLength=51, PixelBandwidth=1955,
    SeriesDescription="ep2d_diff_3scan_trace_p2", ProtocolName="ep2d_diff_3scan_trace_p2",
).with_private(*siemens_b(0, "NONE"))  # fmt: skip
SIEMENS_EP2D_TRACEW_B0 = SIEMENS_EP2D_B0.but(
    ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND", "NORM"],
    SeriesDescription="ep2d_diff_3scan_trace_p2_TRACEW",
)
SIEMENS_EP2D_TRACEW_B1000 = SIEMENS_EP2D_TRACEW_B0.but(SequenceName="*ep_b1000t").with_private(
    *siemens_b(1000)
)
SIEMENS_EP2D_ADC = SIEMENS_EP2D_B0.but(
    ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND", "NORM"],
    SequenceName="*ep_b0_1000",
    SeriesDescription="ep2d_diff_3scan_trace_p2_ADC",
).with_private()
PHILIPS_DWI_B0 = _philips(  # seen: the b-value is in (2001,1003) only
    "PHILIPS_DWI_B0", "DIFFUSION",
    ImageType=["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"], ScanningSequence="SE", SequenceVariant="SK",
    ScanOptions="FS", RepetitionTime=8808.755859375, EchoTime=58.40625, FlipAngle=90, EchoTrainLength=47,
    PixelBandwidth=2443.60693359375, SeriesDescription="DT_HIGH_32DIR", ProtocolName="DT_HIGH_32DIR SENSE",
).with_private(*philips_b(0.0))  # fmt: skip
PHILIPS_DWI_B1000 = PHILIPS_DWI_B0.with_private(*philips_b(1000.0))
GE_DWI_B0 = _ge(  # seen: EP\RM and (0043,1039)
    "GE_DWI_B0", "DIFFUSION",
    ImageType=["ORIGINAL", "PRIMARY", "OTHER"], ScanningSequence=["EP", "RM"], SequenceVariant="NONE",
    ScanOptions=["EPI_GEMS", "PFF"], RepetitionTime=9000, EchoTime=81.7, FlipAngle=90, EchoTrainLength=1,
    PixelBandwidth=1953.125, SeriesDescription="Ax DWI", ProtocolName="BRAIN ROUTINE",
).with_private(*ge_b(0))  # fmt: skip
GE_DWI_B1000 = GE_DWI_B0.with_private(*ge_b(1_000_001_000))
UIH_DWI_B1000 = SIEMENS_EP2D_TRACEW_B1000.but(
    Manufacturer="UIH", ManufacturerModelName="uMR 780", SequenceName="epi_dwi", SoftwareVersions="R001",
    ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION"], SeriesDescription="epi_dwi_tra",
    ProtocolName="epi_dwi_tra",
).with_private(*uih_b(1000.0))  # fmt: skip

# Others that a brain Study holds
T2_TSE = _siemens(  # seen
    "T2_TSE", "T2",
    ManufacturerModelName="TrioTim", SoftwareVersions="syngo MR B17", MagneticFieldStrength=3,
    ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], ScanningSequence="SE",
    SequenceVariant=["SK", "SP", "OSP"], SequenceName="*tse2d1_19", RepetitionTime=11730, EchoTime=91,
    FlipAngle=120, EchoTrainLength=19, PixelBandwidth=195, SeriesDescription="AX FSE T2",
    ProtocolName="AX FSE T2",
)  # fmt: skip
LOCALIZER = _siemens(
    "LOCALIZER", "T1",
    ImageType=["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], ScanningSequence="GR",
    SequenceVariant=["SP", "OSP"], SequenceName="*fl2d1", RepetitionTime=7.5, EchoTime=3.69, FlipAngle=20,
    EchoTrainLength=1, PixelBandwidth=320, SeriesDescription="localizer", ProtocolName="localizer",
)  # fmt: skip
MPR = SIEMENS_T1_MPRAGE.but(
    ImageType=["DERIVED", "SECONDARY", "MPR", "NORM"], SeriesDescription="t1_mprage_sag_p2_iso_MPR_tra"
)
