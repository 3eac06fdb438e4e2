"""Studies and their Segmentations become a data set that training reads, without what names a patient."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from engines.exclusion import disjoint
from engines.segments import Segment, SeriesType
from engines.volume import Volume
from node.cli import app
from node.dataset_export import DatasetExportError, DatasetTerms, ExportedStudy, export_dataset
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form, FormChoice, Masks
from node.settings import NodeSettings
from tests.support import header_patterns as patterns
from tests.support.phantoms import DEMO_PATIENT, PhantomKind, phantom_grid, phantom_volume, write_mosaic
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    SERIES_OF,
    STUDY_UID,
    ResultStudy,
    context,
    findings_on,
    four_series,
    source_from,
)
from tests.support.series_files import write_series
from training.cases import Case
from training.sources import Sources

TERMS = DatasetTerms("ward", "ethics approval 2026-17", "our PACS")


def export(folders: Iterable[Path], output: Path, root: Path) -> list[ExportedStudy]:
    return list(export_dataset(list(folders), output, TERMS, NodeSettings(root=root)))


def write_segmentations(study: ResultStudy, folder: Path, form: Form = Form.BINARY, minutes: int = 0) -> None:
    told = context(created_at=context().created_at + timedelta(minutes=minutes))
    choice = FormChoice(frozenset({form}), Masks.BOTH)
    findings = replace(study.findings, combined=disjoint(study.findings.combined))
    write_results(build_results(findings, study.sources, told, [choice]), folder)


@contextmanager
def edited(path: Path) -> Iterator[Dataset]:
    """Change elements of a file, as another program would have written them."""
    dataset = dcmread(path)
    yield dataset
    dataset.save_as(path)


def read(output: Path, segment: Segment) -> Case:
    (case,) = Sources(output, None).real(segment)
    return case


def in_lps(mask: Volume) -> np.ndarray:
    """Return the marked voxels' centres, sorted, LPS mm: arrays of the two sides may run in other orders."""
    points = np.round(mask.grid.to_lps(np.argwhere(mask.array)), 1) + 0.0
    return points[np.lexsort(points.T)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ResultStudy:
    return four_series(tmp_path_factory.mktemp("study") / "dicom")


def folder_of(study: ResultStudy) -> Path:
    return next(iter(study.paths.values()))[0].parent


@pytest.mark.parametrize("form", [Form.BINARY, Form.FRACTIONAL, Form.LABELMAP])
def test_training_reads_what_was_drawn_in_any_encoding(
    study: ResultStudy, form: Form, tmp_path: Path
) -> None:
    write_segmentations(study, tmp_path / "seg", form)
    (one,) = export([folder_of(study), tmp_path / "seg"], tmp_path / "out", tmp_path)
    assert one == ExportedStudy(STUDY_UID, "p001/s01", SERIES_OF)
    for finding in study.findings.findings:
        case = read(tmp_path / "out", finding.segment)
        np.testing.assert_allclose(in_lps(case.masks[finding.segment]), in_lps(finding.mask), atol=0.11)
        volume = study.sources[finding.series_type].volume
        assert case.volumes[finding.series_type].array.sum() == pytest.approx(volume.array.sum(), rel=1e-6)
        assert case.provenance.patient == "ward_p001"


def test_nothing_that_names_a_patient_goes_along(study: ResultStudy, tmp_path: Path) -> None:
    write_segmentations(study, tmp_path / "seg")
    export([folder_of(study), tmp_path / "seg"], tmp_path / "out", tmp_path)
    told = b"".join(str(path).encode() + path.read_bytes() for path in (tmp_path / "out").rglob("*.yaml"))
    for word in (DEMO_PATIENT.patient_id, DEMO_PATIENT.name.split("^")[0], STUDY_UID):
        assert word.encode() not in told
    names = {path.name for path in (tmp_path / "out" / "p001" / "s01").iterdir()}
    assert names == {f"{one.value.lower()}.nii.gz" for one in (*SeriesType, *Segment)}


def test_a_later_correction_counts(study: ResultStudy, tmp_path: Path) -> None:
    corrected = findings_on(study.sources, {Segment.WMH: [((30.0, 20.0, 10.0), 12.0)]})
    write_segmentations(ResultStudy(corrected, study.sources), tmp_path / "a", minutes=5)
    write_segmentations(study, tmp_path / "b")
    export([folder_of(study), tmp_path / "a", tmp_path / "b"], tmp_path / "out", tmp_path)
    wanted = next(one.mask for one in corrected.findings if one.segment is Segment.WMH)
    np.testing.assert_allclose(
        in_lps(read(tmp_path / "out", Segment.WMH).masks[Segment.WMH]), in_lps(wanted), atol=0.11
    )


def test_a_mosaic_becomes_a_volume(tmp_path: Path) -> None:
    volume = phantom_volume(PhantomKind.DWI_B1000, phantom_grid((12, 48, 48), (6.0, 4.0, 4.0)))
    path = write_mosaic(
        volume, patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path / "dicom" / "m.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=3,
    )  # fmt: skip
    sources = {SeriesType.DWI_B1000: source_from([path])}
    study = ResultStudy(findings_on(sources), sources)
    write_segmentations(study, tmp_path / "seg")
    (one,) = export([tmp_path / "dicom", tmp_path / "seg"], tmp_path / "out", tmp_path)
    assert one.labels == {Segment.INFARCT: SeriesType.DWI_B1000}
    case = read(tmp_path / "out", Segment.INFARCT)
    assert case.volumes[SeriesType.DWI_B1000].grid.shape == (12, 48, 48)
    np.testing.assert_allclose(
        in_lps(case.masks[Segment.INFARCT]), in_lps(study.findings.findings[0].mask), atol=0.11
    )


def test_on_one_grid_the_series_that_it_refers_to_counts(tmp_path: Path) -> None:
    """T1 and T2-FLAIR planned alike, as hospitals do: only the reference tells what was drawn on."""
    grid = phantom_grid((10, 64, 64), (14.0, 3.4, 3.4))
    paths = {}
    for number, (kind, pattern) in enumerate(PATTERN_OF.items(), start=1):
        paths[kind] = write_series(
            phantom_volume(PhantomKind(kind.value), grid), pattern, tmp_path / "dicom", study_uid=STUDY_UID,
            frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=number,
        )  # fmt: skip
    sources = {kind: source_from(files) for kind, files in paths.items()}
    write_segmentations(ResultStudy(findings_on(sources), sources), tmp_path / "seg")
    (one,) = export([tmp_path / "dicom", tmp_path / "seg"], tmp_path / "out", tmp_path)
    assert one.labels == SERIES_OF
    for path in (tmp_path / "seg").rglob("*.dcm"):
        if path.name.startswith("seg-"):
            with edited(path) as dataset:
                del dataset.ReferencedSeriesSequence
    (one,) = export([tmp_path / "dicom", tmp_path / "seg"], tmp_path / "unsaid", tmp_path)
    assert one.labels == SERIES_OF


def test_a_label_names_what_a_viewer_has_no_type_for(study: ResultStudy, tmp_path: Path) -> None:
    write_segmentations(study, tmp_path / "seg")
    (path,) = (tmp_path / "seg").rglob("seg-WMH.dcm")
    others = [other for other in path.parent.iterdir() if other != path]
    for other in others:
        other.unlink()
    for label, labels in (("wmh", {Segment.WMH: SeriesType.T2_FLAIR}), ("Segment 1", {})):
        with edited(path) as dataset:
            described = dataset.SegmentSequence[0]
            described.SegmentLabel = label
            described.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator = "SCT"
            described.SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"
        (one,) = export([folder_of(study), path], tmp_path / label, tmp_path)
        assert one.labels == labels
    assert 'seg-WMH.dcm holds "Segment 1" (SCT:85756007), none of the findings' in one.reason


def test_half_of_a_probability_marks_a_voxel(study: ResultStudy, tmp_path: Path) -> None:
    """Another program's map is above 0 almost everywhere; the node's own is 0 outside its mask."""
    write_segmentations(study, tmp_path / "seg", Form.FRACTIONAL)
    (path,) = (tmp_path / "seg").rglob("seg-fractional-WMH.dcm")
    with edited(path) as dataset:
        dataset.ManufacturerModelName = "another program"
        pixels = dataset.pixel_array.copy()
        marked = np.argwhere(pixels > 0)
        top = dataset.MaximumFractionalValue
        pixels[pixels > 0] = top
        pixels[tuple(marked[0])], pixels[tuple(marked[1])] = top // 2, top - top // 2
        dataset.PixelData = pixels.tobytes()
    export([folder_of(study), path], tmp_path / "out", tmp_path)
    assert read(tmp_path / "out", Segment.WMH).masks[Segment.WMH].array.sum() == len(marked) - 1


def test_one_study_that_can_not_be_read_does_not_stop_the_others(study: ResultStudy, tmp_path: Path) -> None:
    write_segmentations(study, tmp_path / "seg")
    shutil.copytree(folder_of(study), tmp_path / "cut")
    cut = tmp_path / "cut" / study.paths[SeriesType.T1][4].name
    cut.write_bytes(cut.read_bytes()[:-500])
    (one,) = export([tmp_path / "cut", tmp_path / "seg"], tmp_path / "out", tmp_path)
    assert "the pixel data of Instance" in one.reason
    assert one.case == ""


def test_a_segmentation_of_another_patient_or_an_absent_study_is_named(
    study: ResultStudy, tmp_path: Path
) -> None:
    write_segmentations(study, tmp_path / "seg")
    (path,) = (tmp_path / "seg").rglob("seg-WMH.dcm")
    with edited(path) as dataset:
        dataset.PatientID = "SOMEBODY ELSE"
    (one,) = export([folder_of(study), path], tmp_path / "out", tmp_path)
    assert (one.case, one.reason) == ("", "seg-WMH.dcm names another patient")
    with edited(path) as dataset:
        dataset.StudyInstanceUID = "1.2.3"
    bare, absent = export([folder_of(study), path], tmp_path / "out", tmp_path)
    assert bare.reason == "no Segmentation of it is there"
    assert absent.reason == "seg-WMH.dcm: no image of its Study 1.2.3 is there"


def test_what_can_not_be_written_is_named(study: ResultStudy, tmp_path: Path) -> None:
    write_segmentations(study, tmp_path / "seg")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetExportError, match="file cannot be written: File exists"):
        export([folder_of(study), tmp_path / "seg"], tmp_path / "file", tmp_path)
    with pytest.raises(DatasetExportError, match="'a/b' is no name"):
        list(export_dataset([], tmp_path / "x", replace(TERMS, name="a/b"), NodeSettings(root=tmp_path)))


