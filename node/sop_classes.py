"""What the node takes and sends over the network: SOP Classes, and the transfer syntaxes they may come in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEG2000TransferSyntaxes,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    LegacyConvertedEnhancedMRImageStorage,
    MPEGTransferSyntaxes,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import build_context
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import StorageManagementInstance, uid_to_service_class

VERIFICATION = UID("1.2.840.10008.1.1")
"""Verification SOP Class: C-ECHO."""

STORAGE_COMMITMENT = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model SOP Class."""

STORAGE_COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")
"""The well-known Instance that all requests for commitment are made to (PS3.4 J.3)."""

LABEL_MAP_SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage."""

MR_IMAGE_SOP_CLASSES: tuple[UID, ...] = (
    MRImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
"""What is evaluated. All else that a Study holds is received and kept: a sender that is refused a screenshot
may send no more of the Study, and still end the association as if all were well."""

STANDARD_ROOT, STORAGE_ROOT = "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1."
"""What the Standard's UIDs begin with, and those of its SOP Classes that are parts of Studies (PS3.4 B.5)."""

_NO_SOP_CLASSES = frozenset({StorageServiceClass.uid, StorageManagementInstance})
"""UIDs of a service and of an Instance, which look like those of SOP Classes."""

CREATED_SOP_CLASSES: Mapping[UID, str] = MappingProxyType(
    {
        SegmentationStorage: "masks, one Instance for each source Series and one with all segments",
        LABEL_MAP_SEGMENTATION: "the same masks as a label map, where a destination wants that",
        Comprehensive3DSRStorage: "the findings with numbers and reasons",
        SecondaryCaptureImageStorage: "key images: one in words; slices with lesions outlined",
        EncapsulatedPDFStorage: "the findings as a document",
        GrayscaleSoftcopyPresentationStateStorage: "outlines over the source images",
    }
)
"""All that the node makes and sends, and what it holds."""

UNCOMPRESSED: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Transfer syntaxes that every data set can be written in, the preferred one first."""

READ_TRANSFER_SYNTAXES: tuple[UID, ...] = (
    *UNCOMPRESSED,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ExplicitVRBigEndian,
)
"""Those that keep the grey values that the segmentors read, the preferred one first."""

_OTHERS: tuple[UID, ...] = (
    *JPEGTransferSyntaxes,
    *JPEGLSTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
    *MPEGTransferSyntaxes,
)
"""What is received beside these, as files are kept as they come; not those whose pixel data lie elsewhere."""

RECEIVED_TRANSFER_SYNTAXES = tuple(dict.fromkeys((*READ_TRANSFER_SYNTAXES, *_OTHERS)))
"""What is received, the preferred one first."""


def received_contexts(proposed: Iterable[UID]) -> list[PresentationContext]:
    """List which presentation contexts the receiver supports of those SOP Classes that a peer proposes.

    Storage of everything that can be part of a Study, private SOP Classes too, and Verification.
    """
    storage = [_storage_context(uid) for uid in sorted(set(proposed)) if is_stored(uid)]
    return [*storage, build_context(VERIFICATION, list(UNCOMPRESSED))]


def served_as_storage(proposed: Iterable[UID]) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    """Say of the SOP Classes that are taken and unknown to pynetdicom that they are of the Storage Service.

    It would accept their contexts, and abort at the first Instance. Said of one association (PS3.7 D.3.3.6),
    not of all: what peers think of would stay for good.
    """
    unknown = (uid for uid in set(proposed) if is_stored(uid) and uid_to_service_class(uid) is ServiceClass)
    return {uid: _as_storage(uid) for uid in unknown}


def _as_storage(sop_class: UID) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid, item.service_class_uid = sop_class, StorageServiceClass.uid
    return item


def unread_encoding(transfer_syntax: UID) -> str:
    """Name a transfer syntax that images are not read in, as it may have changed grey values; else empty."""
    is_unread = transfer_syntax in _OTHERS and transfer_syntax not in READ_TRANSFER_SYNTAXES
    return transfer_syntax.name if is_unread else ""


def is_stored(sop_class: UID) -> bool:
    """Tell whether Instances of a SOP Class are taken: all that may be part of a Study, private ones too."""
    if not sop_class.startswith(STANDARD_ROOT):
        return True
    if sop_class in _NO_SOP_CLASSES:
        return False
    service = uid_to_service_class(sop_class)
    # Below that root are also services on what is of no Study; what is unknown there is newer.
    return service is StorageServiceClass or (service is ServiceClass and sop_class.startswith(STORAGE_ROOT))


@lru_cache(maxsize=512)
def _storage_context(sop_class: UID) -> PresentationContext:
    return build_context(sop_class, list(RECEIVED_TRANSFER_SYNTAXES))


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
    cannot lead away from the stored bytes; one more context offers the uncompressed syntaxes.

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
