"""The documents against what they speak of: links, commands and options, scores of the shipped models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

import node.cli
import training.cli
from engines.bundle import shipped_bundles
from engines.segments import Segment
from node.settings_reference import list_settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "helm" / "csvd-node" / "README.md",
]
PROGRAMS = {
    "csvd-node": typer.main.get_command(node.cli.app),
    "csvd-train": typer.main.get_command(training.cli.app),
}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[list[str]]:
    """Yield what is typed after the name of a program, in blocks and between backticks."""
    blocks = re.findall(r"^ {4,}(.+)$", text.replace("\\\n", " "), re.MULTILINE)
    for line in [*blocks, *re.findall(r"`([^`\n]+)`", text)]:
        for program, rest in re.findall(r"(?:^|[\s/])(csvd-(?:node|train)) ([a-z][^#|;&]*)", line):
            words = [program, *rest.split()]
            if words[1] in PROGRAMS[program].commands:
                yield words


def unknown_options(words: list[str]) -> set[str]:
    command = PROGRAMS[words[0]]
    for word in words[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    known = {"--help"} | {option for each in command.params for option in each.opts}
    return {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)} - known


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_setting_exists_that_is_named(path: Path) -> None:
    """A dotted name that begins as a setting does is one, a group of them, a chart value or a log event."""
    places = {setting.place for setting in list_settings()}
    chart = re.findall(r"^\| `([\w.]+)`", DOCUMENTS[-1].read_text(encoding="utf-8"), re.MULTILINE)
    known = {name.rsplit(".", n)[0] for name in places.union(chart) for n in range(name.count(".") + 1)}
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "node").rglob("*.py")]
    events = {name for source in sources for name in re.findall(r'"(\w+\.\w+)"', source)}
    sections = "|".join({place.partition(".")[0] for place in places if "." in place})
    told = re.findall(rf"`((?:{sections})(?:\.[\w<>]+)+)`", path.read_text(encoding="utf-8"))
    assert {name.removesuffix(".<SEGMENT>") for name in told} - {"volumes.csv"} - known - events == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_command_has_the_options_that_are_told(path: Path) -> None:
    told = list(commands(path.read_text(encoding="utf-8")))
    assert [words for words in told if unknown_options(words)] == []


def test_scores_of_the_shipped_models_are_those_of_their_cards() -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    table = text.partition("## Scores against the targets\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    segment = cases = ""
    told = []
    for row in rows:
        segment, cases, score, target, reached = row[0] or segment, row[1] or cases, *row[2:]
        value, verdict = reached.split(", ")
        told.append((segment, rf"- {score}( \({cases}, test\))? {value}, asked {target}: {verdict}"))
    for each in Segment:
        card = (shipped_bundles() / each.lower() / "card.md").read_text(encoding="utf-8")
        measured = card.partition("## Against the targets\n")[2].partition("\n\nPublished")[0]
        lines = [line for line in measured.splitlines() if line.startswith("- ")]
        patterns = [pattern for segment, pattern in told if segment.upper() == each]
        assert [line for line in lines if not any(re.match(pattern, line) for pattern in patterns)] == []
        assert len(lines) == len(patterns)
