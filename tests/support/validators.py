"""What the public DICOM validators remark on the node's results, each with the reason why it stays.

One source: the tests let nothing else pass, docs/conformance.md holds the same table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DCIODVFY, PIXELMED = "dciodvfy", "DicomSRValidator"


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
_PRESENCE = "a qualitative evaluation: present or absent; TID 1411 is extensible"

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
        "in Contributing Equipment Sequence, where IHE AI Results asks for it; newer than this dciodvfy",
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
        "on a report that refers to a Label Map Segmentation, a SOP Class newer than this dciodvfy",
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
            ("Finding category", "TID 1411 has it since it names the category; newer than this validator"),
            ("Algorithm Name", "TID 4019, which TID 1411 includes; newer than this validator"),
            ("Algorithm Version", "TID 4019, as above"),
            ("Algorithm Parameters", "TID 4019, as above"),
            ("Algorithm Family", "TID 4019, as above"),
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
