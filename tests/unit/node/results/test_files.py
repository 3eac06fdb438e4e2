from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pydicom
import pytest

from node.results.errors import EncodingFailedError, WritingFailedError
from node.results.files import encode, write_results
from node.results.result_object import ResultObject


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


@pytest.mark.parametrize("role", ["seg-WMH", "seg-combined"])
def test_copied_functional_groups_are_what_pydicom_would_write(
    results: dict[str, ResultObject], role: str
) -> None:
    made = ResultObject(role, deepcopy(results[role].dataset))
    copied = encode(made)
    assert made.dataset.PerFrameFunctionalGroupsSequence  # parsed now: pydicom writes item by item
    assert encode(made) == copied


def test_folder_that_can_not_be_written_is_named(results: dict[str, ResultObject], tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(WritingFailedError, match="taken") as raised:
        write_results((results["sr"],), tmp_path / "taken")
    assert raised.value.retryable


def test_value_that_can_not_be_encoded_is_not_quoted(results: dict[str, ResultObject]) -> None:
    dataset = deepcopy(results["sr"].dataset)
    dataset.add_new(0x00280010, "US", 1)
    dataset[0x00280010]._value = "CSVD^PHANTOM"
    with pytest.raises(EncodingFailedError, match="sr can not be encoded") as raised:
        encode(ResultObject("sr", dataset))
    assert "PHANTOM" not in str(raised.value)
    assert raised.value.__suppress_context__
