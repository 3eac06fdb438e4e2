"""Key images, the PDF and Presentation States say what was found, of whom, and that it was not reviewed."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pypdfium2
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from engines.findings import NotAssessed, StudyFindings
from engines.segments import Segment, SeriesType
from node.results.build import build_results
from node.results.files import encode
from node.results.fonts import JAPANESE, REGULAR, face_of, picture_font, true_type, with_known_letters
from node.results.forms import Form, FormChoice
from node.results.identity_lines import NOT_NAMED, identity_lines
from node.results.result_object import ResultObject
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.telemetry import LogSettings, configure_logging
from tests.support.phantoms import DEMO_PATIENT, JAPANESE_PATIENT
from tests.support.result_studies import ResultStudy, context, four_series

NOT_REVIEWED = "AI result, not reviewed"


def made(study: ResultStudy, form: Form, *, names_patient: bool = True) -> list[ResultObject]:
    choice = FormChoice(frozenset({form}))
    return list(build_results(study.findings, study.sources, context(names_patient=names_patient), [choice]))


@pytest.fixture(scope="module")
def japanese(tmp_path_factory: pytest.TempPathFactory) -> ResultStudy:
    """No T2*: microbleeds were not assessed."""
    folder = tmp_path_factory.mktemp("japanese")
    return four_series(folder, patient=JAPANESE_PATIENT, left_out=[SeriesType.T2_STAR])


@pytest.fixture(scope="module")
def pictures(japanese: ResultStudy) -> list[ResultObject]:
    return made(japanese, Form.KEY_IMAGES)


def source_of(dataset: Dataset) -> str:
    (source,) = dataset.SourceImageSequence
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    return str(source.ReferencedSOPInstanceUID)


def test_each_slice_with_a_lesion_is_shown_with_its_source(
    japanese: ResultStudy, pictures: list[ResultObject]
) -> None:
    expected = [
        japanese.sources[found.series_type].frames[plane].sop_instance_uid
        for found in japanese.findings.findings
        for plane in np.flatnonzero(found.labels.any(axis=(1, 2)))
    ]
    assert [source_of(one.dataset) for one in pictures[1:]] == expected
    assert [one.role for one in pictures] == [f"key-image-{n:03d}" for n in range(1, len(expected) + 2)]
    assert len({one.series_uid for one in pictures}) == 1
    assert len({one.sop_instance_uid for one in pictures}) == len(pictures)


def test_key_image_is_a_colour_picture_in_the_patients_study(pictures: list[ResultObject]) -> None:
    for one in pictures:
        dataset = pydicom.dcmread(BytesIO(encode(one)))
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert dataset.StudyInstanceUID == context().study_uid
        assert dataset.BurnedInAnnotation == "YES"
        slice_axes = ["L", "P"] if "SourceImageSequence" in dataset else []
        assert list(dataset.PatientOrientation or []) == slice_axes
        assert NOT_REVIEWED in dataset.SeriesDescription
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns, 3)
        assert str(dataset.PatientName) == JAPANESE_PATIENT.name


def test_outline_and_legend_have_the_colour_of_the_segment(pictures: list[ResultObject]) -> None:
    first = pictures[1].dataset
    pixels = np.frombuffer(first.PixelData, np.uint8).reshape(first.Rows, first.Columns, 3)
    near = np.abs(pixels.astype(int) - SEGMENT_CONCEPTS[Segment.WMH].rgb).max(axis=-1) < 30
    assert near[100:676].sum() > 100, "the outline"
    assert near[676:].sum() > 200, "the legend"


def test_pixel_spacing_measures_the_slice(japanese: ResultStudy, pictures: list[ResultObject]) -> None:
    """The bar of 50 mm, white at the lower right of the slice, is as long as Pixel Spacing says."""
    dataset = pictures[1].dataset
    pixels = np.frombuffer(dataset.PixelData, np.uint8).reshape(dataset.Rows, dataset.Columns, 3)
    bar = (pixels[671, 300:] > 250).all(axis=-1)
    columns = np.flatnonzero(bar)
    assert (columns[-1] - columns[0]) * float(dataset.PixelSpacing[1]) == pytest.approx(50, abs=1)


def test_segment_without_lesions_has_one_picture(study_without_lesions: ResultStudy) -> None:
    pictures = made(study_without_lesions, Form.KEY_IMAGES)
    assert len(pictures) == 1 + len(study_without_lesions.findings.findings)
    assert all(re.search(r"none( of .+ or more)? found on", one.dataset.ImageComments) for one in pictures)


LONG_REASON = "No T2* can become a volume: " + ", ".join(f"slice {n} is absent" for n in range(1, 40))


def test_first_key_image_says_all_that_was_found_and_what_was_not_assessed_and_why(
    japanese: ResultStudy,
) -> None:
    absent = (NotAssessed(Segment.MICROBLEED, LONG_REASON),)
    remarks = tuple(f"Remark {n}: {'what a reader must know ' * 4}" for n in range(1, 16))
    told = replace(japanese.findings, not_assessed=absent, remarks=remarks)
    first = made(ResultStudy(told, japanese.sources), Form.KEY_IMAGES)[0].dataset
    lines = first.ImageComments.split("\r\n")
    infarct = told.of(Segment.INFARCT)
    assert infarct is not None
    assert f"Recent small subcortical infarct: 1 lesion, {infarct.volume_ml:.2f} ml on DWI b1000" in lines[4]
    assert lines[0] == f"{NOT_REVIEWED}."
    assert lines[5:] == [
        f"Cerebral microbleed: not assessed, which does not mean absent. {LONG_REASON}",
        *(remark.strip() for remark in remarks),
    ]
    other = made(japanese, Form.KEY_IMAGES)[0].dataset
    assert first.Rows > other.Rows, "the picture is as high as what it says"
    assert "SourceImageSequence" not in first


def test_comments_of_the_first_key_image_are_no_longer_than_the_standard_allows(
    japanese: ResultStudy,
) -> None:
    """Image Comments is LT: at most 10240 characters (PS3.5 6.2)."""
    told = replace(japanese.findings, remarks=("what a reader must know " * 100,) * 5)
    comments = made(ResultStudy(told, japanese.sources), Form.KEY_IMAGES)[0].dataset.ImageComments
    assert len(comments) == 10240
    assert comments.startswith(f"{NOT_REVIEWED}.")
    assert comments.endswith(" ...")


def test_study_of_which_nothing_was_assessed_has_a_key_image_that_says_so(japanese: ResultStudy) -> None:
    absent = tuple(NotAssessed(segment, f"No model for {segment.label}.") for segment in Segment)
    nothing = ResultStudy(StudyFindings((), absent), japanese.sources)
    (only,) = made(nothing, Form.KEY_IMAGES)
    assert only.dataset.ImageComments.count("not assessed, which does not mean absent. No model for") == 4


@pytest.fixture(scope="module")
def page(japanese: ResultStudy) -> Dataset:
    (document,) = made(japanese, Form.PDF)
    return pydicom.dcmread(BytesIO(encode(document)))


def test_pdf_is_one_page_with_all_that_was_found(page: Dataset) -> None:
    content = bytes(page.EncapsulatedDocument)[: page.EncapsulatedDocumentLength]
    document = pypdfium2.PdfDocument(content)
    assert len(document) == 1
    text = " ".join(document[0].get_textpage().get_text_range().split())
    assert NOT_REVIEWED in text
    for segment in Segment:
        assert segment.label in text
    assert "Not assessed, which does not mean absent" in text
    assert "What counts as a lesion. White matter hyperintensity: probability from 0.2" in text
    assert page.BurnedInAnnotation == "YES"
    assert page.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert (page.Modality, page.VerificationFlag) == ("DOC", "UNVERIFIED")


def test_pdf_holds_every_reason_and_remark_in_full_on_further_pages_if_need_be(japanese: ResultStudy) -> None:
    absent = (NotAssessed(Segment.MICROBLEED, LONG_REASON),)
    remarks = tuple(f"Remark {n}: {'what a reader must know ' * 12}ends." for n in range(1, 16))
    told = ResultStudy(replace(japanese.findings, not_assessed=absent, remarks=remarks), japanese.sources)
    (document,) = (one.dataset for one in made(told, Form.PDF))
    content = bytes(document.EncapsulatedDocument)[: document.EncapsulatedDocumentLength]
    pages = pypdfium2.PdfDocument(content)
    assert len(pages) == 2
    texts = [" ".join(page.get_textpage().get_text_range().split()) for page in pages]
    assert f"not assessed, which does not mean absent. {LONG_REASON}" in texts[0]
    for remark in remarks:
        assert any(remark in text for text in texts), remark
    for text, number in zip(texts, (1, 2), strict=True):
        assert f"page {number}. {NOT_REVIEWED}" in text
        assert JAPANESE_PATIENT.patient_id in text


def test_pdf_shows_the_name_in_all_its_scripts(page: Dataset) -> None:
    content = bytes(page.EncapsulatedDocument)[: page.EncapsulatedDocumentLength]
    text = pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range()
    name = page.PatientName
    for group in (name.alphabetic, name.ideographic, name.phonetic):
        assert group.replace("^", " ") in text


@pytest.fixture(scope="module")
def unnamed(japanese: ResultStudy) -> list[Dataset]:
    """Key images and PDF of a node that must burn no identity in; the PDF is the last."""
    forms = (Form.KEY_IMAGES, Form.PDF)
    return [one.dataset for form in forms for one in made(japanese, form, names_patient=False)]


def test_picture_that_must_not_name_the_patient_is_the_same_for_any_patient(
    unnamed: list[Dataset], tmp_path: Path
) -> None:
    other = four_series(tmp_path, patient=DEMO_PATIENT, left_out=[SeriesType.T2_STAR])
    theirs = [one.dataset for one in made(other, Form.KEY_IMAGES, names_patient=False)]
    assert [one.PixelData for one in theirs] == [one.PixelData for one in unnamed[:-1]]
    assert {str(one.PatientName) for one in theirs} == {DEMO_PATIENT.name}, "the attributes still tell"


def test_document_that_must_not_name_the_patient_has_nothing_of_the_patient(
    unnamed: list[Dataset], page: Dataset
) -> None:
    text = text_of(unnamed[-1])
    assert NOT_NAMED in text
    secrets = [str(page.PatientID), str(page.PatientBirthDate)[:4], "accession", "Study of"]
    name = page.PatientName
    groups = (name.alphabetic, name.ideographic, name.phonetic)
    secrets += [part for group in groups for part in group.split("^")]
    assert all(secret in text_of(page) for secret in secrets), "what is looked for can be found"
    assert not [secret for secret in secrets if secret in text]


def test_burned_in_annotation_tells_the_truth(japanese: ResultStudy, unnamed: list[Dataset]) -> None:
    """Also where the source's own pixels name the patient."""
    assert {one.BurnedInAnnotation for one in unnamed} == {"NO"}
    path = japanese.sources[SeriesType.T1].paths[0]
    written = path.read_bytes()
    image = pydicom.dcmread(path)
    image.BurnedInAnnotation = "YES"
    image.save_as(path)
    try:
        shown = [one.dataset for one in made(japanese, Form.KEY_IMAGES, names_patient=False)]
        (document,) = made(japanese, Form.PDF, names_patient=False)
    finally:
        path.write_bytes(written)
    lacune = Segment.LACUNE.label
    said = {(one.ImageComments.startswith(lacune), one.BurnedInAnnotation) for one in shown}
    assert said == {(True, "YES"), (False, "NO")}
    assert document.dataset.BurnedInAnnotation == "YES"


