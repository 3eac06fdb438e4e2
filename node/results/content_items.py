"""SR content items, built from data elements directly: a report of hundreds of lesions takes milliseconds.

Source: PS3.3 C.17.3 (SR Document Content), C.18 (value types), Table 8.8-1 (code sequence).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
SELECTED_FROM = "SELECTED FROM"

_DECIMALS = 6
"""A voxel of 0.3 mm edges is 2.7e-5 ml: fewer decimals would call it nothing."""


def code_item(code: Code) -> Dataset:
    """Return an item of a code sequence."""
    item = Dataset()
    for element in _code_elements(code):
        item.add(element)
    return item


@lru_cache(maxsize=256)
def _code_elements(code: Code) -> tuple[DataElement, ...]:
    return (
        DataElement(0x00080100, "SH", code.value),
        DataElement(0x00080102, "SH", code.scheme_designator),
        DataElement(0x00080104, "LO", code.meaning),
    )


def container(
    name: Code,
    content: Sequence[Dataset],
    relationship: str | None = CONTAINS,
    template: str | None = None,
) -> Dataset:
    """Return a CONTAINER; the root has no relationship."""
    item = _item("CONTAINER", name, relationship)
    item.add(_element(0x0040A050, "CS", "SEPARATE"))  # Continuity Of Content
    if template:
        identification = Dataset()
        identification.MappingResource, identification.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [identification]
    if content:
        item.add(_sequence(0x0040A730, content))  # Content Sequence
    return item


def code(name: Code, value: Code, relationship: str = CONTAINS) -> Dataset:
    """Return a CODE."""
    item = _item("CODE", name, relationship)
    item.add(_sequence(0x0040A168, [code_item(value)]))  # Concept Code Sequence
    return item


def text(name: Code, value: str, relationship: str = CONTAINS) -> Dataset:
    """Return a TEXT."""
    item = _item("TEXT", name, relationship)
    item.add(_element(0x0040A160, "UT", value))  # Text Value
    return item


def uid_reference(name: Code, value: str, relationship: str = CONTAINS) -> Dataset:
    """Return a UIDREF."""
    item = _item("UIDREF", name, relationship)
    item.add(_element(0x0040A124, "UI", value))  # UID
    return item


def number(
    name: Code,
    value: float,
    unit: Code,
    modifiers: Sequence[Dataset] = (),
    relationship: str = CONTAINS,
) -> Dataset:
    """Return a NUM with the content items that modify it."""
    item = _item("NUM", name, relationship)
    measured = Dataset()
    digits = str(value) if isinstance(value, int) else format_number_as_ds(round(value, _DECIMALS))
    measured.add(DataElement(0x0040A30A, "DS", digits))  # Numeric Value
    measured.add(_sequence(0x004008EA, [code_item(unit)]))  # Measurement Units Code Sequence
    item.add(_sequence(0x0040A300, [measured]))  # Measured Value Sequence
    if modifiers:
        item.add(_sequence(0x0040A730, modifiers))
    return item


def image(
    name: Code,
    sop_class_uid: str,
    sop_instance_uid: str,
    frames: Sequence[int] = (),
    relationship: str = CONTAINS,
) -> Dataset:
    """Return an IMAGE; without frame numbers the whole Instance is meant."""
    reference = reference_item(sop_class_uid, sop_instance_uid)
    if frames:
        reference.add(DataElement(0x00081160, "IS", list(frames)))  # Referenced Frame Number
    return _image(name, reference, relationship)


def segment(name: Code, sop_class_uid: str, sop_instance_uid: str, segment_number: int) -> Dataset:
    """Return an IMAGE that refers to one segment of a Segmentation."""
    reference = reference_item(sop_class_uid, sop_instance_uid)
    reference.add(DataElement(0x0062000B, "US", segment_number))  # Referenced Segment Number
    return _image(name, reference)


def point(name: Code, column_row: tuple[float, float], shown_on: Dataset) -> Dataset:
    """Return a SCOORD of one point on an image.

    Args:
        name: what lies there.
        column_row: from the upper left corner of the upper left pixel, whose centre is (0.5, 0.5).
        shown_on: the image, an IMAGE that the point is SELECTED FROM.
    """
    item = _item("SCOORD", name, CONTAINS)
    item.add(DataElement(0x00700022, "FL", [round(float(value), 3) for value in column_row]))  # Graphic Data
    item.add(_element(0x00700023, "CS", "POINT"))  # Graphic Type
    item.add(_sequence(0x0040A730, [shown_on]))
    return item


def point_3d(name: Code, lps_mm: Sequence[float], frame_of_reference_uid: str) -> Dataset:
    """Return a SCOORD3D of one point in patient space, mm."""
    item = _item("SCOORD3D", name, CONTAINS)
    item.add(DataElement(0x00700022, "FL", [round(float(value), 3) for value in lps_mm]))  # Graphic Data
    item.add(_element(0x00700023, "CS", "POINT"))  # Graphic Type
    item.add(_element(0x30060024, "UI", frame_of_reference_uid))  # Referenced Frame of Reference UID
    return item


def reference_item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that refers to an Instance."""
    reference = Dataset()
    reference.add(_element(0x00081150, "UI", sop_class_uid))  # Referenced SOP Class UID
    reference.add(_element(0x00081155, "UI", sop_instance_uid))  # Referenced SOP Instance UID
    return reference


def _item(value_type: str, name: Code, relationship: str | None) -> Dataset:
    item = Dataset()
    if relationship:
        item.add(_element(0x0040A010, "CS", relationship))  # Relationship Type
    item.add(_element(0x0040A040, "CS", value_type))  # Value Type
    item.add(_sequence(0x0040A043, [code_item(name)]))  # Concept Name Code Sequence
    return item


def _image(name: Code, reference: Dataset, relationship: str = CONTAINS) -> Dataset:
    item = _item("IMAGE", name, relationship)
    item.add(_sequence(0x00081199, [reference]))  # Referenced SOP Sequence
    return item


def _element(tag: int, vr: str, value: str) -> DataElement:
    """Return an element whose value is right as it is: looking at it again would cost most of the time."""
    return DataElement(tag, vr, value, already_converted=True)


def _sequence(tag: int, items: Sequence[Dataset]) -> DataElement:
    return DataElement(tag, "SQ", DicomSequence(items), already_converted=True)
