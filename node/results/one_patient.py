"""One patient for all results of a Study, also where its Series contradict each other.

Results that are filed under another patient are worse than none. If Patient ID or its issuer differ, between
Series or within one, there are no results. If other attributes of patient or Study differ (a name that was
corrected between two Series), all results carry those of the first Series, and the report names which
attributes differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engines.segments import SeriesType
from node.model import SourceVolume
from node.results.errors import PatientMismatchError
from node.results.source_header import TYPE_2, SourceHeader, read_of_each_file, read_source_header

IDENTIFIERS = ("PatientID", "IssuerOfPatientID")
"""What tells patients apart; the same Patient ID of two issuers means two patients (PS3.3 C.7.1.1)."""

_COMPARED = tuple(dict.fromkeys((*IDENTIFIERS, *TYPE_2, "PatientBirthTime", "PatientIdentityRemoved")))


def headers_of_one_patient(
    sources: Mapping[SeriesType, SourceVolume], study_uid: str
) -> tuple[dict[SeriesType, SourceHeader], tuple[str, ...]]:
    """Return the headers with patient and Study of the first, and sentences on what differed.

    Args:
        sources: the source Series; their files must still be there.
        study_uid: Study Instance UID of the evaluation.

    Raises:
        PatientMismatchError: if the Series, or the images of one, name different patients.
        ResultError: if one lacks what results must repeat, or cannot be read.
    """
    headers = {kind: read_source_header(source, study_uid) for kind, source in sources.items()}
    for kind, source in sources.items():
        _check_series(kind, source, study_uid)
    ordered = [kind for kind in SeriesType if kind in headers]
    first, *others = ordered
    remarks = []
    for kind in others:
        differing = _differing(headers[first], headers[kind])
        for keyword in IDENTIFIERS:
            if keyword in differing:
                raise PatientMismatchError(study_uid, keyword, first.label, kind.label)
        if differing:
            remarks.append(
                f"{', '.join(differing)} of {kind.label} and {first.label} differ; "
                f"the results carry what {first.label} says"
            )
    shared = headers[first].patient_and_study
    return {kind: replace(headers[kind], patient_and_study=shared) for kind in ordered}, tuple(remarks)


def _check_series(kind: SeriesType, source: SourceVolume, study_uid: str) -> None:
    """Check that all images of a Series name one patient; one that names none contradicts nothing."""
    for keyword, values in read_of_each_file(source, study_uid, IDENTIFIERS).items():
        if len(values) > 1:
            raise PatientMismatchError(study_uid, keyword, f"the first of {kind.label}", "one image")


def _differing(one: SourceHeader, other: SourceHeader) -> list[str]:
    """Name the attributes that both state, and not alike; one that is empty contradicts nothing."""
    stated = {keyword: (_stated(one, keyword), _stated(other, keyword)) for keyword in _COMPARED}
    return [keyword for keyword, values in stated.items() if all(values) and values[0] != values[1]]


def _stated(header: SourceHeader, keyword: str) -> str:
    return str(header.patient_and_study.get(keyword) or "").strip()
