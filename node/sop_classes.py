"""What the node takes and sends over the network: SOP Classes, and the transfer syntaxes they may come in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

VERIFICATION = UID("1.2.840.10008.1.1")
"""Verification SOP Class: C-ECHO."""

LABEL_MAP_SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage."""

RECEIVED_SOP_CLASSES: tuple[UID, ...] = (
    MRImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
"""All that is received; anything else is refused when the association is negotiated, never dropped later."""

CREATED_SOP_CLASSES: Mapping[UID, str] = MappingProxyType(
    {
        SegmentationStorage: "masks, one Instance for each source Series and one with all segments",
        LABEL_MAP_SEGMENTATION: "the same masks as a label map, where a destination wants that",
        Comprehensive3DSRStorage: "the findings with numbers and reasons",
        SecondaryCaptureImageStorage: "key images: slices with lesions, outlines burned in",
        EncapsulatedPDFStorage: "the findings on one page",
        GrayscaleSoftcopyPresentationStateStorage: "outlines over the source images",
    }
)
"""All that the node makes and sends, and what it holds."""

UNCOMPRESSED: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Transfer syntaxes that every data set can be written in, the preferred one first."""

RECEIVED_TRANSFER_SYNTAXES: tuple[UID, ...] = (
    *UNCOMPRESSED,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
)
"""Lossless only: a lossy encoding changes the grey values that the segmentors read."""


def received_contexts() -> list[PresentationContext]:
    """List the presentation contexts of the receiver: storage of MR, and Verification."""
    storage = [build_context(uid, list(RECEIVED_TRANSFER_SYNTAXES)) for uid in RECEIVED_SOP_CLASSES]
    return [*storage, build_context(VERIFICATION, list(UNCOMPRESSED))]


MASK_SOP_CLASSES = frozenset({SegmentationStorage, LABEL_MAP_SEGMENTATION})
"""The SOP Classes of masks, which may go in a transfer syntax that makes them smaller."""


def sop_class_name(uid: UID) -> str:
    """Return the Standard's name of a SOP Class, also of those that are newer than pydicom's dictionary."""
    return "Label Map Segmentation Storage" if uid == LABEL_MAP_SEGMENTATION else uid.name


def proposed_contexts(
    stored: set[tuple[UID, UID]], smaller: Collection[tuple[UID, UID]] = ()
) -> list[PresentationContext]:
    """List what to propose for sending Instances as they are stored, or uncompressed if they must be.

    Each pair gets a context of its own with the one transfer syntax, so that the peer's choice among several
    can not lead away from the stored bytes; one more context offers the uncompressed syntaxes.

    Args:
        stored: SOP Class UID and transfer syntax UID of the Instances.
        smaller: SOP Class UID and transfer syntax UID of what is offered, too, because it needs less room.
    """
    in_small = [build_context(*pair) for pair in sorted(set(smaller) - stored)]
    as_stored = [build_context(sop_class, syntax) for sop_class, syntax in sorted(stored)]
    uncompressed = [
        build_context(sop_class, syntax)
        for sop_class in sorted({sop_class for sop_class, _ in stored})
        for syntax in UNCOMPRESSED
        if (sop_class, syntax) not in stored
    ]
    return [*as_stored, *uncompressed, *in_small]
