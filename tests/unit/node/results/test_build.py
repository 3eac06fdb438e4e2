from __future__ import annotations

import time
from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.uid import MRImageStorage

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from node.model import FrameReference
from node.results.build import build_results
from node.results.errors import ForeignSourceError, InvalidContextError, MissingSourceError
from node.results.files import encode
from node.results.result_object import ResultObject
from tests.support.phantoms import phantom_grid
from tests.support.result_studies import ResultStudy, context, finding


def test_segmentations_come_before_the_report_that_refers_to_them(results: dict[str, ResultObject]) -> None:
    roles = ["seg-WMH", "seg-LACUNE", "seg-INFARCT", "seg-MICROBLEED", "seg-combined", "sr"]
    assert list(results) == roles


def test_each_result_has_a_series_of_its_own(results: dict[str, ResultObject]) -> None:
    assert len({made.series_uid for made in results.values()}) == len(results)
    assert len({made.sop_instance_uid for made in results.values()}) == len(results)
    assert {made.dataset.InstanceNumber for made in results.values()} == {1}


def test_all_results_are_of_the_source_study(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    assert {made.dataset.StudyInstanceUID for made in results.values()} == {context().study_uid}


def test_equal_arguments_give_equal_bytes(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    again = build_results(study.findings, study.sources, context())
    assert [encode(made) for made in again] == [encode(made) for made in results.values()]


def test_another_fingerprint_gives_other_instances(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    other = build_results(study.findings, study.sources, context(fingerprint="0e" * 32))
    assert not {made.sop_instance_uid for made in other} & {
        made.sop_instance_uid for made in results.values()
    }


def test_time_of_creation_changes_no_uid(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    later = context(created_at=context().created_at.replace(year=2030))
    made = build_results(study.findings, study.sources, later)
    assert [one.sop_instance_uid for one in made] == [one.sop_instance_uid for one in results.values()]


def test_study_without_a_flair_has_no_combined_segmentation(study: ResultStudy) -> None:
    sources = {kind: source for kind, source in study.sources.items() if kind is not SeriesType.T2_FLAIR}
    others = [one for one in study.findings.findings if one.segment is not Segment.WMH]
    found = tuple(replace(one, other_inputs=()) for one in others)
    made = build_results(replace(study.findings, findings=found, combined={}), sources, context())
    assert [one.role for one in made] == ["seg-LACUNE", "seg-INFARCT", "seg-MICROBLEED", "sr"]


def test_study_without_lesions_has_all_results(results_without_lesions: dict[str, ResultObject]) -> None:
    assert list(results_without_lesions) == ["seg-WMH", "seg-LACUNE", "seg-INFARCT", "seg-combined", "sr"]


def test_every_result_says_that_nobody_has_reviewed_it(results: dict[str, ResultObject]) -> None:
    for made in results.values():
        assert "AI result, not reviewed" in made.dataset.SeriesDescription
        assert len(made.dataset.SeriesDescription) <= 64


def test_every_result_names_the_node_that_made_it(results: dict[str, ResultObject]) -> None:
    for made in results.values():
        assert (made.dataset.Manufacturer, made.dataset.ManufacturerModelName) == ("csvd-node", "csvd-node")
        assert (made.dataset.SoftwareVersions, made.dataset.StationName) == ("0.1.0", "reading-room-1")


def test_finding_without_its_source_is_refused(study: ResultStudy) -> None:
    sources = {kind: source for kind, source in study.sources.items() if kind is not SeriesType.T1}
    with pytest.raises(MissingSourceError, match="LACUNE was found on T1") as raised:
        build_results(study.findings, sources, context())
    assert raised.value.study_uid == context().study_uid


def test_combined_masks_without_a_flair_are_refused(study: ResultStudy) -> None:
    sources = {SeriesType.T1: study.sources[SeriesType.T1]}
    (lacune,) = (one for one in study.findings.findings if one.segment is Segment.LACUNE)
    alone = replace(study.findings, findings=(replace(lacune, other_inputs=()),))
    with pytest.raises(MissingSourceError, match="the combined mask was found on T2_FLAIR"):
        build_results(alone, sources, context())


def test_a_second_series_that_the_network_saw_must_have_a_source(study: ResultStudy) -> None:
    sources = {SeriesType.T1: study.sources[SeriesType.T1]}
    found = tuple(one for one in study.findings.findings if one.segment is Segment.LACUNE)
    with pytest.raises(MissingSourceError, match="LACUNE was found on T2_FLAIR"):
        build_results(replace(study.findings, findings=found, combined={}), sources, context())


def test_no_source_at_all_is_refused(study: ResultStudy) -> None:
    with pytest.raises(InvalidContextError, match="no source"):
        build_results(replace(study.findings, findings=(), combined={}), {}, context())


def test_source_of_another_study_is_refused(study: ResultStudy) -> None:
    with pytest.raises(ForeignSourceError):
        build_results(study.findings, study.sources, context(study_uid="1.2.3"))


def test_results_carry_no_trace_of_the_source_files(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    folder = str(next(iter(study.paths.values()))[0].parent).encode()
    assert all(folder not in encode(made) for made in results.values())


def test_results_read_back_with_the_transfer_syntax_they_name(results: dict[str, ResultObject]) -> None:
    for made in results.values():
        read = pydicom.dcmread(BytesIO(encode(made)))
        assert read.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == made.sop_instance_uid
        assert read.file_meta.MediaStorageSOPClassUID == read.SOPClassUID == made.sop_class_uid


def test_four_segments_on_400_slices_take_seconds_at_most(study: ResultStudy) -> None:
    # About half a second of one core; the bound leaves room for a busy machine and none for quadratic work.
    grid = phantom_grid((400, 192, 192), (0.5, 1.2, 1.2))
    base = study.sources[SeriesType.T2_FLAIR]
    frames = tuple(FrameReference(MRImageStorage, f"1.2.3.{number}", None) for number in range(400))
    flair = replace(base, volume=Volume(np.zeros(grid.shape, np.float32), grid), frames=frames)
    mask = np.zeros(grid.shape, dtype=bool)
    mask[:, 60:90, 60:90] = True
    found = finding(Segment.WMH, SeriesType.T2_FLAIR, mask, grid)
    combined = {
        segment: Volume(np.roll(mask, 20 * place, axis=1), grid) for place, segment in enumerate(Segment)
    }
    others = tuple(one for one in study.findings.findings if one.segment is not Segment.WMH)
    findings = StudyFindings((found, *others), (), combined=combined)
    sources = {**study.sources, SeriesType.T2_FLAIR: flair}
    began = time.process_time()
    made = build_results(findings, sources, context())
    sizes = [len(encode(one)) for one in made]
    assert time.process_time() - began < 4
    assert made[4].dataset.NumberOfFrames == 1600
    # 1600 frames of 192 x 192 bits, and less than 700 bytes to say what each is.
    assert sizes[4] < 1600 * (192 * 192 // 8 + 700)
