"""What writes the precision into an ONNX file, by its version: another one may write another network."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

import onnxruntime

from engines.precision import Precision

OWN_CODE = "typed_onnx.py"
"""The module of this package that does it. It is read, not loaded: packages that it needs may be missing."""


def converter_of(precision: Precision) -> str:
    """Return the versions of what writes a precision; nothing where the bundle's own file is compiled."""
    match precision:
        case Precision.INT8:
            package = f"onnxruntime {onnxruntime.__version__}"
        case Precision.FP16 | Precision.BF16:
            package = f"onnxconverter-common {_version('onnxconverter-common')}"
        case _:
            return ""
    return f"{package}, {OWN_CODE} {_own_digest()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@cache
def _own_digest() -> str:
    return hashlib.sha256((files("engines") / OWN_CODE).read_bytes()).hexdigest()[:12]
