"""Results in the hands of programs that others wrote: dciodvfy, dcentvfy, PixelMed, dcmqi, DCMTK, Orthanc.

``tests.support.validators`` lists what the validators may remark, with the reason.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from engines.segments import Segment, SeriesType
from node.model import SourceVolume
from node.results.build import build_results
from node.results.files import write_results
from node.results.segment_concepts import SEGMENT_CONCEPTS
from tests.support import header_patterns as patterns
from tests.support.peers import needs_dcmtk, needs_orthanc, orthanc, storescu
from tests.support.phantoms import (
    JAPANESE_PATIENT,
    PhantomKind,
    orientation_matrix,
    phantom_grid,
    phantom_volume,
    rigid,
    write_enhanced,
    write_mosaic,
)
from tests.support.result_studies import (
    BALLS,
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    ResultStudy,
    context,
    findings_on,
    four_series,
    source_from,
)
from tests.support.seg_reading import mask_points
from tests.support.series_files import write_series
from tests.support.validators import DCENTVFY, DCIODVFY, PIXELMED, unknown_remarks

PIXELMED_JAR = Path("/usr/share/java/pixelmed.jar")
PIXELMED_VALIDATOR = (
    "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djdk.xml.xpathTotalOpLimit=0",
    "-Djdk.xml.xpathExprOpLimit=0", "-Djdk.xml.xpathExprGrpLimit=0", "-cp", str(PIXELMED_JAR),
    "com.pixelmed.validate.DicomSRValidator",
)  # fmt: skip
"""Java's limits on XPath are below what the rules need."""

needs_dicom3tools = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dicom3tools is not installed"
)


@dataclass(frozen=True)
class Written:
    """Results on disk by role, and what they were made of."""

    study: ResultStudy
    files: Mapping[str, Path]


def tool(name: str) -> str:
    """Return a program of the environment the tests run in."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def oblique_sagittal_reversed(folder: Path) -> ResultStudy:
    """FLAIR oblique, its pixels not square; T1 sagittal; T2* with negated cosines; files descending."""
    axial = orientation_matrix("axial")
    grids = {
        SeriesType.T2_FLAIR: phantom_grid(
            (20, 80, 90), (6.0, 2.5, 1.9), rigid((14, -9, 23), (0, 0, 0))[:3, :3] @ axial
        ),
        SeriesType.T1: phantom_grid((26, 90, 100), (5.0, 2.0, 2.0), "sagittal"),
        SeriesType.T2_STAR: phantom_grid((20, 80, 80), (6.0, 2.2, 2.2), axial * (1.0, -1.0, -1.0)),
    }
    sources = {}
    for number, (kind, grid) in enumerate(grids.items(), 1):
        paths = write_series(
            phantom_volume(PhantomKind(kind.value), grid), PATTERN_OF[kind], folder, study_uid=STUDY_UID,
            frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=number, order="descending",
        )  # fmt: skip
        sources[kind] = source_from(paths)
    return ResultStudy(findings_on(sources), sources)


def enhanced_and_mosaic(folder: Path) -> ResultStudy:
    """FLAIR as one Enhanced MR object, diffusion as one mosaic."""
    folder.mkdir(parents=True)
    flair = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((18, 60, 64), (6.0, 3.0, 3.0)))
    trace = phantom_volume(PhantomKind.DWI_B1000, phantom_grid((18, 64, 64), (6.0, 3.2, 3.2)))
    identity = {"study_uid": STUDY_UID, "frame_of_reference_uid": FRAME_OF_REFERENCE_UID}
    enhanced = write_enhanced(
        flair, patterns.SIEMENS_FLAIR_TSE, folder / "e.dcm", series_number=1, order="shuffled", **identity
    )
    mosaic = write_mosaic(
        trace, patterns.SIEMENS_EP2D_TRACEW_B1000, folder / "m.dcm", series_number=3, **identity
    )
    sources: dict[SeriesType, SourceVolume] = {
        SeriesType.T2_FLAIR: source_from([enhanced]),
        SeriesType.DWI_B1000: source_from([mosaic]),
    }
    return ResultStudy(findings_on(sources, BALLS), sources)


def not_all_assessed(folder: Path) -> ResultStudy:
    """Lesions, none found, not assessed: all that a report can say."""
    lesions = {segment: balls for segment, balls in BALLS.items() if segment is not Segment.LACUNE}
    return four_series(folder, lesions=lesions, left_out=[SeriesType.T2_STAR])


STUDIES = {
    "four-series": lambda folder: four_series(folder),
    "not-all-assessed": not_all_assessed,
    "no-lesions": lambda folder: four_series(folder, lesions={}, left_out=[SeriesType.T2_STAR]),
    "japanese-name": lambda folder: four_series(folder, patient=JAPANESE_PATIENT),
    "oblique-sagittal-reversed": oblique_sagittal_reversed,
    "enhanced-and-mosaic": enhanced_and_mosaic,
}


@pytest.fixture(scope="module", params=STUDIES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp(request.param)
    study = STUDIES[request.param](folder / "source")
    made = build_results(study.findings, study.sources, context())
    paths = write_results(made, folder / "results")
    return Written(study, {one.role: path for one, path in zip(made, paths, strict=True)})


def run(*command: str | Path) -> str:
    """Run a program and return all it says; its exit status tells too little to rely on."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False, timeout=300)
    return (done.stdout + done.stderr).decode(errors="replace")


