from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VR

from engines.segments import SeriesType
from node.results.build import build_results
from node.results.errors import EncodingFailedError, WritingFailedError
from node.results.files import encode, write_results
from node.results.result_object import ResultObject
from tests.support.result_studies import context, four_series
from tests.support.series_files import JAPANESE_PATIENT

PIXEL_DATA = 0x7FE00010


def test_files_are_named_by_role_and_nothing_else_is_left(
    results: dict[str, ResultObject], tmp_path: Path
) -> None:
    paths = write_results(tuple(results.values()), tmp_path / "a" / "b")
    assert [path.name for path in paths] == [f"{role}.dcm" for role in results]
    assert sorted((tmp_path / "a" / "b").iterdir()) == sorted(paths)
    assert [pydicom.dcmread(path).SOPInstanceUID for path in paths] == [
        made.sop_instance_uid for made in results.values()
    ]


def test_writing_again_leaves_the_same_bytes(results: dict[str, ResultObject], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_results(tuple(results.values()), tmp_path)]
    again = [path.read_bytes() for path in write_results(tuple(results.values()), tmp_path)]
    assert first == again


def test_half_a_file_of_an_earlier_run_is_replaced(results: dict[str, ResultObject], tmp_path: Path) -> None:
    (tmp_path / "sr.dcm").write_bytes(b"half")
    (path,) = write_results((results["sr"],), tmp_path)
    assert path.read_bytes() == encode(results["sr"])


@pytest.mark.parametrize("role", ["seg-WMH", "seg-combined", "sr"])
def test_copied_sequences_are_what_pydicom_would_write(results: dict[str, ResultObject], role: str) -> None:
    made = ResultObject(role, deepcopy(results[role].dataset))
    copied = encode(made)
    assert any(element.is_raw for element in made.dataset.elements())
    parsed = list(made.dataset.iterall())
    assert not any(element.is_raw for element in made.dataset.elements())  # written item by item now
    assert encode(made) == copied
    assert {element.tag: element.VR for element in parsed if dictionary_VR(element.tag) != element.VR} == (
        {PIXEL_DATA: "OB"} if "PixelData" in made.dataset else {}
    )


def test_sequences_are_copied_beside_a_name_in_two_character_sets(tmp_path: Path) -> None:
    """The text around them is encoded as the source's character sets ask."""
    study = four_series(tmp_path, patient=JAPANESE_PATIENT, left_out=[SeriesType.T1])
    (source, *_) = study.paths[SeriesType.T2_FLAIR]
    wanted = pydicom.dcmread(source)
    for made in build_results(study.findings, study.sources, context()):
        written = pydicom.dcmread(BytesIO(encode(made)))
        assert written.SpecificCharacterSet == wanted.SpecificCharacterSet
        assert written.PatientName == wanted.PatientName
        assert written.PatientName.ideographic == "試験^太郎"


def test_folder_that_can_not_be_written_is_named(results: dict[str, ResultObject], tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(WritingFailedError, match="taken") as raised:
        write_results((results["sr"],), tmp_path / "taken")
    assert raised.value.retryable


def test_value_that_can_not_be_encoded_is_not_quoted(results: dict[str, ResultObject]) -> None:
    dataset = deepcopy(results["sr"].dataset)
    dataset.add_new(0x00280010, "US", 1)
    dataset[0x00280010]._value = "CSVD^PHANTOM"
    with pytest.raises(EncodingFailedError, match="sr cannot be encoded") as raised:
        encode(ResultObject("sr", dataset))
    assert "PHANTOM" not in str(raised.value)
    assert raised.value.__suppress_context__
