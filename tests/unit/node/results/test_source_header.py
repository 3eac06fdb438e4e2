from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from engines.segments import SeriesType
from engines.volume import Volume
from node.model import SourceVolume
from node.results.build import build_results
from node.results.errors import ForeignSourceError, MissingAttributeError, SourceUnreadableError
from node.results.files import encode
from node.results.source_header import TYPE_2, read_source_header
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    context,
    findings_on,
    source_from,
)
from tests.support.series_files import DEMO_PATIENT, Patient, write_series

PATIENTS = {
    "none": Patient("CSVD^ASCII", "P1", character_set=""),
    "latin-1": Patient("Müller^Jürgen", "P2", character_set="ISO_IR 100"),
    "greek": Patient("Διονυσιος", "P3", character_set="ISO_IR 126"),
    "utf-8": Patient("Wang^XiaoDong=王^小东", "P4", character_set="ISO_IR 192"),
    "japanese": Patient("Yamada^Tarou=山田^太郎=やまだ^たろう", "P5", character_set=["", "ISO 2022 IR 87"]),
    "korean": Patient("Hong^Gildong=洪^吉洞=홍^길동", "P6", character_set=["", "ISO 2022 IR 149"]),
    "chinese": Patient("Wang^XiaoDong=王^小东", "P7", character_set="GB18030"),
}
"""Names of PS3.5 annexes H, I, J and K."""


def small_source(folder: Path, patient: Patient = DEMO_PATIENT) -> SourceVolume:
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((4, 16, 16), (9, 12, 12)))
    paths = write_series(
        Volume(volume.array, volume.grid), PATTERN_OF[SeriesType.T2_FLAIR], folder, study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1, patient=patient,
    )  # fmt: skip
    return source_from(paths)


def edit(source: SourceVolume, **values: object) -> None:
    """Change or, with None, remove attributes of all files of a source."""
    for path in source.paths:
        dataset = pydicom.dcmread(path)
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)
        dataset.save_as(path)


def written(source: SourceVolume, folder: Path) -> dict[str, pydicom.FileDataset]:
    """Make results of a source and read their files back."""
    read = {}
    sources = {SeriesType.T2_FLAIR: source}
    for made in build_results(findings_on(sources, {}), sources, context()):
        path = folder / f"{made.role}.dcm"
        path.write_bytes(encode(made))
        read[made.role] = pydicom.dcmread(path)
    return read


def raw_bytes(path: Path, tag: int) -> bytes:
    """Return the bytes of an element of an Explicit VR Little Endian file as they lie on disk."""
    element = pydicom.dcmread(path).get_item(tag)
    assert isinstance(element, pydicom.dataelem.RawDataElement)
    return element.value or b""


@pytest.mark.parametrize("name", PATIENTS)
def test_names_keep_their_bytes_and_their_character_set(name: str, tmp_path: Path) -> None:
    source = small_source(tmp_path / "source", PATIENTS[name])
    for role, dataset in written(source, tmp_path).items():
        image = pydicom.dcmread(source.paths[0])
        assert raw_bytes(tmp_path / f"{role}.dcm", 0x00100010) == raw_bytes(source.paths[0], 0x00100010)
        assert dataset.SpecificCharacterSet == image.SpecificCharacterSet
        assert dataset.PatientName == image.PatientName
        assert dataset.PatientID == PATIENTS[name].patient_id


def test_names_without_a_character_set_keep_their_bytes(tmp_path: Path) -> None:
    source = small_source(tmp_path / "source", PATIENTS["latin-1"])
    for path in source.paths:  # the same bytes, and nobody says what they mean
        content = path.read_bytes()
        at = content.index(b"ISO_IR 100")
        path.write_bytes(content[: at - 8] + content[at + 10 :])
    before = raw_bytes(source.paths[0], 0x00100010)
    assert not before.isascii()
    for role in written(source, tmp_path):
        assert raw_bytes(tmp_path / f"{role}.dcm", 0x00100010) == before


def test_patient_and_study_are_those_of_the_source(tmp_path: Path) -> None:
    source = small_source(tmp_path / "source")
    values = {
        "IssuerOfPatientID": "HOSPITAL", "PatientAge": "071Y", "PatientWeight": "70", "StudyID": "S-1",
        "AccessionNumber": "A-1", "ReferringPhysicianName": "Doe^Jane", "StudyDescription": "MR Brain",
        "StudyTime": "0905",
        "PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand", "ClinicalTrialSubjectID": "T-1",
        "PositionReferenceIndicator": "AC-PC",
    }  # fmt: skip
    edit(source, **values)
    for role, dataset in written(source, tmp_path).items():
        for keyword, value in values.items():
            if role == "sr" and keyword == "PositionReferenceIndicator":
                continue
            assert str(dataset[keyword].value) == value
        assert dataset.StudyInstanceUID == STUDY_UID
        assert dataset.StudyDate == "20240115"


