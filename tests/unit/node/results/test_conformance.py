"""docs/conformance.md says what the node does: its tables, and the tests that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import errors
from node.results.result_object import ResultObject
from node.sop_classes import CREATED_SOP_CLASSES
from tests.support.conformance_tables import DOCUMENT, TABLES, blocks
from tests.support.derived_files import REMEDY
from tests.support.result_studies import ResultStudy

TEXT = DOCUMENT.read_text(encoding="utf-8")
TESTS = DOCUMENT.parents[1] / "tests"


@pytest.fixture(scope="module")
def written_tests() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))


@pytest.mark.parametrize("name", TABLES)
def test_table_says_what_the_node_does(name: str) -> None:
    assert blocks(TEXT)[name] == TABLES[name](), REMEDY


def test_statement_has_no_unknown_table() -> None:
    assert set(blocks(TEXT)) == set(TABLES)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TEXT))))
def test_named_test_exists(name: str, written_tests: str) -> None:
    assert re.search(rf"^def {name}\(", written_tests, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(node/[\w/]+\.py)`", TEXT))))
def test_named_module_exists(path: str) -> None:
    assert (DOCUMENT.parents[1] / path).is_file()


def _refusals(cls: type[errors.NodeError]) -> Iterator[type[errors.NodeError]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _refusals(sub)


def test_every_status_of_the_receiver_is_listed() -> None:
    statuses = {f"{cls.status:04X}" for cls in (*_refusals(errors.RefusedInstanceError),)}
    listed = set(re.findall(r"^\| ([0-9A-F]{4}) \|", TEXT, re.MULTILINE))
    assert statuses | {"0000", "C211"} == listed


def test_results_are_of_the_sop_classes_that_are_listed(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    assert {made.sop_class_uid for made in results.values()} <= set(CREATED_SOP_CLASSES)


def test_statement_names_no_path_outside_the_repository() -> None:
    assert not re.search(r"/(work|home|tmp)/", TEXT)
    assert Path(DOCUMENT).name == "conformance.md"
