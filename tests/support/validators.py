"""What the public DICOM validators remark on the node's results, each with the reason why it stays.

One source: the tests let nothing else pass, docs/conformance.md holds the same table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DCIODVFY, DCENTVFY, PIXELMED = "dciodvfy", "dcentvfy", "DicomSRValidator"


@dataclass(frozen=True, slots=True)
class Remark:
    """One kind of remark.

    Attributes:
        said_by: the validator.
        text: what its line contains.
        reason: why results are left as they are.
    """

    said_by: str
    text: str
    reason: str


_EXTENSIBLE = "TID 1411 is extensible: an object may add content items (PS3.16 6.2.4)"
_PRESENCE = "a qualitative evaluation, for which TID 1411 has rows that are newer than this validator (2022)"
_ONCE_A_GROUP = (
    "TID 4019, which the Standard has under each number (TID 1419, row 20); here once for a whole group, as "
    "dcmqi and highdicom write it, too. TID 1411 is extensible"
)

REMARKS: tuple[Remark, ...] = (
    Remark(
        DCIODVFY,
        "Missing attribute or value that would be needed to build DICOMDIR - Study ID",
        "the source has none, and none is invented",
    ),
    Remark(
        DCIODVFY,
        "Unrecognized defined term <99CSVD> for value 1 of attribute <Coding Scheme Designator>",
        "a private scheme, identified in Coding Scheme Identification Sequence; such terms may be extended",
    ),
    Remark(
        DCIODVFY,
        "Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID",
        "type 3 in Contributing Equipment Sequence (PS3.3 C.12.1), where IHE AI Results asks for it; "
        "no dciodvfy up to September 2026 knows it there",
    ),
    Remark(
        DCIODVFY,
        "Dicom dataset contains attributes not present in standard DICOM IOD",
        "follows from the Device UID",
    ),
    Remark(
        DCIODVFY,
        "Shall not be present for Referenced SOP Class that is not segmentation - attribute "
        "<ReferencedSegmentNumber>",
        "on a report that refers to a Label Map Segmentation, which no dciodvfy up to September 2026 "
        "counts among Segmentations here, though the latest knows the SOP Class",
    ),
    Remark(
        DCENTVFY,
        "Different information entities for attribute - Element=<AccessionNumber> IE <Study> versus <Series>",
        "of a report; Accession Number is of the Study in both (PS3.3 C.7.2.1), and the values are equal",
    ),
    Remark(
        PIXELMED,
        'Code (24590-2,LN,"MR Brain") not found in context group 100',
        "CID 100 is a baseline group (BCID), extensible, and has no code for MR of the brain; a term for a "
        "new concept may be added (PS3.16 7.2.3), and its code for MR of any region would say less",
    ),
    *(
        Remark(PIXELMED, f'"{meaning}"): Content Item not in template', reason)
        for meaning, reason in (
            ("Finding category", "a row of TID 1411 that is newer than this validator (2022)"),
            ("Algorithm Name", _ONCE_A_GROUP),
            ("Algorithm Version", "as Algorithm Name"),
            ("Algorithm Parameters", "as Algorithm Name"),
            ("Algorithm Family", "as Algorithm Name"),
            ("White Matter T2 Hyperintensity", _PRESENCE),
            ("Lacunar infarct", _PRESENCE),
            ("Acute lacunar infarction", _PRESENCE),
            ("Center", _EXTENSIBLE),
            ("Source", "the image a point is SELECTED FROM, of which a SCOORD says more than the template"),
            ("Where the summary is shown, not a lesion", _EXTENSIBLE),
            ("Size Descriptor", _EXTENSIBLE),
            ("Diameter within limits of method", _EXTENSIBLE),
            ("Comment", _EXTENSIBLE),
        )
    ),
)


def unknown_remarks(said_by: str, lines: Iterable[str]) -> set[str]:
    """Return the lines that no remark of a validator explains."""
    known = [remark.text for remark in REMARKS if remark.said_by == said_by]
    return {line for line in lines if not any(text in line for text in known)}
