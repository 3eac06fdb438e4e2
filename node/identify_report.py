"""The report of ``csvd-node identify`` for a terminal: one table a Study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.inventory import Inventory, LeftOut, StudyInventory
from node.selection import Candidate, Outcome

_STYLES = {
    Outcome.CHOSEN: "bold green",
    Outcome.LOST: "yellow",
    Outcome.UNUSABLE: "red",
    Outcome.NOT_WANTED: "dim",
}

SHOWN_LEFT_OUT = 10
"""Files left out are listed up to this number."""


def render_inventory(inventory: Inventory) -> RenderableType:
    """Show each Series, what it was taken for, the evidence, and why others lost."""
    parts: list[RenderableType] = []
    for study in inventory.studies:
        parts += [_study_table(study), *_closing(study)]
    if not inventory.studies:
        parts.append(Text(inventory.message))
    parts += _left_out(inventory.left_out)
    return Group(*parts)


def _study_table(study: StudyInventory) -> Table:
    table = Table(title=f"Study {study.study_uid}", title_justify="left", show_lines=True, expand=True)
    table.add_column("Series", ratio=3)
    table.add_column("Taken for", ratio=3)
    table.add_column("Evidence", ratio=5)
    table.add_column("Outcome", ratio=5)
    for alike, number in _merged(study.selection.candidates):
        table.add_row(_series(alike, number), _taken_for(alike), _evidence(alike), _outcome(alike))
    return table


def _merged(candidates: Iterable[Candidate]) -> Iterator[tuple[Candidate, int]]:
    """Put neighbouring stacks of one unwanted kind in a Series together: a time series is one line."""
    for _, group in groupby(enumerate(candidates), key=_merging_key):
        alike = [candidate for _, candidate in group]
        yield alike[0], len(alike)


def _merging_key(numbered: tuple[int, Candidate]) -> tuple[str, str, int]:
    place, candidate = numbered
    kind = candidate.identified.identification.kind
    unwanted = candidate.outcome is Outcome.NOT_WANTED
    return (candidate.stack.series_uid, kind, -1 if unwanted else place)


def _series(candidate: Candidate, number: int) -> Text:
    header, stack = candidate.stack.header, candidate.stack
    text = Text(f"{header.series_number or '-'} {header.series_description}".rstrip())
    slices = f"{stack.positions} slices"
    text.append(f"\n{slices}" if number == 1 else f"\n{number} volumes of {slices}", style="dim")
    if stack.label and number == 1:
        text.append(f"\n{stack.label}", style="dim")
    return text


def _taken_for(candidate: Candidate) -> Text:
    identification = candidate.identified.identification
    wanted = identification.series_type.label if identification.series_type else "-"
    return Text(wanted, style=_STYLES[candidate.outcome]).append(f"\n{identification.kind}", style="dim")


def _evidence(candidate: Candidate) -> Text:
    return Text("\n".join(candidate.identified.identification.evidence))


def _outcome(candidate: Candidate) -> Text:
    return Text(candidate.outcome.value, style=_STYLES[candidate.outcome]).append(
        f"\n{candidate.reason}", style="default"
    )


def _closing(study: StudyInventory) -> Iterator[RenderableType]:
    yield Text(study.selection.message, style="bold")
    for series_type, reason in study.selection.unavailable.items():
        yield Text(f"  {series_type.label}: {reason}")
    yield Text("")


def _left_out(files: tuple[LeftOut, ...]) -> Iterator[RenderableType]:
    if files:
        yield Text(f"{len(files)} files left out:", style="dim")
    for file in files[:SHOWN_LEFT_OUT]:
        yield Text(f"  {file.reason}", style="dim")
    if len(files) > SHOWN_LEFT_OUT:
        yield Text(f"  and {len(files) - SHOWN_LEFT_OUT} more", style="dim")
