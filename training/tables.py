"""Tables as Markdown and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; None stands for what was not measured."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> list[str]:
        """Return the lines of a Markdown table."""
        lines = [self.head, ("---",) * len(self.head)]
        lines += [tuple(shown(cell) for cell in row) for row in self.rows]
        return [f"| {' | '.join(line)} |" for line in lines]

    def write_csv(self, path: Path) -> None:
        """Write all digits as comma-separated values; what was not measured is empty."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.head, *self.rows])


def shown(cell: Cell) -> str:
    """Return a cell for people: three decimals, more for tiny values, a dash for what was not measured."""
    if cell is None:
        return "–"
    if isinstance(cell, float) and 0 < abs(cell) < 0.0005:
        return f"{cell:.1e}"
    if isinstance(cell, float):
        return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}"
    return str(cell)


def columns(rows: Sequence[dict[str, Cell]]) -> Table:
    """Make a table of rows by column name; the first row gives the order."""
    head = tuple(rows[0]) if rows else ()
    return Table(head, tuple(tuple(row[name] for name in head) for row in rows))
