from __future__ import annotations

import pytest
from pydicom.sr import _concepts_dict
from pydicom.sr.coding import Code

from engines.segments import Segment
from node.results import codes
from node.results.segment_concepts import SEGMENT_CONCEPTS

CODES = {name: value for name, value in vars(codes).items() if isinstance(value, Code)}

NOT_IN_PYDICOM = {
    "LACUNAR_INFARCT": "HL7 Europe, morphologic abnormality value set",
    "ACUTE_INFARCT": "HL7 Europe, morphologic abnormality value set",
    "ACUTE_LACUNAR_INFARCTION": "SNOMED CT disorder, public value sets",
    "SILENT_MICRO_HEMORRHAGE": "SNOMED CT disorder, public value sets",
    "QUALITATIVE_EVALUATIONS": "PS3.16 TID 1500 row 12, a UMLS concept",
    "COUNTS": "UCUM annotation",
    "MILLILITER": "UCUM 2.2",
    "PIXELS": "UCUM annotation, PS3.16 TID 1602",
    "ENGLISH": "RFC 5646, PS3.16 CID 5000",
    "SQUARE_MILLIMETER": "UCUM 2.2",
}
"""Codes that pydicom's copies of the context groups and of SNOMED lack, and where they come from."""


def known_meanings(code: Code) -> set[str]:
    entries = _concepts_dict.concepts.get(code.scheme_designator, {}).values()
    return {entry[code.value][0] for entry in entries if code.value in entry}


@pytest.mark.parametrize("name", sorted(set(CODES) - set(NOT_IN_PYDICOM)))
def test_public_code_means_what_the_standard_says(name: str) -> None:
    code = CODES[name]
    if code.scheme_designator == codes.PRIVATE_SCHEME:
        return
    meanings = known_meanings(code)
    assert meanings, f"{code} is in no dictionary; say where it comes from"
    # SNOMED's fully specified names have a longer form of the same words.
    first_word = code.meaning.lower().split()[0].rstrip("s")
    assert any(code.meaning == known or first_word in known.lower() for known in meanings) or name in {
        "MR_BRAIN",
        "NOT_EVALUATED",
    }


def test_list_of_unknown_codes_holds_no_known_one() -> None:
    assert [name for name in NOT_IN_PYDICOM if known_meanings(CODES[name]) == {CODES[name].meaning}] == []


@pytest.mark.parametrize("name", sorted(CODES))
def test_code_fits_its_value_representations(name: str) -> None:
    code = CODES[name]
    assert len(code.value) <= 16  # SH
    assert len(code.scheme_designator) <= 16  # SH
    assert len(code.meaning) <= 64  # LO


def test_no_two_codes_are_the_same() -> None:
    assert len({(code.value, code.scheme_designator) for code in CODES.values()}) == len(CODES)


def test_code_with_two_public_meanings_is_not_used() -> None:
    assert "276219001" not in {code.value for code in CODES.values()}


def test_every_segment_has_its_own_name_type_and_colour() -> None:
    assert len({segment.label for segment in Segment}) == len(Segment)
    concepts = [SEGMENT_CONCEPTS[segment] for segment in Segment]
    for attribute in ("property_type", "finding", "rgb"):
        assert len({getattr(concept, attribute) for concept in concepts}) == len(Segment)