def test_what_is_left_out_is_named(study: ResultStudy, tmp_path: Path) -> None:
    (bare,) = export([folder_of(study)], tmp_path / "out", tmp_path)
    assert (bare.case, bare.reason) == ("", "no Segmentation of it is there")
    t1 = {SeriesType.T1: study.sources[SeriesType.T1]}
    write_segmentations(ResultStudy(findings_on(t1), t1), tmp_path / "seg")
    files = [*study.paths[SeriesType.T2_FLAIR], tmp_path / "seg"]
    (misfit,) = export(files, tmp_path / "other", tmp_path)
    assert misfit.case == ""
    assert (
        "LACUNE of seg-LACUNE.dcm lies on none of the Series that were chosen (T2_FLAIR); " in misfit.reason
    )


def test_a_folder_with_something_in_it_is_refused(study: ResultStudy, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(DatasetExportError, match="is not empty"):
        export([folder_of(study)], tmp_path / "out", tmp_path)


def test_the_command_says_what_became_of_each_study(study: ResultStudy, tmp_path: Path) -> None:
    command = ["export-dataset", str(folder_of(study)), "--licence", "none", "-o", str(tmp_path / "out")]
    nothing = CliRunner().invoke(app, command)
    assert (nothing.exit_code, "no Segmentation of it is there" in nothing.output) == (1, True)
    write_segmentations(study, tmp_path / "seg")
    some = CliRunner().invoke(app, [*command, str(tmp_path / "seg")])
    assert some.exit_code == 0, some.output
    assert "p001/s01: WMH on T2_FLAIR, LACUNE on T1" in some.output
