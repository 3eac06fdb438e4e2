"""What a result takes over from its source: patient, Study, Frame of Reference, character set."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import pydicom
from pydicom import Dataset

from node.damaged_files import READING_ERRORS, reason_of
from node.model import SourceVolume
from node.results.errors import ForeignSourceError, MissingAttributeError, SourceUnreadableError

TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Must be there and may be empty: what the source lacks stays empty."""

TYPE_3 = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "PatientBirthTime",
    "OtherPatientNames",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "StudyDescription",
    "ProcedureCodeSequence",
    "IssuerOfAccessionNumberSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
"""Taken over where the source has them, so that the result is filed with its Study."""

SERIES_ATTRIBUTES = ("StudyInstanceUID", "PositionReferenceIndicator")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Lossy compression of the source is never forgotten (PS3.3 C.7.6.1.1.5)."""

_BURNED_IN = "BurnedInAnnotation"


@dataclass(frozen=True, slots=True)
class SourceHeader:
    """The attributes of a source Series that its results repeat.

    Attributes:
        patient_and_study: type 2 attributes, empty where the source lacks them, and those of type 3 it has.
        position_reference_indicator: of the Frame of Reference; may be empty.
        lossy: attributes of lossy compression, if the source has any.
        has_burned_in_identity: whether the source says that its pixels tell whose they are.
    """

    patient_and_study: Dataset
    position_reference_indicator: str
    lossy: Dataset
    has_burned_in_identity: bool = False

    @property
    def was_compressed_with_loss(self) -> bool:
        """Whether the pixels once went through a lossy compression, in whatever syntax they came."""
        return str(self.lossy.get("LossyImageCompression") or "") == "01"


def read_source_header(source: SourceVolume, study_uid: str) -> SourceHeader:
    """Read what results take over from the first file of a source.

    Args:
        source: the volume; its files must still be there.
        study_uid: Study Instance UID of the evaluation.

    Raises:
        ForeignSourceError: if the Series is of another Study.
        MissingAttributeError: if an identifier that results must repeat is missing.
        SourceUnreadableError: if there is no file, or it cannot be read.
    """
    if source.study_uid != study_uid:
        raise ForeignSourceError(study_uid, source.series_uid, source.study_uid)
    _check_identifiers(source)
    try:
        found = _read(source)
        header = SourceHeader(
            _copied(found, TYPE_3, _copied(found, TYPE_2, _empty_type_2())),
            str(found.get("PositionReferenceIndicator") or ""),
            _copied(found, LOSSY, Dataset()),
            str(found.get(_BURNED_IN) or "") == "YES",
        )
        found_in = str(found.get("StudyInstanceUID") or "")
    except READING_ERRORS as error:
        # The error may quote the patient's data: neither log nor traceback may hold it.
        raise SourceUnreadableError(study_uid, source.series_uid, reason_of(error)) from None
    if not found_in:
        raise SourceUnreadableError(study_uid, source.series_uid, "it names no Study")
    if found_in != study_uid:
        raise ForeignSourceError(study_uid, source.series_uid, found_in)
    return header


def read_of_each_file(source: SourceVolume, study_uid: str, keywords: Sequence[str]) -> dict[str, set[str]]:
    """Read which values some attributes have in the files of a source, without empty ones.

    Raises:
        SourceUnreadableError: if a file cannot be read.
    """
    found: dict[str, set[str]] = {keyword: set() for keyword in keywords}
    for path in source.paths:
        try:
            image = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
            for keyword in keywords:
                found[keyword] |= {str(image.get(keyword) or "").strip()} - {""}
        except READING_ERRORS as error:
            raise SourceUnreadableError(study_uid, source.series_uid, reason_of(error)) from None
    return found


def _check_identifiers(source: SourceVolume) -> None:
    identifiers = {
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "FrameOfReferenceUID": source.frame_of_reference_uid,
        "SOPClassUID": all(frame.sop_class_uid for frame in source.frames),
        "SOPInstanceUID": all(frame.sop_instance_uid for frame in source.frames),
    }
    for keyword, value in identifiers.items():
        if not value:
            raise MissingAttributeError(source.study_uid, source.series_uid, keyword)


def _read(source: SourceVolume) -> Dataset:
    if not source.paths:
        raise SourceUnreadableError(source.study_uid, source.series_uid, "it has no files")
    wanted = [*TYPE_2, *TYPE_3, *SERIES_ATTRIBUTES, *LOSSY, _BURNED_IN]
    return pydicom.dcmread(source.paths[0], stop_before_pixels=True, specific_tags=wanted)


def _empty_type_2() -> Dataset:
    empty = Dataset()
    for keyword in TYPE_2:
        setattr(empty, keyword, None)
    return empty


def _copied(source: Dataset, keywords: tuple[str, ...], target: Dataset) -> Dataset:
    """Copy elements, not values: a name keeps the bytes and the character set that it came with."""
    for keyword in keywords:
        if keyword in source:
            target[keyword] = deepcopy(source[keyword])
    return target
