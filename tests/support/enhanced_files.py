"""Volumes as one Enhanced MR Image Storage Instance with shared and per-frame functional groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian

from engines.volume import Volume
from tests.support.header_patterns import HeaderPattern
from tests.support.series_files import (
    DEMO_PATIENT,
    Order,
    Patient,
    decimal,
    direction_cosines,
    new_dataset,
    save,
    set_pixels,
    set_series,
    slice_order,
    uid_from,
)


class DiffusionVolume(NamedTuple):
    """One b-value of a diffusion Series; directionality is NONE, ISOTROPIC or DIRECTIONAL."""

    b_value: float
    directionality: str
    volume: Volume


class _Frame(NamedTuple):
    volume: Volume
    slice_index: int
    diffusion: DiffusionVolume | None


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _one(**attributes: Any) -> DicomSequence:
    return DicomSequence([_item(**attributes)])


_COPIED = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SeriesDescription", "ProtocolName")


def _set_acquisition(ds: Dataset, pattern: HeaderPattern) -> None:
    """Set the equipment, the MR Image and Spectroscopy Instance and the Enhanced MR Image modules."""
    values = pattern.elements()
    for keyword in _COPIED:
        setattr(ds, keyword, values.get(keyword, ""))
    ds.DeviceSerialNumber = "0"
    ds.ImageType = _frame_type(pattern)
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.ComplexImageComponent, ds.AcquisitionContrast = "MAGNITUDE", pattern.contrast
    ds.AcquisitionDateTime, ds.AcquisitionDuration = "20240115090000", 120.0
    ds.ResonantNucleus, ds.KSpaceFiltering = "1H", "NONE"
    ds.MagneticFieldStrength = values.get("MagneticFieldStrength", 1.5)
    ds.ApplicableSafetyStandardAgency, ds.ContentQualification = "IEC", "RESEARCH"
    if ds.ImageType[0] == "ORIGINAL":
        _set_pulse_sequence(ds, pattern)


def _frame_type(pattern: HeaderPattern) -> list[str]:
    """Return the four values of Image Type and Frame Type; what was computed goes into the fourth."""
    values = [str(value) for value in pattern.elements()["ImageType"]]
    contrast = "DIFFUSION" if "DIFFUSION" in values or pattern.contrast == "DIFFUSION" else "M"
    derived = next((value for value in values if value in ("TRACEW", "ADC", "FA")), "NONE")
    return [*values[:2], contrast, derived]


def _set_pulse_sequence(ds: Dataset, pattern: HeaderPattern) -> None:
    """Set the MR Pulse Sequence module, which only original images have."""
    values = pattern.elements()
    scanning = np.atleast_1d(values["ScanningSequence"])
    ds.PulseSequenceName = values.get("SequenceName", pattern.name)[:16]
    ds.MRAcquisitionType = values["MRAcquisitionType"]
    ds.EchoPulseSequence = "GRADIENT" if "GR" in scanning else "SPIN"
    ds.MultipleSpinEcho, ds.MultiPlanarExcitation, ds.PhaseContrast = "NO", "NO", "NO"
    ds.TimeOfFlightContrast, ds.SteadyStatePulseSequence = "NO", "NONE"
    ds.EchoPlanarPulseSequence = "YES" if "EP" in scanning else "NO"
    ds.SaturationRecovery, ds.SpectrallySelectedSuppression = "NO", "NONE"
    ds.OversamplingPhase, ds.GeometryOfKSpaceTraversal = "NONE", "RECTILINEAR"
    ds.RectilinearPhaseEncodeReordering, ds.SegmentedKSpaceTraversal = "LINEAR", "SINGLE"
    ds.NumberOfKSpaceTrajectories = 1
    if ds.MRAcquisitionType == "3D":
        ds.CoverageOfKSpace = "FULL"


def _shared_groups(pattern: HeaderPattern) -> Dataset:
    """Return what all frames have in common: timing, echo, modifiers, coils, averages, anatomy."""
    values = pattern.elements()
    scanning = np.atleast_1d(values["ScanningSequence"])
    inversion = "IR" in scanning or "InversionTime" in values
    modifier = _item(
        InversionRecovery="YES" if inversion else "NO", FlowCompensation="NONE", Spoiling="NONE",
        T2Preparation="NO", SpectrallySelectedExcitation="NONE", SpatialPresaturation="NONE",
        PartialFourier="NO", ParallelAcquisition="NO", MagnetizationTransfer="NONE", BloodSignalNulling="NO",
        Tagging="NONE", TransmitterFrequency=63.67, PixelBandwidth=decimal(values.get("PixelBandwidth", 200)),
    )  # fmt: skip
    if "InversionTime" in values:
        modifier.InversionTimes = [float(values["InversionTime"])]
    region = _item(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning="Brain")
    timing = _item(
        RepetitionTime=decimal(values["RepetitionTime"]), FlipAngle=decimal(values["FlipAngle"]),
        EchoTrainLength=int(values.get("EchoTrainLength", 1)), RFEchoTrainLength=1, GradientEchoTrainLength=1,
    )  # fmt: skip
    timing.OperatingModeSequence = _one(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL")
    timing.SpecificAbsorptionRateSequence = _one(
        SpecificAbsorptionRateDefinition="IEC_HEAD", SpecificAbsorptionRateValue=0.5
    )
    geometry = _item(
        InPlanePhaseEncodingDirection="ROW", MRAcquisitionFrequencyEncodingSteps=128,
        MRAcquisitionPhaseEncodingStepsInPlane=128, PercentSampling="100", PercentPhaseFieldOfView="100",
    )  # fmt: skip
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = DicomSequence([timing])
    shared.MRFOVGeometrySequence = DicomSequence([geometry])
    shared.MREchoSequence = _one(EffectiveEchoTime=float(values["EchoTime"]))
    shared.MRModifierSequence = DicomSequence([modifier])
    shared.MRImagingModifierSequence = DicomSequence([_imaging_modifier(modifier)])
    shared.MRReceiveCoilSequence = _one(
        ReceiveCoilName="HEAD",
        ReceiveCoilManufacturerName="",
        ReceiveCoilType="VOLUME",
        QuadratureReceiveCoil="NO",
    )
    shared.MRTransmitCoilSequence = _one(
        TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    shared.MRAveragesSequence = _one(NumberOfAverages="1")
    shared.FrameAnatomySequence = _one(FrameLaterality="U", AnatomicRegionSequence=DicomSequence([region]))
    shared.MRImageFrameTypeSequence = _one(
        FrameType=_frame_type(pattern),
        PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME", VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE", AcquisitionContrast=pattern.contrast,
    )  # fmt: skip
    return shared


_IMAGING_MODIFIERS = (
    "MagnetizationTransfer", "BloodSignalNulling", "Tagging", "TransmitterFrequency", "PixelBandwidth",
)  # fmt: skip


def _imaging_modifier(modifier: Dataset) -> Dataset:
    """Move the elements that belong to MR Imaging Modifier out of MR Modifier."""
    item = Dataset()
    for keyword in _IMAGING_MODIFIERS:
        setattr(item, keyword, modifier[keyword].value)
        delattr(modifier, keyword)
    return item


def _frame_groups(frame: _Frame, dimension: list[int], slope: float, intercept: float) -> Dataset:
    """Return what one frame alone has: content, plane, rescale and b-value."""
    volume, index, diffusion = frame
    row_cosines, column_cosines = direction_cosines(volume)
    slice_mm, row_mm, column_mm = volume.grid.spacing_mm
    position = volume.grid.to_lps(np.array([[index, 0, 0]]))[0]
    groups = Dataset()
    groups.FrameContentSequence = _one(
        StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=dimension, TemporalPositionIndex=1,
        FrameAcquisitionNumber=1, FrameReferenceDateTime="20240115090000",
        FrameAcquisitionDateTime="20240115090000", FrameAcquisitionDuration=100.0,
    )  # fmt: skip
    groups.PlanePositionSequence = _one(ImagePositionPatient=[decimal(value) for value in position])
    groups.PlaneOrientationSequence = _one(
        ImageOrientationPatient=[decimal(value) for value in (*row_cosines, *column_cosines)]
    )
    groups.PixelMeasuresSequence = _one(
        PixelSpacing=[decimal(row_mm), decimal(column_mm)],
        SliceThickness=decimal(slice_mm),
        SpacingBetweenSlices=decimal(slice_mm),
    )
    groups.PixelValueTransformationSequence = _one(
        RescaleSlope=decimal(slope), RescaleIntercept=decimal(intercept), RescaleType="US"
    )
    groups.FrameVOILUTSequence = _one(WindowCenter="500", WindowWidth="1000")
    if diffusion is not None:
        groups.MRDiffusionSequence = _one(
            DiffusionBValue=float(diffusion.b_value), DiffusionDirectionality=diffusion.directionality
        )
    return groups


def _set_dimensions(ds: Dataset, organization: UID, diffusion: bool) -> None:
    """Declare what the dimension index values count: the place in the stack, then the b-value."""
    pointers = [(0x00209057, 0x00209111)] + ([(0x00189087, 0x00189117)] if diffusion else [])
    ds.DimensionOrganizationSequence = _one(DimensionOrganizationUID=organization)
    ds.DimensionIndexSequence = DicomSequence(
        [
            _item(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=Tag(pointer),
                FunctionalGroupPointer=Tag(group),
            )
            for pointer, group in pointers
        ]
    )


def _frames(volumes: Volume | Sequence[DiffusionVolume], order: Order, seed: int) -> list[_Frame]:
    if isinstance(volumes, Volume):
        return [_Frame(volumes, index, None) for index in slice_order(volumes.grid.shape[0], order, seed)]
    return [
        _Frame(part.volume, index, part)
        for part in volumes
        for index in slice_order(part.volume.grid.shape[0], order, seed)
    ]


def write_enhanced(
    volumes: Volume | Sequence[DiffusionVolume],
    pattern: HeaderPattern,
    path: Path,
    *,
    study_uid: str,
    frame_of_reference_uid: str,
    series_number: int,
    series_uid: str | None = None,
    order: Order = "ascending",
    transfer_syntax: UID = ExplicitVRLittleEndian,
    slopes: Sequence[float] = (1.0,),
    intercept: float = 0.0,
    patient: Patient = DEMO_PATIENT,
    seed: int = 0,
) -> Path:
    """Write one Enhanced MR Instance.

    Args:
        volumes: one volume, or one for each b-value.
        pattern: of a classic Series; its timing and contrast go into functional groups.
        path: the file.
        study_uid: Study Instance UID.
        frame_of_reference_uid: Frame of Reference UID.
        series_number: Series Number.
        series_uid: Series Instance UID; derived from Study and number if None.
        order: of the frames within each volume.
        transfer_syntax: native, RLE, JPEG-LS or JPEG 2000 lossless.
        slopes: Rescale Slope of the frames in turn, starting again after the last.
        intercept: Rescale Intercept of all frames.
        patient: whose name and character set are written.
        seed: of the shuffling.
    """
    series_uid = series_uid or uid_from(study_uid, series_number)
    frames = _frames(volumes, order, seed)
    ds: FileDataset = new_dataset(
        EnhancedMRImageStorage, uid_from(series_uid, "enhanced"), transfer_syntax, patient, study_uid
    )
    set_series(ds, series_uid, frame_of_reference_uid, series_number, 1)
    _set_acquisition(ds, pattern)
    _set_dimensions(ds, uid_from(series_uid, "dimensions"), frames[0].diffusion is not None)
    ds.AcquisitionContextSequence = DicomSequence([])
    ds.PresentationLUTShape, ds.BurnedInAnnotation, ds.LossyImageCompression = "IDENTITY", "NO", "00"
    ds.SharedFunctionalGroupsSequence = DicomSequence([_shared_groups(pattern)])
    frame_slopes = [slopes[place % len(slopes)] for place in range(len(frames))]
    b_values = sorted({frame.diffusion.b_value for frame in frames if frame.diffusion is not None})
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(
        [
            _frame_groups(frame, _dimension(frame, b_values), slope, intercept)
            for frame, slope in zip(frames, frame_slopes, strict=True)
        ]
    )
    ds.NumberOfFrames = len(frames)
    set_pixels(ds, _stored(frames, frame_slopes, intercept), pattern.bits_stored, signed=False)
    del ds.WindowCenter, ds.WindowWidth
    return save(ds, Path(path), transfer_syntax)


def _dimension(frame: _Frame, b_values: Sequence[float]) -> list[int]:
    place = [frame.slice_index + 1]
    return place if frame.diffusion is None else [*place, b_values.index(frame.diffusion.b_value) + 1]


def _stored(frames: Sequence[_Frame], slopes: Sequence[float], intercept: float) -> NDArray[np.float64]:
    """Return (frames, rows, columns) stored values."""
    return np.stack(
        [
            (frame.volume.array[frame.slice_index] - intercept) / slope
            for frame, slope in zip(frames, slopes, strict=True)
        ]
    )
