"""A Study whose Series contradict each other about the patient: no results, or results that agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from engines.segments import SeriesType
from node.model import SourceVolume
from node.results.build import build_results
from node.results.errors import PatientMismatchError
from node.results.one_patient import headers_of_one_patient
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    context,
    findings_on,
    source_from,
)
from tests.support.series_files import DEMO_PATIENT, JAPANESE_PATIENT, write_series


@pytest.fixture
def sources(tmp_path: Path) -> dict[SeriesType, SourceVolume]:
    """T2-FLAIR and T1 of one patient."""
    made = {}
    for number, kind in enumerate((SeriesType.T2_FLAIR, SeriesType.T1), 1):
        volume = phantom_volume(PhantomKind(kind.value), phantom_grid((4, 16, 16), (9, 12, 12)))
        made[kind] = source_from(
            write_series(
                volume, PATTERN_OF[kind], tmp_path, study_uid=STUDY_UID,
                frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=number,
            )
        )  # fmt: skip
    return made


def change(source: SourceVolume, **values: object) -> None:
    for path in source.paths:
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


def test_series_whose_images_name_two_patients_has_no_results(
    sources: dict[SeriesType, SourceVolume],
) -> None:
    source = sources[SeriesType.T2_FLAIR]
    dataset = pydicom.dcmread(source.paths[2])
    dataset.PatientID = ""
    dataset.save_as(source.paths[2])
    assert results(sources), "an image that names nobody contradicts nothing"
    dataset.PatientID = "ANOTHER"
    dataset.save_as(source.paths[2])
    with pytest.raises(PatientMismatchError, match="PatientID of one image is not that of the first"):
        results(sources)


def results(sources: Mapping[SeriesType, SourceVolume]) -> dict[str, Dataset]:
    made = build_results(findings_on(sources, {}), sources, context())
    return {one.role: one.dataset for one in made}


def differences(sources: Mapping[SeriesType, SourceVolume]) -> tuple[str, ...]:
    return headers_of_one_patient(sources, STUDY_UID)[1]


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientID", "ANOTHER-7"), ("IssuerOfPatientID", "OTHER HOSPITAL")]
)
def test_series_of_different_patients_make_no_results(
    sources: dict[SeriesType, SourceVolume], keyword: str, value: str
) -> None:
    change(sources[SeriesType.T2_FLAIR], IssuerOfPatientID="HOSPITAL")
    change(sources[SeriesType.T1], **{"IssuerOfPatientID": "HOSPITAL", keyword: value})
    with pytest.raises(PatientMismatchError, match=f"{keyword} of T1 is not that of T2-FLAIR") as raised:
        results(sources)
    assert (raised.value.keyword, raised.value.study_uid) == (keyword, STUDY_UID)
    assert not raised.value.retryable
    for said in (value, DEMO_PATIENT.patient_id, DEMO_PATIENT.name):
        assert said not in str(raised.value)


def test_name_that_differs_is_that_of_the_first_series_in_all_results_and_said(
    sources: dict[SeriesType, SourceVolume],
) -> None:
    change(sources[SeriesType.T1], PatientName="PHANTOM^CORRECTED", PatientBirthDate="19510101")
    made = results(sources)
    assert {str(dataset.PatientName) for dataset in made.values()} == {DEMO_PATIENT.name}
    assert {dataset.PatientBirthDate for dataset in made.values()} == {DEMO_PATIENT.birth_date}
    assert differences(sources) == (
        "PatientName, PatientBirthDate of T1 and T2-FLAIR differ; the results carry what T2-FLAIR says",
    )
    assert "CORRECTED" not in str(made["sr"])


def test_name_in_another_character_set_is_the_same_name(sources: dict[SeriesType, SourceVolume]) -> None:
    for kind, character_set in ((SeriesType.T2_FLAIR, "ISO_IR 192"), (SeriesType.T1, ["", "ISO 2022 IR 87"])):
        change(sources[kind], SpecificCharacterSet=character_set, PatientName=JAPANESE_PATIENT.name)
    made = results(sources)
    assert differences(sources) == ()
    assert {dataset.SpecificCharacterSet for dataset in made.values()} == {"ISO_IR 192"}


def test_attribute_that_one_series_lacks_contradicts_nothing(sources: dict[SeriesType, SourceVolume]) -> None:
    change(sources[SeriesType.T1], PatientID="", PatientName="", AccessionNumber="A-1")
    made = results(sources)
    assert {dataset.PatientID for dataset in made.values()} == {DEMO_PATIENT.patient_id}
    assert {dataset.AccessionNumber for dataset in made.values()} == {""}
    assert differences(sources) == ()
