"""SR content items, encoded from the start: a report of hundreds of lesions takes milliseconds.

Each is an item of a Content Sequence in Explicit VR Little Endian; its elements ascend by tag.

Source: PS3.3 C.17.3 (SR Document Content), C.18 (value types), Table 8.8-1 (code sequence).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NewType

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

from node.results.explicit_vr import (
    code_sequence,
    element,
    encoded_sequence,
    instance_reference,
    item,
    sequence,
    text_element,
)
from node.results.macros import code_item

ContentItem = NewType("ContentItem", bytes)
"""One content item with all below it, encoded."""

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
SELECTED_FROM = "SELECTED FROM"
INFERRED_FROM = "INFERRED FROM"

_CONTENT_SEQUENCE = 0x0040A730
_DECIMALS = 6
"""A voxel of 0.3 mm edges is 2.7e-5 ml: fewer decimals would call it nothing."""


def document(name: Code, content: Sequence[ContentItem], template: str) -> Dataset:
    """Return a data set whose content tree has a CONTAINER as its root."""
    root = Dataset()
    root.ValueType, root.ContinuityOfContent = "CONTAINER", "SEPARATE"
    root.ConceptNameCodeSequence = [code_item(name)]
    identification = Dataset()
    identification.MappingResource, identification.TemplateIdentifier = "DCMR", template
    root.ContentTemplateSequence = [identification]
    root[_CONTENT_SEQUENCE] = encoded_sequence(_CONTENT_SEQUENCE, content)
    return root


def container(
    name: Code,
    content: Sequence[ContentItem],
    relationship: str = CONTAINS,
    template: str | None = None,
) -> ContentItem:
    """Return a CONTAINER."""
    return ContentItem(
        item(
            _head("CONTAINER", name, relationship),
            text_element(0x0040A050, b"CS", "SEPARATE"),  # Continuity Of Content
            _template(template) if template else b"",
            _content(content),
        )
    )


@lru_cache(maxsize=256)
def code(name: Code, value: Code, relationship: str = CONTAINS) -> ContentItem:
    """Return a CODE."""
    # Concept Code Sequence
    return ContentItem(item(_head("CODE", name, relationship), code_sequence(0x0040A168, value)))


def text(name: Code, value: str, relationship: str = CONTAINS) -> ContentItem:
    """Return a TEXT."""
    # Text Value
    return ContentItem(item(_head("TEXT", name, relationship), text_element(0x0040A160, b"UT", value)))


def uid_reference(name: Code, value: str, relationship: str = CONTAINS) -> ContentItem:
    """Return a UIDREF."""
    # UID
    return ContentItem(item(_head("UIDREF", name, relationship), text_element(0x0040A124, b"UI", value)))


def number(
    name: Code,
    value: float,
    unit: Code,
    modifiers: Sequence[ContentItem] = (),
    relationship: str = CONTAINS,
) -> ContentItem:
    """Return a NUM with the content items that modify it, or that it was inferred from."""
    digits = str(value) if isinstance(value, int) else format_number_as_ds(round(value, _DECIMALS))
    measured = item(
        code_sequence(0x004008EA, unit),  # Measurement Units Code Sequence
        text_element(0x0040A30A, b"DS", digits),  # Numeric Value
    )
    return ContentItem(
        item(
            _head("NUM", name, relationship),
            sequence(0x0040A300, measured),  # Measured Value Sequence
            _content(modifiers),
        )
    )


def image(
    name: Code,
    sop_class_uid: str,
    sop_instance_uid: str,
    frames: Sequence[int] = (),
    relationship: str = CONTAINS,
) -> ContentItem:
    """Return an IMAGE; without frame numbers the whole Instance is meant."""
    # Referenced Frame Number
    numbers = text_element(0x00081160, b"IS", *map(str, frames)) if frames else b""
    return _image(name, instance_reference(sop_class_uid, sop_instance_uid) + numbers, relationship)


def segment(name: Code, sop_class_uid: str, sop_instance_uid: str, segment_number: int) -> ContentItem:
    """Return an IMAGE that refers to one segment of a Segmentation."""
    # Referenced Segment Number
    wanted = element(0x0062000B, b"US", struct.pack("<H", segment_number))
    return _image(name, instance_reference(sop_class_uid, sop_instance_uid) + wanted, CONTAINS)


def point(name: Code, column_row: tuple[float, float], shown_on: ContentItem) -> ContentItem:
    """Return a SCOORD of one point on an image.

    Args:
        name: what lies there.
        column_row: from the upper left corner of the upper left pixel, whose centre is (0.5, 0.5).
        shown_on: the image, an IMAGE that the point is SELECTED FROM.
    """
    return ContentItem(item(_head("SCOORD", name, CONTAINS), _content([shown_on]), _graphic(column_row)))


def point_3d(
    name: Code, lps_mm: Sequence[float], frame_of_reference_uid: str, relationship: str = CONTAINS
) -> ContentItem:
    """Return a SCOORD3D of one point in patient space, mm."""
    return ContentItem(
        item(
            _head("SCOORD3D", name, relationship),
            _graphic(lps_mm),
            text_element(0x30060024, b"UI", frame_of_reference_uid),  # Referenced Frame of Reference UID
        )
    )


@lru_cache(maxsize=256)
def _head(value_type: str, name: Code, relationship: str) -> bytes:
    return b"".join(
        (
            text_element(0x0040A010, b"CS", relationship),  # Relationship Type
            text_element(0x0040A040, b"CS", value_type),  # Value Type
            code_sequence(0x0040A043, name),  # Concept Name Code Sequence
        )
    )


def _template(identifier: str) -> bytes:
    """Encode the Content Template Sequence of a template of the Standard."""
    mapping = text_element(0x00080105, b"CS", "DCMR"), text_element(0x0040DB00, b"CS", identifier)
    return sequence(0x0040A504, item(*mapping))


def _content(items: Sequence[ContentItem]) -> bytes:
    return sequence(_CONTENT_SEQUENCE, *items) if items else b""


def _graphic(point: Sequence[float]) -> bytes:
    """Encode Graphic Data and Graphic Type of one point."""
    values = struct.pack(f"<{len(point)}f", *(round(float(value), 3) for value in point))
    return element(0x00700022, b"FL", values) + text_element(0x00700023, b"CS", "POINT")


def _image(name: Code, reference: bytes, relationship: str) -> ContentItem:
    # An IMAGE has its Referenced SOP Sequence before what all content items begin with.
    return ContentItem(item(sequence(0x00081199, item(reference)), _head("IMAGE", name, relationship)))
