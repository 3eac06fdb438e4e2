"""The rules of the house: which package may import what."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from engines.segments import Segment, SeriesType

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("node", "engines", "training")
ONLY_IN = {
    "pydicom": "node",
    "pynetdicom": "node",
    "highdicom": "node",
    "torch": "training",
    "tensorrt": "engines",
    "tensorrt_rtx": "engines",
}
INTERNAL = {"node": {"node", "engines"}, "engines": {"engines"}, "training": {"training", "engines"}}
SHADOWED = {"docker", "helm"}
KINDS: dict[str, type[StrEnum]] = {"Segment": Segment, "SeriesType": SeriesType}
IN_PART = {"METHOD_LIMITS_MM": "the method bounds no white matter hyperintensity"}
"""Tables that leave a segment out on purpose, and why."""


def imported_modules(path: Path) -> Iterator[str]:
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.module and not found.level:
            yield found.module


SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
SUPPORT = sorted((ROOT / "tests" / "support").glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for module in imported_modules(path):
        top = module.split(".")[0]
        assert ONLY_IN.get(top, package) == package, f"{top} belongs to {ONLY_IN[top]} alone"
        assert top not in PACKAGES or top in INTERNAL[package], f"{package} must not import {top}"
        assert top not in SHADOWED, f"the folder {top}/ shadows the library"


def tables_by_kind(path: Path) -> Iterator[tuple[str, str, set[str]]]:
    """List the tables of a module that have a line for several segments or types of Series.

    Returns: for each its name, what its lines are for, and which of them it has.
    """
    for statement in ast.parse(path.read_text()).body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        value = statement.value
        if isinstance(value, ast.Call) and value.args:
            value = value.args[0]
        lines = value.keys if isinstance(value, ast.Dict) else getattr(value, "elts", [])
        names = [ast.unparse(line).partition(".") for line in lines if isinstance(line, ast.Attribute)]
        kinds = {kind for kind, _, _ in names}
        if len(names) > 1 and len(kinds) == 1 and kinds < KINDS.keys():
            yield ast.unparse(target), kinds.pop(), {member for _, _, member in names}


def test_table_by_segment_or_series_has_a_line_for_each() -> None:
    """Who adds one is told every table that needs a line more."""
    missing = [
        f"{path.relative_to(ROOT)}: {name} has no line for {absent}"
        for path in (*SOURCES, *SUPPORT)
        for name, kind, lines in tables_by_kind(path)
        for absent in [", ".join(sorted(set(KINDS[kind]) - lines))]
        if absent and name not in IN_PART
    ]
    assert missing == []


def test_rule_finds_a_table_that_lacks_a_line(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("ORDER = (Segment.WMH, Segment.LACUNE)\nRGB: X = P({Segment.WMH: 1, Segment.PVS: 2})")
    assert list(tables_by_kind(source)) == [
        ("ORDER", "Segment", {"WMH", "LACUNE"}),
        ("RGB", "Segment", {"WMH", "PVS"}),
    ]


def test_rule_finds_a_forbidden_import(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("def f():\n    import torch.nn\n    from pydicom import dcmread\n")
    assert list(imported_modules(source)) == ["torch.nn", "pydicom"]


def test_files_stay_below_500_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}


def test_only_the_command_lines_print() -> None:
    """``print`` belongs to the command lines; everything else logs or returns."""
    printing = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.name != "cli.py"
        for found in ast.walk(ast.parse(path.read_text()))
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and found.func.id == "print"
    ]
    assert printing == []


def test_what_the_contributor_is_sent_to_exists() -> None:
    named = re.findall(
        r"`([\w./*]+\.(?:py|md|yaml|tpl|json))`", (ROOT / "docs" / "contributing.md").read_text()
    )
    assert named
    missing = [name for name in named if not any(ROOT.glob(name if "/" in name else f"*/**/{name}"))]
    assert missing == []


def test_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = {
        "helm/csvd-node/Chart.yaml": r"^(?:version|appVersion): (\S+)$",
        "docker/compose.yaml": r"image: csvd-node:(\S+)$",
        "docs/containers.md": r"csvd-node:(\d\S*)",
        "CHANGELOG.md": r"\A# Changelog\n\n## (\S+)",
    }
    for path, pattern in said.items():
        found = set(re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE))
        assert found == {version}, f"{path}: its version is not that of pyproject.toml"
