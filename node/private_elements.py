"""Private elements by creator, wherever their block lies, and also if their VR was lost on the way."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag

from node.damaged_files import READING_ERRORS
from node.printable import printable

_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF
_BINARY_FORMATS = {"FD": "d", "FL": "f", "US": "H", "SS": "h", "UL": "I", "SL": "i"}


class PrivateBlocks:
    """The private blocks of one data set (not of its sequences), found once and then looked up.

    Some de-identification removes the creators and leaves their elements: if a group names no creator at
    all, its first block, 0x10, is taken for the one asked for, which is where scanners put theirs.

    Source: PS3.5 7.8.1.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._blocks: dict[int, dict[str, int]] = defaultdict(dict)
        for tag in dataset.keys():  # noqa: SIM118 - iterating the data set itself converts every element
            group, element = int(tag) >> 16, int(tag) & 0xFFFF
            if group % 2 and _FIRST_BLOCK <= element <= _LAST_BLOCK:
                creator = self._get(tag)
                self._blocks[group].setdefault("" if creator is None else str(creator.value).strip(), element)

    def element(self, group: int, offset: int, creator: str) -> DataElement | None:
        """Find the element with this low byte in the block that the creator reserved."""
        blocks = self._blocks.get(group, {})
        if blocks and creator not in blocks:
            return None
        return self._get(Tag(group, blocks.get(creator, _FIRST_BLOCK) << 8 | offset))

    def _get(self, tag: BaseTag) -> DataElement | None:
        """Return an element, None if it is absent or no value of its VR: pydicom converts on access."""
        try:
            return self._dataset.get(tag)
        except READING_ERRORS:
            return None

    def numbers(self, group: int, offset: int, creator: str, vr: str) -> tuple[float, ...]:
        """Return an element's numbers, none if it is absent or unreadable.

        Args:
            group: odd group number.
            offset: low byte of the element number.
            creator: value of the creator element.
            vr: what the vendor documents; used if the element came as UN.
        """
        found = self.element(group, offset, creator)
        if found is None or found.value is None:
            return ()
        try:
            return _decode_numbers(found.value, vr)
        except (TypeError, ValueError, struct.error):
            return ()

    def texts(self, group: int, offset: int, creator: str) -> tuple[str, ...]:
        """Return an element's texts without the empty ones, also if it came as UN."""
        found = self.element(group, offset, creator)
        if found is None or found.value is None:
            return ()
        return tuple(text for text in _split(found.value) if text)

    def items(self, group: int, offset: int, creator: str) -> Sequence[Dataset]:
        """Return the items of a private sequence."""
        found = self.element(group, offset, creator)
        return found.value if found is not None and found.VR == "SQ" and found.value else ()

    def item(self, group: int, offset: int, creator: str) -> Dataset | None:
        """Return the first item of a private sequence."""
        return next(iter(self.items(group, offset, creator)), None)


def _decode_numbers(value: object, vr: str) -> tuple[float, ...]:
    if isinstance(value, bytes) and vr in _BINARY_FORMATS:
        code = _BINARY_FORMATS[vr]
        count = len(value) // struct.calcsize(code)
        return struct.unpack_from(f"<{count}{code}", value)
    return tuple(float(text) for text in _split(value) if text)


def _split(value: object) -> tuple[str, ...]:
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip("\x00 ").split("\\")
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        value = [value]
    return tuple(printable(str(part).strip()) for part in value)