def text_of(document: Dataset) -> str:
    content = bytes(document.EncapsulatedDocument)[: document.EncapsulatedDocumentLength]
    return str(pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range())


def test_letters_of_the_name_leave_no_trace_in_the_log(
    japanese: ResultStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    """The library that makes fonts lists, at level INFO, each letter that it was given."""
    configure_logging(LogSettings(level="INFO"))
    made(japanese, Form.PDF)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", [Form.KEY_IMAGES, Form.PDF, Form.PRESENTATION_STATE])
def test_equal_findings_give_equal_bytes(japanese: ResultStudy, form: Form) -> None:
    first, again = made(japanese, form), made(japanese, form)
    assert [encode(one) for one in first] == [encode(one) for one in again]


@pytest.mark.parametrize("text", ["山田 太郎", "やまだ", "김희중", "王小东", "王小東", "Müller", "Ждан"])
def test_letters_of_many_scripts_are_drawn(text: str) -> None:
    assert with_known_letters(text) == text
    font = picture_font(20)
    unknown = font.getmask("\U000f0000").getbbox()
    assert all(font.getmask(sign).getbbox() for sign in text if sign != " ")
    assert unknown is not None
    assert true_type(text, JAPANESE, REGULAR, "Test") == true_type(text, JAPANESE, REGULAR, "Test")


def test_letter_without_a_glyph_is_named_and_not_dropped() -> None:
    assert with_known_letters("علي A") == "[U+0639][U+0644][U+064A] A"
    dataset = Dataset()
    dataset.PatientName = "علي"
    assert "[U+0639]" in identity_lines(dataset).name


def test_name_without_end_and_with_orders_to_a_terminal_is_cut_and_escaped() -> None:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = "N" * 1_000_000, "1\x1b[31m"
    lines = identity_lines(dataset)
    assert lines.name == "N" * 200 + "..."
    assert lines.patient.startswith("ID 1\\x1b[31m ")


def test_regional_form_follows_the_character_set() -> None:
    assert [face_of(sets) for sets in (["", "ISO 2022 IR 87"], ["", "ISO 2022 IR 149"], ["GB18030"], [])] == [
        0, 1, 2, 0,
    ]  # fmt: skip


def test_what_the_source_lacks_is_a_dash() -> None:
    lines = identity_lines(Dataset())
    assert lines.name == "-"
    assert lines.patient == "ID -   born -   sex -"


def polylines(annotation: Dataset) -> list[np.ndarray]:
    objects: DicomSequence = annotation.GraphicObjectSequence
    return [np.array(one.GraphicData, dtype=float).reshape(-1, 2) for one in objects]


def test_presentation_state_outlines_each_lesion_on_its_image(japanese: ResultStudy) -> None:
    for one, found in zip(made(japanese, Form.PRESENTATION_STATE), japanese.findings.findings, strict=True):
        state, source = one.dataset, japanese.sources[found.series_type]
        planes = np.flatnonzero(found.labels.any(axis=(1, 2)))
        assert len(state.GraphicAnnotationSequence) == len(planes)
        for annotation, plane in zip(state.GraphicAnnotationSequence, planes, strict=True):
            (image,) = annotation.ReferencedImageSequence
            assert image.ReferencedSOPInstanceUID == source.frames[plane].sop_instance_uid
            corners = np.concatenate(polylines(annotation))
            rows, columns = np.nonzero(found.labels[plane])
            assert corners.min(axis=0).tolist() == [columns.min(), rows.min()]
            assert corners.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
        assert any(NOT_REVIEWED in text.UnformattedTextValue for text in annotation.TextObjectSequence)
        assert state.PresentationCreationDate == "20261121"
        assert str(state.PatientName) == JAPANESE_PATIENT.name
