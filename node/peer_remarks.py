"""What a peer remarks beside its status, without what may tell whose the images are.

A PACS that finds two patients under one identifier may quote either of them in its Error Comment (0000,0902).
The one of the Instance is known, and struck out by value. Of the other it is known how names, dates and
identifiers look: a name in DICOM's form, and six digits or more in a word that is no UID. What is left is
kept with the delivery and shown, but neither logged nor measured, for a name can look like any other word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.multival import MultiValue

from node.damaged_files import READING_ERRORS
from node.printable import printable

STRUCK_OUT = "[...]"
"""Stands for what was struck out, so that a reader knows that there was more."""

LONGEST_NUMBER = 5
"""Digits that a word may have: dates have more, and so have most identifiers of patients."""

_NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
)
_IDENTIFIERS = ("PatientID", "OtherPatientIDs", "PatientBirthDate", "AccessionNumber")
_WORD = re.compile(r"[\w.^/-]+")
_UID = re.compile(r"(2\.25\.\d+|\d+(\.\d+){3,})\.?")
_PART = re.compile(r"\w{2,}")


def remark_on(path: Path, remark: str) -> str:
    """Return what a peer remarked on an Instance, as far as it may be kept; control characters are escaped.

    Args:
        path: of the Instance, a Part 10 file.
        remark: the peer's words.
    """
    if not remark:
        return ""
    try:
        wanted = [*_NAMES, *_IDENTIFIERS, "OtherPatientIDsSequence"]
        instance = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        known = set(_identity(instance))
    except READING_ERRORS:
        return STRUCK_OUT
    return printable(without_identity(remark, known))


def without_identity(remark: str, known: set[str]) -> str:
    """Strike out of a remark what is known of the patient, and what looks as if it were of one.

    Args:
        remark: a peer's words.
        known: names and identifiers, in any case.
    """
    for value in sorted(known, key=len, reverse=True):
        remark = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", STRUCK_OUT, remark, flags=re.IGNORECASE)
    return _without_cut_name(_WORD.sub(lambda found: _judged(found[0]), remark), known)


def _without_cut_name(remark: str, known: set[str]) -> str:
    """Strike out the begin of a name at the end: the element has room for 64 characters."""
    *_, last = re.split(r"\W", remark)
    is_cut = len(last) > 1 and any(value.casefold().startswith(last.casefold()) for value in known)
    return remark[: -len(last)] + STRUCK_OUT if is_cut else remark


def _judged(word: str) -> str:
    if _UID.fullmatch(word):
        return word
    is_of_a_patient = "^" in word or sum(sign.isdigit() for sign in word) > LONGEST_NUMBER
    return STRUCK_OUT if is_of_a_patient else word


def _identity(instance: Dataset) -> Iterator[str]:
    """Yield what an Instance tells of its patient; of names the parts, too, which a peer may order anew."""
    others = instance.get("OtherPatientIDsSequence") or ()
    for each in (instance, *others):
        yield from (value for keyword in _IDENTIFIERS for value in _values(each, keyword))
    for keyword in _NAMES:
        for name in _values(instance, keyword):
            yield from (name, *_PART.findall(name))


def _values(dataset: Dataset, keyword: str) -> list[str]:
    """Return what an attribute holds, one value or several, without empty ones."""
    value = dataset.get(keyword)
    return [str(one) for one in (value if isinstance(value, MultiValue) else [value]) if one]
