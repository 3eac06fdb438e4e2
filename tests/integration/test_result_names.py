"""Patient names of East Asia pass into every result and are read there by DCMTK and Orthanc as in the source.

Source: PS3.5 annexes H (Japanese), I (Korean), J (Unicode and GB18030): their examples of names.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pypdfium2
import pytest
from pydicom import dcmread

from engines.segments import SeriesType
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import DEFAULT_CHOICE, Form, FormChoice
from node.results.identity_lines import identity_lines
from tests.support.peers import Orthanc, needs_dcmtk, needs_orthanc, orthanc
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.result_studies import PATTERN_OF, context, findings_on, source_from
from tests.support.series_files import Patient, uid_from, write_series

PATIENTS = {
    "japanese": Patient("Yamada^Tarou=山田^太郎=やまだ^たろう", "P1", character_set=["", "ISO 2022 IR 87"]),
    "korean": Patient("Hong^Gildong=洪^吉洞=홍^길동", "P2", character_set=["", "ISO 2022 IR 149"]),
    "gb18030": Patient("Wang^XiaoDong=王^小东", "P3", character_set="GB18030"),
    "utf-8": Patient("Wang^XiaoDong=王^小東=ㄨㄤˊ^ㄒㄧㄠˇ", "P4", character_set="ISO_IR 192"),
    "five-components": Patient(
        "Adams^John Robert Quincy^^Rev.^B.A. M.Div.=山田^太郎^^博士", "P5", character_set="ISO_IR 192"
    ),
}
"""With ideographic and phonetic groups; components of a group are divided by carets."""

CONVERTED = [name for name in PATIENTS if name != "japanese"]
"""What DCMTK can turn into Unicode: the C library's iconv has no ISO 2022 IR 87 as DCMTK asks for it."""

pytestmark = [needs_dcmtk]


def made_of(patient: Patient, folder: Path) -> Mapping[str, Path]:
    """Make results of a small Study of this patient; return their files by role."""
    study_uid = uid_from("names", patient.patient_id)
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((4, 16, 16), (9, 12, 12)))
    paths = write_series(
        volume, PATTERN_OF[SeriesType.T2_FLAIR], folder / "source", study_uid=study_uid,
        frame_of_reference_uid=uid_from(study_uid), series_number=1, patient=patient,
    )  # fmt: skip
    sources = {SeriesType.T2_FLAIR: source_from(paths)}
    choices = (DEFAULT_CHOICE, FormChoice(frozenset({Form.KEY_IMAGES, Form.PDF, Form.PRESENTATION_STATE})))
    made = build_results(findings_on(sources, {}), sources, context(study_uid=study_uid), choices)
    written = write_results(made, folder / "results")
    return {one.role: path for one, path in zip(made, written, strict=True)}


@pytest.fixture(scope="module", params=PATIENTS)
def patient(request: pytest.FixtureRequest) -> Patient:
    return PATIENTS[str(request.param)]


@pytest.fixture(scope="module")
def files(patient: Patient, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return made_of(patient, tmp_path_factory.mktemp("names"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.mark.parametrize("patient", CONVERTED, indirect=True)
def test_dcmtk_reads_the_name_in_every_result(patient: Patient, files: Mapping[str, Path]) -> None:
    pictures = {"key-image-001", "key-image-002", "pdf", "presentation-state-WMH"}
    assert {"seg-WMH", "seg-combined", "sr"} | pictures == set(files)
    for role, path in files.items():
        dumped = subprocess.run(
            ["dcmdump", "+U8", "+P", "0010,0010", str(path)], capture_output=True, check=True, timeout=60
        )
        read = re.search(r"PN \[(.*)\]", dumped.stdout.decode("utf-8"))
        assert read is not None, dumped.stderr
        assert read[1] == patient.name, role


@pytest.mark.parametrize("patient", ["japanese"], indirect=True)
def test_dcmtk_reads_the_bytes_of_a_japanese_name_in_every_result(
    patient: Patient, files: Mapping[str, Path]
) -> None:
    for role, path in files.items():
        dumped = subprocess.run(["dcmdump", "+P", "0010,0010", str(path)], capture_output=True, check=True)
        read = re.search(r"PN \[(.*)\]", dumped.stdout.decode("iso2022_jp"))
        assert read is not None, dumped.stderr
        assert read[1] == patient.name, role


@pytest.mark.parametrize("patient", CONVERTED, indirect=True)
def test_dcmtk_gives_the_groups_of_the_name_to_the_web(patient: Patient, files: Mapping[str, Path]) -> None:
    answer = subprocess.run(["dcm2json", str(files["sr"])], capture_output=True, check=True, timeout=60)
    (name,) = json.loads(answer.stdout)["00100010"]["Value"]
    assert "=".join(name.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip(
        "="
    ) == (patient.name)


def test_pdf_and_pictures_show_the_name_in_its_own_script(
    patient: Patient, files: Mapping[str, Path]
) -> None:
    dataset = dcmread(files["pdf"])
    content = bytes(dataset.EncapsulatedDocument)[: dataset.EncapsulatedDocumentLength]
    text = pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range()
    groups = [" ".join(group.replace("^", " ").split()) for group in patient.name.split("=")]
    assert all(group in text for group in groups), text[:200]
    shown = identity_lines(dcmread(files["key-image-001"])).name
    assert shown == " / ".join(groups), "no letter lacks a glyph"


@needs_orthanc
def test_orthanc_files_every_result_under_the_name(
    archive: Orthanc, patient: Patient, files: Mapping[str, Path]
) -> None:
    for identifier in archive.upload(list(files.values())):
        tags = archive.get(f"/instances/{identifier}/simplified-tags")
        assert tags["PatientName"] == patient.name
        assert tags["PatientID"] == patient.patient_id
