"""UIDs that follow from what they identify: the same evaluation gives the same UIDs on any machine.

A UID is "2.25." and the decimal value of a version 8 UUID made from a SHA-256 digest.

Source: PS3.5 B.2 (UUID derived UIDs), RFC 9562 5.8 (version 8, custom).
"""

from __future__ import annotations

import hashlib

from pydicom.uid import UID

from engines.findings import ModelIdentity
from engines.segments import Segment
from node.results.context import PRODUCT_NAME, EvaluationContext

_NAMESPACE = "csvd-node results 1"
_VERSION, _VARIANT = 0x8 << 76, 0b10 << 62
_VERSION_MASK, _VARIANT_MASK = 0xF << 76, 0b11 << 62


def derived_uid(*parts: str) -> UID:
    """Return the UID that belongs to these parts, in this order."""
    digest = hashlib.sha256("\0".join((_NAMESPACE, *parts)).encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~_VERSION_MASK & ~_VARIANT_MASK | _VERSION | _VARIANT
    return UID(f"2.25.{number}")


def result_series_uid(context: EvaluationContext, role: str) -> UID:
    """Return the Series Instance UID of the result with this role."""
    return derived_uid("series", context.study_uid, context.fingerprint, role)


def result_instance_uid(context: EvaluationContext, role: str) -> UID:
    """Return the SOP Instance UID of the result with this role."""
    return derived_uid("instance", context.study_uid, context.fingerprint, role)


def dimension_organization_uid(context: EvaluationContext, role: str) -> UID:
    """Return the Dimension Organization UID of the result with this role."""
    return derived_uid("dimension organization", context.study_uid, context.fingerprint, role)


def tracking_uid(context: EvaluationContext, segment: Segment, lesion: int | None = None) -> UID:
    """Return the Tracking UID of a segment, or of one lesion of it."""
    what = "all" if lesion is None else str(lesion)
    return derived_uid("tracking", context.study_uid, context.fingerprint, segment.value, what)


def node_device_uid(context: EvaluationContext) -> UID:
    """Return the Device UID of the node: it changes with its software version and machine."""
    return derived_uid(
        "node", context.manufacturer, PRODUCT_NAME, context.software_version, context.station_name
    )


def model_device_uid(model: ModelIdentity) -> UID:
    """Return the Device UID of a model: it changes with its name, version and weights only."""
    return derived_uid("model", model.name, model.version, model.sha256)