@pytest.mark.parametrize("keyword", TYPE_2)
def test_missing_type_2_attribute_is_left_empty(keyword: str, tmp_path: Path) -> None:
    source = small_source(tmp_path / "source")
    edit(source, **{keyword: None})
    for dataset in written(source, tmp_path).values():
        assert keyword in dataset
        assert not dataset[keyword].value


def test_nothing_is_invented_for_a_de_identified_source(tmp_path: Path) -> None:
    source = small_source(tmp_path / "source")
    edit(source, **dict.fromkeys(TYPE_2))
    for dataset in written(source, tmp_path).values():
        assert [keyword for keyword in TYPE_2 if dataset[keyword].value] == []


def test_private_blocks_of_the_source_stay_with_it(tmp_path: Path) -> None:
    source = small_source(tmp_path / "source")
    for path in source.paths:
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "secret")
        dataset.save_as(path)
    for dataset in written(source, tmp_path).values():
        assert [element for element in dataset if element.tag.is_private] == []


@pytest.mark.parametrize(
    ("offset", "date", "time"),
    [
        pytest.param(None, "20261121", "103015", id="own-zone"),
        pytest.param("+0900", "20261121", "193015", id="east"),
        pytest.param("-1130", "20261120", "230015", id="west-the-day-before"),
        pytest.param("broken", "20261121", "103015", id="not-an-offset"),
        pytest.param("00900", "20261121", "103015", id="without-sign"),
        pytest.param("+9900", "20261121", "103015", id="nowhere-on-earth"),
    ],
)
def test_times_are_given_in_the_zone_of_the_source(
    offset: str | None, date: str, time: str, tmp_path: Path
) -> None:
    source = small_source(tmp_path / "source")
    edit(source, TimezoneOffsetFromUTC=offset)
    for dataset in written(source, tmp_path).values():
        assert (dataset.ContentDate, dataset.ContentTime) == (date, time)
        assert (dataset.SeriesDate, dataset.SeriesTime) == (date, time)


def test_lossy_compression_of_the_source_is_not_forgotten(tmp_path: Path) -> None:
    source = small_source(tmp_path / "source")
    edit(
        source,
        LossyImageCompression="01",
        LossyImageCompressionRatio="8.5",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    dataset = written(source, tmp_path)["seg-WMH"]
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert dataset.LossyImageCompressionRatio == 8.5


@pytest.mark.parametrize(
    ("attribute", "keyword"),
    [("frame_of_reference_uid", "FrameOfReferenceUID"), ("series_uid", "SeriesInstanceUID")],
)
def test_missing_identifier_is_named(attribute: str, keyword: str, tmp_path: Path) -> None:
    source = replace(small_source(tmp_path), **{attribute: ""})
    with pytest.raises(MissingAttributeError, match=keyword) as raised:
        read_source_header(source, STUDY_UID)
    assert (raised.value.keyword, raised.value.study_uid) == (keyword, STUDY_UID)


def test_frame_without_an_instance_is_named(tmp_path: Path) -> None:
    source = small_source(tmp_path)
    broken = replace(source, frames=(replace(source.frames[0], sop_instance_uid=""), *source.frames[1:]))
    with pytest.raises(MissingAttributeError, match="SOPInstanceUID"):
        read_source_header(broken, STUDY_UID)


def test_source_of_another_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignSourceError, match="belongs to Study") as raised:
        read_source_header(small_source(tmp_path), "1.2.3")
    assert raised.value.found == STUDY_UID


def test_file_of_another_study_is_refused(tmp_path: Path) -> None:
    source = small_source(tmp_path)
    edit(source, StudyInstanceUID="1.2.3")
    with pytest.raises(ForeignSourceError, match=r"1\.2\.3"):
        read_source_header(source, STUDY_UID)


@pytest.mark.parametrize("damage", ["gone", "no files", "cut", "text"])
def test_unreadable_source_is_named_without_its_content(damage: str, tmp_path: Path) -> None:
    source = small_source(tmp_path)
    first = source.paths[0]
    if damage == "gone":
        first.unlink()
    elif damage == "no files":
        source = replace(source, paths=())
    else:
        first.write_bytes(first.read_bytes()[:100] if damage == "cut" else b"CSVD^PHANTOM, not DICOM at all")
    with pytest.raises(SourceUnreadableError) as raised:
        read_source_header(source, STUDY_UID)
    assert raised.value.retryable
    assert "PHANTOM" not in str(raised.value)
