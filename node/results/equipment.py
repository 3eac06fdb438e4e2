"""Who made a result, when: the node in General Equipment, each model in Contributing Equipment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from engines.findings import ModelIdentity
from node.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.results import codes
from node.results.context import PRODUCT_NAME, EvaluationContext
from node.results.macros import code_item
from node.results.source_header import SourceHeader
from node.results.texts import ascii_text
from node.results.uids import model_device_uid, node_device_uid

LONG_STRING, SHORT_STRING, LONG_TEXT, SHORT_TEXT = 64, 16, 10240, 1024
"""Most characters of a value of VR LO, SH, LT and ST."""

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>0\d|1[0-4])(?P<minutes>[0-5]\d)", re.ASCII)
"""A Timezone Offset From UTC that there can be: -1200 to +1400 (PS3.3 C.12.1.1)."""


def stamp(
    dataset: Dataset, header: SourceHeader, context: EvaluationContext, models: Iterable[ModelIdentity]
) -> None:
    """Set patient, Study, equipment and times of a result; its file meta information too.

    Args:
        dataset: a result with its SOP Class and Instance UID.
        header: what it takes over from its source.
        context: by whom and when it was made.
        models: each model that took part; none where no segment was assessed.
    """
    for element in header.patient_and_study:
        dataset[element.tag] = deepcopy(element)
    made = _local_time(context.created_at, header.patient_and_study)
    date, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = date
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = time
    dataset.Manufacturer = ascii_text(context.manufacturer, LONG_STRING)
    dataset.ManufacturerModelName = PRODUCT_NAME
    dataset.SoftwareVersions = ascii_text(context.software_version, LONG_STRING)
    dataset.StationName = ascii_text(context.station_name, SHORT_STRING)
    dataset.DeviceSerialNumber = ascii_text(context.station_name, LONG_STRING)
    dataset.DeviceUID = node_device_uid(context)
    contributions = [_contribution(model, context, made) for model in models]
    if contributions:
        dataset.ContributingEquipmentSequence = contributions
    dataset.file_meta = _file_meta(UID(dataset.SOPClassUID), UID(dataset.SOPInstanceUID))
    dataset.preamble = b"\0" * 128


def _local_time(moment: datetime, patient_and_study: Dataset) -> datetime:
    """Return the moment in the source's time zone if it names one: all times of a data set share it."""
    offset = _OFFSET.fullmatch(str(patient_and_study.get("TimezoneOffsetFromUTC") or ""))
    if offset is None:
        return moment
    away = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"]))
    return moment.astimezone(timezone(-away if offset["sign"] == "-" else away))


def _contribution(model: ModelIdentity, context: EvaluationContext, made: datetime) -> Dataset:
    """Describe a model as IHE AI Results asks: its Device UID changes whenever the model does."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(codes.PROCESSING_EQUIPMENT)]
    item.Manufacturer = ascii_text(context.manufacturer, LONG_STRING)
    item.ManufacturerModelName = ascii_text(model.name, LONG_STRING)
    item.SoftwareVersions = ascii_text(model.version, LONG_STRING)
    item.StationName = ascii_text(context.station_name, SHORT_STRING)
    item.DeviceUID = model_device_uid(model)
    item.ContributionDateTime = made.strftime("%Y%m%d%H%M%S%z")
    item.ContributionDescription = ascii_text(f"SHA-256 {model.sha256}, run by {model.runner}", SHORT_TEXT)
    return item


def private_scheme(context: EvaluationContext) -> Dataset:
    """Return the item of Coding Scheme Identification Sequence that says whose the private codes are."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    item.CodingSchemeName = codes.PRIVATE_SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = ascii_text(context.manufacturer, SHORT_TEXT)
    return item


def _file_meta(sop_class_uid: UID, sop_instance_uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
