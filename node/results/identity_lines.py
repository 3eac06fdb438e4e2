"""What pictures and documents say of the patient and the Study, in the letters of the source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.valuerep import PersonName

from node.printable import printable
from node.results.fonts import face_of, with_known_letters
from node.results.source_header import SourceHeader


@dataclass(frozen=True, slots=True)
class IdentityLines:
    """Patient and Study as a reader sees them; what the source lacks is a dash, never invented.

    Attributes:
        name: all representations of the name, the alphabetic one first.
        patient: ID, birth date and sex.
        study: date and accession number.
        face: regional form of the font that fits the source's character set.
    """

    name: str
    patient: str
    study: str
    face: int


LONGEST_SHOWN = 200
"""Characters of a name or identifier in pictures: thrice what a group of a name may have (PS3.5 6.2)."""

NOT_NAMED = "Patient and Study: see the attributes of this object"
"""Shown where identity must not be burned in."""


def identity_lines(patient_and_study: Dataset, is_named: bool = True) -> IdentityLines:
    """Put into words what a result takes over from its source; nothing of it where nobody is named."""
    if not is_named:
        return IdentityLines("", NOT_NAMED, "", face_of(()))

    def value(keyword: str) -> str:
        return _shown(str(patient_and_study.get(keyword) or "").strip())

    sets = patient_and_study.get("SpecificCharacterSet") or ()
    return IdentityLines(
        _shown(_name(patient_and_study)),
        f"ID {value('PatientID')}   born {_date(value('PatientBirthDate'))}   sex {value('PatientSex')}",
        f"Study of {_date(value('StudyDate'))}   accession {value('AccessionNumber')}",
        face_of([sets] if isinstance(sets, str) else sets),
    )


def _shown(text: str) -> str:
    whole = with_known_letters(printable(text[: LONGEST_SHOWN + 1])) or "-"
    return whole if len(text) <= LONGEST_SHOWN else f"{whole[:LONGEST_SHOWN]}..."


def burned_in_annotation(headers: Iterable[SourceHeader], is_named: bool) -> str:
    """Return Burned In Annotation (0028,0301): whether pixels tell patient and date (PS3.3 C.7.6.1).

    Args:
        headers: of the Series whose pixels are shown.
        is_named: whether the node itself writes patient and Study.
    """
    return "YES" if is_named or any(header.has_burned_in_identity for header in headers) else "NO"


def _name(patient_and_study: Dataset) -> str:
    name = patient_and_study.get("PatientName") or ""
    name = name if isinstance(name, PersonName) else PersonName(str(name))
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    return " / ".join(" ".join(group.replace("^", " ").split()) for group in groups if group)


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 and value.isdigit() else value
