"""What reading a file that is gone or damaged raises, and how it is told without quoting the file."""

from __future__ import annotations

import struct
import zlib

from pydicom.errors import BytesLengthException, InvalidDicomError

READING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise for a file that is gone, cut short or not what it says.

``RuntimeError`` is also ``NotImplementedError``: a transfer syntax that nothing here decodes.
"""

_QUOTES_NOTHING = (AttributeError, RuntimeError)
"""Their text names an attribute that is missing, or a transfer syntax and what decodes it, and no value."""

LONGEST_REASON = 300
"""Characters; a decoder may tell much."""


def is_panic(error: BaseException) -> bool:
    """Tell whether a decoder written in Rust broke off: such an error is none of Python's ``Exception``."""
    return type(error).__module__ == "pyo3_runtime"


def reason_of(error: Exception, *, only_pixels: bool = False) -> str:
    """Say on one line why a file could not be read.

    An error may quote a value that stands in the file, the patient's name for example: then only its kind is
    told.

    Args:
        error: one of ``READING_ERRORS``.
        only_pixels: whether it came of pixels and how they are encoded, which name nobody.
    """
    if isinstance(error, InvalidDicomError):
        return "it is no DICOM file (Part 10)"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    kind = type(error)
    # zlib and struct both call theirs just "error".
    name = kind.__name__ if kind.__name__ != "error" else f"{kind.__module__}.error"
    if only_pixels or isinstance(error, _QUOTES_NOTHING):
        return " ".join(f"{name}: {error}".split())[:LONGEST_REASON]
    return f"it is damaged ({name})"
