"""What is done with a Study, and in which order."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from engines.progress import READING, WRITING, Step
from engines.runners.choice import open_runner
from engines.segmentation import Segmentor
from engines.segments import Segment
from node.assessment import Assessment, Assessor
from node.inventory import StudyInventory
from node.result_files import companions
from node.results.errors import PatientMismatchError
from node.results.forms import DEFAULT_CHOICE
from node.settings import NodeSettings
from tests.support.header_patterns import SIEMENS_FLAIR_TSE, PrivateElement
from tests.support.onnx_models import write_threshold_bundle
from tests.support.phantoms import PhantomKind, phantom_volume
from tests.support.series_files import write_series
from tests.support.small_study import GRID, PATIENT, all_of, study_of, write_study


def without_models(tmp_path: Path) -> Assessor:
    """Identify, read and report, without the minutes that networks take."""
    return Assessor(NodeSettings(root=tmp_path / "node"), {})


def inventory_of(assessor: Assessor, paths: list[Path]) -> StudyInventory:
    (study,) = assessor.identify(paths).studies
    return study


def assess(assessor: Assessor, study: StudyInventory, steps: list[str]) -> Assessment:
    context = assessor.context(study.study_uid, "5f" * 32, datetime(2026, 11, 26, tzinfo=UTC))

    def progress(step: Step) -> None:
        steps.append(step.name)

    return assessor.assess(study, context, progress, lambda _: (DEFAULT_CHOICE,), lambda _: None)


def test_results_bear_the_time_of_the_place_where_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    try:
        midnight = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
        context = without_models(tmp_path).context("1.2.3", "5f" * 32, midnight)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (context.created_at, context.created_at.utcoffset()) == (midnight, timedelta(hours=2))
    assert context.created_at.strftime("%Y%m%d %H%M%S") == "20261127 013000"


def test_nothing_is_computed_of_a_study_that_names_two_patients(tmp_path: Path) -> None:
    flair = write_study(tmp_path, "mixed", ("flair",))["flair"]
    another = replace(PATIENT, patient_id="CSVD-PHANTOM-2")
    paths = [*flair, *write_study(tmp_path / "other", "mixed", ("t1", "dwi"), another)["dwi"]]
    assessor, steps = without_models(tmp_path), list[str]()
    with pytest.raises(PatientMismatchError):
        assess(assessor, inventory_of(assessor, paths), steps)
    assert steps == [READING]


def test_study_of_one_patient_gets_as_far_as_results(tmp_path: Path) -> None:
    paths = all_of(write_study(tmp_path, "one", ("flair", "t1")))
    assessor, steps = without_models(tmp_path), list[str]()
    made = assess(assessor, inventory_of(assessor, paths), steps)
    assert {one.dataset.StudyInstanceUID for one in made.objects} == {study_of("one")}
    assert steps[-1] == WRITING


def test_series_that_lacks_its_last_slices_is_evaluated_and_that_is_said(tmp_path: Path) -> None:
    stated = PrivateElement(0x2001, "Philips Imaging DD 001", 0x18, "SL", 10)
    paths = write_series(
        phantom_volume(PhantomKind.T2_FLAIR, GRID),
        SIEMENS_FLAIR_TSE.with_private(stated),
        tmp_path,
        study_uid=study_of("cut"),
        frame_of_reference_uid=study_of("frame"),
        series_number=1,
    )
    assessor = without_models(tmp_path)
    said = "T2-FLAIR: 3 of 10 slices that the scanner counted are absent at an end"
    whole = assess(assessor, inventory_of(assessor, paths), [])
    assert not any("absent" in remark for remark in whole.findings.remarks)
    cut = assess(assessor, inventory_of(assessor, paths[:-3]), [])
    assert [remark for remark in cut.findings.remarks if remark.startswith(said)]


def test_series_that_was_once_compressed_with_loss_is_evaluated_and_that_is_said(tmp_path: Path) -> None:
    series = write_study(tmp_path, "lossy", ("flair", "t1"))
    for name, stated in (("flair", "01"), ("t1", "00")):
        for path in series[name]:
            dataset = dcmread(path)
            dataset.LossyImageCompression = stated
            dataset.save_as(path)
    assessor = without_models(tmp_path)
    remarks = assess(assessor, inventory_of(assessor, all_of(series)), []).findings.remarks
    assert [remark[:58] for remark in remarks if "with loss" in remark] == [
        "T2-FLAIR: its images were compressed with loss before they"
    ]


def test_what_a_reader_must_know_of_the_kind_of_a_series_is_said(tmp_path: Path) -> None:
    series = write_study(tmp_path, "agent", ("flair", "t1"))
    for path in series["flair"]:
        dataset = dcmread(path)
        dataset.ContrastBolusAgent = "Gadobutrol"
        dataset.save_as(path)
    assessor = without_models(tmp_path)
    remarks = assess(assessor, inventory_of(assessor, all_of(series)), []).findings.remarks
    said = "T2-FLAIR: it was acquired after a contrast agent, which may brighten lesions, vessels and fluid"
    assert said in remarks


def test_report_names_the_series_that_are_reformats_and_calls_types_as_readers_do(tmp_path: Path) -> None:
    reformat = SIEMENS_FLAIR_TSE.but(ImageType=["DERIVED", "SECONDARY", "MPR", "NORM"])
    series = write_study(tmp_path, "reformats", ("t1",))
    paths = write_series(
        phantom_volume(PhantomKind.T2_FLAIR, GRID),
        reformat,
        tmp_path,
        study_uid=study_of("reformats"),
        frame_of_reference_uid=study_of("frame"),
        series_number=7,
        patient=PATIENT,
    )
    bundle = write_threshold_bundle(tmp_path / "wmh", Segment.WMH)
    segmentors = {Segment.WMH: Segmentor(bundle, open_runner(bundle))}
    assessor = Assessor(NodeSettings(root=tmp_path / "node"), segmentors)
    made = assess(assessor, inventory_of(assessor, [*all_of(series), *paths]), [])
    (report,) = (one.dataset for one in made.objects if one.role == "sr")
    said = [str(item.get("TextValue", "")) for item in report.ContentSequence[-1].ContentSequence]
    (why,) = (text for text in said if text.startswith("White matter hyperintensity: not assessed"))
    assert "Series 7 (..." in why
    assert "reformatted image (MPR), not taken as T2-FLAIR: its slices were interpolated" in why
    t1 = dcmread(series["t1"][0])
    taken = f"Series {t1.SeriesNumber} ({t1.SeriesInstanceUID}) was taken for T1 (T1 spin echo): "
    assert any(text.startswith(taken) for text in said)


def test_attributes_of_the_patient_that_differ_are_said_in_every_form(tmp_path: Path) -> None:
    """Also where no DICOM is: terminal, page and JSON."""
    corrected = replace(PATIENT, name="PHANTOM^CORRECTED")
    series = write_study(tmp_path, "corrected", ("flair",))["flair"]
    paths = [*series, *write_study(tmp_path / "other", "corrected", ("t1", "dwi"), corrected)["dwi"]]
    assessor = without_models(tmp_path)
    made = assess(assessor, inventory_of(assessor, paths), [])
    said = "PatientName of DWI b1000 and T2-FLAIR differ; the results carry what T2-FLAIR says"
    (report,) = (one.dataset for one in made.objects if one.role == "sr")
    files = {one.name: one.content.decode() for one in companions(made) if not one.name.endswith(".png")}
    texts = [str(item.get("TextValue", "")) for item in report.ContentSequence[-1].ContentSequence]
    assert said in texts
    assert said in " ".join(files["findings.txt"].split())
    assert said in files["findings.json"]
    assert "CORRECTED" not in f"{texts}{files}"