def masks_of(written: Written, role: str) -> list[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    """Return the (mask, affine) of each segment of a Segmentation, in the order of its segment numbers."""
    findings = written.study.findings
    if role == "seg-combined":
        return [
            (findings.combined[found.segment].array, findings.combined[found.segment].grid.affine)
            for found in findings.findings
        ]
    found = findings.of(Segment(role.removeprefix("seg-")))
    assert found is not None
    return [(found.mask.array, found.mask.grid.affine)]


@needs_dicom3tools
def test_dciodvfy_finds_no_errors_and_no_unknown_warnings(written: Written) -> None:
    for role, path in written.files.items():
        said = run("dciodvfy", path).splitlines()
        assert [line for line in said if "Error" in line] == [], role
        warnings = [line for line in said if line.startswith("Warning")]
        assert unknown_remarks(DCIODVFY, warnings) == set(), role


@pytest.mark.slow
@pytest.mark.skipif(not PIXELMED_JAR.is_file(), reason="PixelMed's toolkit is not installed")
@pytest.mark.parametrize("written", ["not-all-assessed"], indirect=True)
def test_pixelmed_finds_the_report_to_follow_its_template(written: Written) -> None:
    # this one holds every content item that a report may hold; each run compiles rules for half a minute
    said = run(*PIXELMED_VALIDATOR, written.files["sr"]).splitlines()
    assert "Found Root Template TID_1500 (MeasurementReport)" in said
    assert "Root Template Validation Complete" in said
    assert "IOD validation complete" in said
    remarks = [line for line in said if line.startswith(("Error", "Warning"))]
    assert unknown_remarks(PIXELMED, remarks) == set()


@needs_dicom3tools
def test_dcentvfy_finds_results_and_sources_consistent(written: Written) -> None:
    images = sorted({path for source in written.study.sources.values() for path in source.paths})
    said = run("dcentvfy", *written.files.values(), *images).splitlines()
    assert unknown_remarks(DCENTVFY, said) == set()


def test_dcmqi_reads_every_mask_back_voxel_for_voxel(written: Written, tmp_path: Path) -> None:
    for role, path in written.files.items():
        if role == "sr":
            continue
        folder = tmp_path / role
        folder.mkdir()
        said = run(
            tool("segimage2itkimage"),
            "--inputDICOM",
            path,
            "--outputDirectory",
            folder,
            "--outputType",
            "nii",
        )
        for number, (mask, affine) in enumerate(masks_of(written, role), 1):
            assert (folder / f"{number}.nii.gz").is_file(), said
            assert_same_points(folder / f"{number}.nii.gz", mask_points(mask, affine))
        described = json.loads((folder / "meta.json").read_text())["segmentAttributes"]
        labels = [segment["SegmentLabel"] for group in described for segment in group]
        assert len(labels) == len(masks_of(written, role))


def assert_same_points(path: Path, expected: NDArray[np.float64]) -> None:
    """Compare the voxels of a NIfTI file, turned from RAS to LPS, with points in LPS mm."""
    image = nibabel.load(path)
    indices = np.argwhere(np.asarray(image.dataobj) > 0)  # type: ignore[attr-defined]
    read = nibabel.affines.apply_affine(image.affine, indices) * (-1, -1, 1)  # type: ignore[attr-defined]
    assert len(read) == len(expected)
    if len(expected):
        assert cKDTree(read).query(expected)[0].max() < 0.01


def test_dcmqi_reads_the_segments_names_codes_and_colours(written: Written, tmp_path: Path) -> None:
    run(
        tool("segimage2itkimage"), "--inputDICOM", written.files["seg-WMH"], "--outputDirectory", tmp_path,
        "--outputType", "nii",
    )  # fmt: skip
    ((segment,),) = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    concept = SEGMENT_CONCEPTS[Segment.WMH]
    assert segment["SegmentLabel"] == Segment.WMH.label
    assert segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == concept.property_type.value
    assert np.abs(np.array(segment["recommendedDisplayRGBValue"]) - concept.rgb).max() <= 2


def test_dcmqi_reads_all_measurements_of_the_report(written: Written, tmp_path: Path) -> None:
    said = run(
        tool("tid1500reader"), "--inputDICOM", written.files["sr"], "--outputMetadata", tmp_path / "sr.json"
    )
    assert (tmp_path / "sr.json").is_file(), said
    groups = json.loads((tmp_path / "sr.json").read_text())["Measurements"]
    findings = written.study.findings
    assert len(groups) == sum(1 + len(found.lesions) for found in findings.findings)
    assert len({group["TrackingUniqueIdentifier"] for group in groups}) == len(groups)
    place = 0
    for found in findings.findings:
        measured = {
            item["quantity"]["CodeValue"]: float(item["value"]) for item in groups[place]["measurementItems"]
        }
        assert measured["246206008"] == len(found.lesions)
        assert measured["118565006"] == pytest.approx(found.volume_ml, abs=1e-6)
        assert groups[place]["Finding"]["CodeValue"] == SEGMENT_CONCEPTS[found.segment].finding.value
        assert groups[place]["ReferencedSegment"] == 1
        place += 1 + len(found.lesions)


@needs_dcmtk
def test_dsr2html_renders_the_report_in_words(written: Written, tmp_path: Path) -> None:
    said = run("dsr2html", written.files["sr"], tmp_path / "sr.html")
    assert (tmp_path / "sr.html").is_file(), said
    page = (tmp_path / "sr.html").read_text(errors="replace")
    assert "AI result, not reviewed" in page
    for found in written.study.findings.findings:
        assert found.segment.label in page
    for absent in written.study.findings.not_assessed:
        assert absent.reason in page


@needs_dcmtk
def test_dsrdump_reads_every_group_of_the_report(written: Written) -> None:
    dumped = subprocess.run(
        ["dsrdump", "+Pl", str(written.files["sr"])], capture_output=True, check=False, timeout=120
    )
    # A dsrdump older than 3.6.8 says that it leaves names in ISO 2022 IR 87 unchecked: that is no fault.
    faults = [line for line in dumped.stderr.splitlines() if b"ISO 2022 IR 87" not in line]
    assert (dumped.returncode, faults) == (0, [])
    said = dumped.stdout.decode(errors="replace")
    findings = written.study.findings.findings
    assert said.count('"Measurement Group"') == sum(1 + len(found.lesions) for found in findings)
    for found in findings:
        label = found.segment.label
        for name in (label, *(f"{label} {lesion.number}" for lesion in found.lesions)):
            assert f'"Tracking Identifier")="{name}"' in said


@needs_dcmtk
@needs_orthanc
def test_orthanc_stores_every_result_unchanged(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as peer:
        sent = storescu(peer.dicom_port, list(written.files.values()), "-R", called=peer.ae_title)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        held = peer.get("/instances?expand")
        assert len(held) == len(written.files)
        kept = {peer.get_bytes(f"/instances/{one['ID']}/file")[-2000:] for one in held}
    assert kept == {path.read_bytes()[-2000:] for path in written.files.values()}
