"""Items that many sequences of the Standard share, as data sets.

Source: PS3.3 Table 8.8-1 (Code Sequence Macro), 10.8 (SOP Instance Reference Macro).
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sr.coding import Code


def code_item(code: Code) -> Dataset:
    """Return an item of a code sequence."""
    item = Dataset()
    item.add(DataElement(0x00080100, "SH", code.value))
    item.add(DataElement(0x00080102, "SH", code.scheme_designator))
    item.add(DataElement(0x00080104, "LO", code.meaning))
    return item


def reference_item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Return an item that refers to an Instance."""
    item = Dataset()
    item.add(_uid(0x00081150, sop_class_uid))  # Referenced SOP Class UID
    item.add(_uid(0x00081155, sop_instance_uid))  # Referenced SOP Instance UID
    return item


def _uid(tag: int, value: str) -> DataElement:
    """Return an element whose value is right as it is: looking at it again would cost most of the time."""
    return DataElement(tag, "UI", value, already_converted=True)
