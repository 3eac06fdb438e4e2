"""Data elements in Explicit VR Little Endian, for sequences of thousands of items that differ in a few bytes.

Source: PS3.5 7.1.2 (data element structure), 7.5 (items of defined length), A.2.
"""

from __future__ import annotations

import struct

_SHORT, _LONG, _ITEM = struct.Struct("<HH2sH"), struct.Struct("<HH2sHI"), struct.Struct("<HHI")
_LONG_VRS = frozenset({b"OB", b"SQ", b"UT"})
_PADDING = {b"UI": b"\0", b"OB": b"\0"}


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element; a value of odd length is padded as its VR asks."""
    if len(value) % 2:
        value += _PADDING.get(vr, b" ")
    group, number = tag >> 16, tag & 0xFFFF
    if vr in _LONG_VRS:
        return _LONG.pack(group, number, vr, 0, len(value)) + value
    return _SHORT.pack(group, number, vr, len(value)) + value


def item(*elements: bytes) -> bytes:
    """Encode an item of a sequence; its elements must ascend by tag."""
    value = b"".join(elements)
    return _ITEM.pack(0xFFFE, 0xE000, len(value)) + value


def sequence(tag: int, *items: bytes) -> bytes:
    """Encode a sequence of items."""
    return element(tag, b"SQ", b"".join(items))
