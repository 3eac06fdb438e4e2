"""Training data as DICOM: images and Segmentations by this node (highdicom) and dcmqi, by one manifest."""

import json
import shutil
import subprocess
import sysconfig
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form, FormChoice, Masks
from node.results.segment_concepts import SEGMENT_CONCEPTS
from tests.support import header_patterns as patterns
from tests.support.enhanced_files import write_enhanced
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume, write_mosaic
from tests.support.result_studies import context, four_series
from tests.support.seg_reading import mask_points
from tests.support.series_files import write_series
from tests.support.shared_data import SHARED, needs_shared
from training.cases import Provenance
from training.dataset_manifest import LabelRule, Manifest
from training.datasets import Dataset
from training.dicom_segmentation import read_segmentation
from training.dicom_series import read_series
from training.errors import CaseError

DIFFUSION = {
    PhantomKind.DWI_B0: patterns.SIEMENS_EP2D_TRACEW_B0,
    PhantomKind.DWI_B1000: patterns.SIEMENS_EP2D_TRACEW_B1000,
}
DIFFUSION_SERIES = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.4", "series_number": 3}

FLAIR, T1 = SeriesType.T2_FLAIR, SeriesType.T1


def code_of(segment: Segment) -> str:
    code = SEGMENT_CONCEPTS[segment].property_type
    return f"{code.scheme_designator}:{code.value}"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A Study of four Series whose results the node has written, laid out as a researcher would."""
    folder = tmp_path_factory.mktemp("hospital")
    study = four_series(folder / "incoming")
    made = build_results(study.findings, study.sources, context())
    files = dict(zip((one.role for one in made), write_results(made, folder / "results"), strict=True))
    for kind, paths in study.paths.items():
        (folder / "patient_1" / kind).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, folder / "patient_1" / kind)
    for role, path in files.items():
        if role.startswith("seg-"):
            shutil.copy(path, folder / "patient_1" / f"{role}.dcm")
    return folder, study


def manifest(**labels: LabelRule) -> Manifest:
    return Manifest(
        name="hospital",
        licence="internal",
        source="the PACS",
        series={FLAIR: "{case}/T2_FLAIR", T1: "{case}/T1"},
        labels=labels,
        cases=("patient_*",),
    )


def points(volume) -> set[tuple[float, ...]]:
    """Return the centres of marked voxels, LPS in tenths of a mm."""
    return {tuple(point) for point in np.round(mask_points(volume.array, volume.grid.affine), 1)}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(LabelRule(file="{case}/seg-WMH.dcm", codes=(code_of(Segment.WMH),)), id="by-code"),
        pytest.param(LabelRule(file="{case}/seg-WMH.dcm", values=(1,)), id="by-number"),
        pytest.param(LabelRule(file="{case}/seg-combined.dcm", codes=(code_of(Segment.WMH),)), id="combined"),
        pytest.param(LabelRule(file="{case}/*-WMH.dcm", values=(1,)), id="wildcard"),
    ],
)
def test_images_and_masks_of_the_node_come_back_voxel_for_voxel(study, rule) -> None:
    folder, made = study
    dataset = Dataset(manifest(WMH=rule), folder)
    assert dataset.missing() == ()
    (case,) = dataset.iterate()
    for kind in (FLAIR, T1):
        expected, found = made.sources[kind].volume, case.volumes[kind]
        assert sorted(found.array.shape) == sorted(expected.array.shape)
        marks = [np.argwhere(v.array > 0.8 * expected.array.max()) for v in (expected, found)]
        places = [v.grid.to_lps(m) for v, m in zip((expected, found), marks, strict=True)]
        assert {tuple(p) for p in np.round(places[0], 1)} == {tuple(p) for p in np.round(places[1], 1)}
    assert points(case.masks[Segment.WMH]) == points(made.findings.of(Segment.WMH).mask)
    assert case.masks[Segment.WMH].grid.shape == case.volumes[FLAIR].grid.shape
    assert case.provenance == Provenance("patient_1", "hospital", "internal", "real")


def test_an_excluded_segment_without_voxels_lies_on_the_image_of_the_others(study, tmp_path) -> None:
    folder, made = study
    combined = made.findings.combined
    empty = combined[Segment.INFARCT].with_array(np.zeros_like(combined[Segment.INFARCT].array))
    findings = replace(made.findings, combined={**combined, Segment.INFARCT: empty})
    choice = FormChoice(frozenset({Form.BINARY}), Masks.COMBINED)
    (path,) = write_results(build_results(findings, made.sources, context(), (choice,)), tmp_path)
    numbers = {one.code: one.number for one in read_segmentation(path).segments}
    rule = LabelRule(
        file=str(path),
        values=(numbers[code_of(Segment.WMH)],),
        excluded=(numbers[code_of(Segment.INFARCT)],),
    )
    described = manifest(WMH=rule).model_copy(update={"series": {T1: "{case}/T1", FLAIR: "{case}/T2_FLAIR"}})
    (case,) = Dataset(described, folder).iterate()
    assert case.excluded[Segment.WMH].grid.shape == case.masks[Segment.WMH].grid.shape
    assert case.masks[Segment.WMH].grid.shape == case.volumes[FLAIR].grid.shape


def test_a_mask_of_dcmqi_comes_back_voxel_for_voxel(study, tmp_path) -> None:
    folder, made = study
    source = made.sources[FLAIR].volume
    mask = made.findings.of(Segment.WMH).mask.array
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ source.grid.affine
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), ras), tmp_path / "label.nii.gz")
    code = {"CodeValue": "110702", "CodingSchemeDesignator": "DCM", "CodeMeaning": "White Matter T2"}
    category = {"CodeValue": "49755003", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Morphologic"}
    segment = {
        "labelID": 1,
        "SegmentLabel": "corrected",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": category,
        "SegmentedPropertyTypeCodeSequence": code,
    }
    about = {
        "ContentCreatorName": "Reader",
        "SeriesDescription": "corrected",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "segmentAttributes": [[segment]],
    }
    (tmp_path / "about.json").write_text(json.dumps(about))
    tool = Path(sysconfig.get_path("scripts")) / "itkimage2segimage"
    command = [
        tool,
        "--inputImageList",
        tmp_path / "label.nii.gz",
        "--inputMetadata",
        tmp_path / "about.json",
    ]
    command += ["--inputDICOMDirectory", folder / "patient_1" / "T2_FLAIR", "--outputDICOM"]
    command += [folder / "patient_1" / "corrected.dcm", "--skip", "1"]
    said = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert (folder / "patient_1" / "corrected.dcm").is_file(), said.stderr.decode()
    rule = LabelRule(file="{case}/corrected.dcm", codes=("DCM:110702",))
    (case,) = Dataset(manifest(WMH=rule), folder).iterate()
    assert points(case.masks[Segment.WMH]) == points(made.findings.of(Segment.WMH).mask)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        pytest.param(
            LabelRule(file="{case}/seg-WMH.dcm", codes=("SCT:1",)),
            r"no segment is SCT:1.*WMH|White",
            id="code",
        ),
        pytest.param(
            LabelRule(file="{case}/seg-INFARCT.dcm", values=(1,)), "fit none of its", id="other-grid"
        ),
        pytest.param(LabelRule(file="{case}/T1/*_0001.dcm", values=(1,)), "no Segmentation", id="an-image"),
        pytest.param(LabelRule(file="{case}/*.dcm", values=(1,)), "paths, expected one", id="ambiguous"),
    ],
)
def test_a_label_that_does_not_fit_names_the_case(study, rule, problem) -> None:
    with pytest.raises(CaseError, match=problem) as caught:
        Dataset(manifest(WMH=rule), study[0]).read("patient_1")
    assert caught.value.case == "patient_1"


def test_a_folder_that_is_not_one_volume_names_the_case(study, tmp_path) -> None:
    folder, _ = study
    shutil.copytree(folder / "patient_1", tmp_path / "patient_1")
    dataset = Dataset(manifest(), tmp_path)
    files = sorted((tmp_path / "patient_1" / "T1").iterdir())
    places = {path: path.read_bytes() for path in files}
    by_height = {dataset_position(path): path for path in files}
    by_height[sorted(by_height)[5]].unlink()
    with pytest.raises(CaseError, match="one is missing"):
        dataset.read("patient_1")
    for path, content in places.items():
        path.write_bytes(content)
    for path in (folder / "patient_1" / "T2_FLAIR").iterdir():
        shutil.copy(path, tmp_path / "patient_1" / "T1")
    with pytest.raises(CaseError, match=r"T1 cannot be read: 2 Series"):
        dataset.read("patient_1")


def dataset_position(path: Path) -> float:
    from pydicom import dcmread

    return float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])


def test_missing_files_of_a_hospital_are_named(study, tmp_path) -> None:
    shutil.copytree(study[0] / "patient_1", tmp_path / "patient_1")
    shutil.rmtree(tmp_path / "patient_1" / "T1")
    rule = LabelRule(file="{case}/seg-WMH*.dcm", values=(1,))
    dataset = Dataset(manifest(WMH=rule), tmp_path)
    assert dataset.missing() == ("hospital: patient_1/T1 is missing",)
    shutil.copy(tmp_path / "patient_1" / "seg-WMH.dcm", tmp_path / "patient_1" / "seg-WMH-2.dcm")
    assert "hospital: patient_1/seg-WMH*.dcm is 2 paths, expected one" in dataset.missing()


def test_half_of_a_probability_marks_a_voxel(study, tmp_path) -> None:
    """Another program's map is above 0 almost everywhere; the node's own is 0 outside its mask."""
    made = study[1]
    choice = FormChoice(frozenset({Form.FRACTIONAL}), Masks.PER_SERIES)
    results = build_results(made.findings, made.sources, context(), [choice])
    path = next(p for p in write_results(results, tmp_path) if p.name == "seg-fractional-WMH.dcm")
    marked = int(made.findings.of(Segment.WMH).mask.array.sum())
    assert len(read_segmentation(path).segments[0].points_lps) == marked
    dataset = dcmread(path)
    dataset.ManufacturerModelName = "another program"
    pixels, top = dataset.pixel_array.copy(), dataset.MaximumFractionalValue
    places = np.argwhere(pixels > 0)
    pixels[pixels > 0] = top
    pixels[tuple(places[0])], pixels[tuple(places[1])] = top // 2, top - top // 2
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    assert len(read_segmentation(path).segments[0].points_lps) == marked - 1


@needs_shared
@pytest.mark.parametrize(
    ("file", "segments"),
    [("dcmqi/liver.dcm", 1), ("dcmqi/partial_overlaps.dcm", 5), ("highdicom/seg_image_ct_binary.dcm", 1)],
)
def test_segmentations_of_others_are_read(file, segments) -> None:
    held = read_segmentation(SHARED / "dicom" / "reference_seg_sr" / file)
    assert len(held.segments) == segments
    assert all(len(segment.points_lps) > 0 for segment in held.segments)


@pytest.mark.parametrize("oblique", [False, True], ids=["axial", "from-the-top"])
def test_a_mosaic_becomes_the_volume_that_it_was_made_of(tmp_path, oblique) -> None:
    volume = weighted(PhantomKind.DWI_B1000)
    if oblique:
        affine = volume.grid.affine.copy()
        affine[:3, 3] += affine[:3, 0] * (len(volume.array) - 1)
        affine[:3, 0] *= -1
        volume = Volume(np.ascontiguousarray(volume.array[::-1]), Grid(volume.grid.shape, affine))
    for number, (kind, pattern) in enumerate(DIFFUSION.items(), start=1):
        tiles = volume if kind is PhantomKind.DWI_B1000 else weighted(kind)
        write_mosaic(tiles, pattern, tmp_path / f"{number}.dcm", instance=number, **DIFFUSION_SERIES)
    assert_same(read_series(tmp_path, (800, 1200)), volume)
    with pytest.raises(ValueError, match="2 mosaics"):
        read_series(tmp_path)


def test_of_several_b_values_in_one_folder_the_wanted_one_is_taken(tmp_path) -> None:
    for number, (kind, pattern) in enumerate(DIFFUSION.items()):
        write_series(
            weighted(kind), pattern, tmp_path, first_instance=1 + 100 * number, order="shuffled",
            **DIFFUSION_SERIES,
        )  # fmt: skip
    assert_same(read_series(tmp_path, (800, 1200)), weighted(PhantomKind.DWI_B1000))
    with pytest.raises(ValueError, match="several images of b 0, 1000 in one place"):
        read_series(tmp_path)
    with pytest.raises(ValueError, match="images of b 0, 1000; of these one has to be from 2000 to 3000"):
        read_series(tmp_path, (2000, 3000))


def test_a_file_of_many_frames_is_refused(tmp_path) -> None:
    """Their places are not to be had from SimpleITK, which takes the first two for all."""
    path = write_enhanced(
        weighted(PhantomKind.DWI_B1000), DIFFUSION[PhantomKind.DWI_B1000], tmp_path / "e.dcm",
        order="shuffled", **DIFFUSION_SERIES,
    )  # fmt: skip
    with pytest.raises(ValueError, match="frames in one file"):
        read_series(Path(path))


def weighted(kind: PhantomKind) -> Volume:
    volume = phantom_volume(kind, phantom_grid((7, 24, 24), (6.0, 8.0, 8.0)))
    noise = np.random.default_rng(1).integers(0, 9, volume.array.shape)
    return volume.with_array(np.rint(volume.array) + noise)


def assert_same(found: Volume, expected: Volume) -> None:
    """Compare voxel by voxel, whichever way the arrays run."""
    places = np.argwhere(np.ones(expected.grid.shape, bool))
    index = np.rint(found.grid.to_index(expected.grid.to_lps(places))).astype(int)
    np.testing.assert_allclose(found.grid.to_lps(index), expected.grid.to_lps(places), atol=1e-3)
    np.testing.assert_array_equal(found.array[tuple(index.T)], expected.array.ravel())
