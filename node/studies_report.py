"""The list of Studies as a table for a terminal, and as values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from node.listing import StudyRow
from node.study_states import StudyState

STYLES = {
    StudyState.FAILED: "red",
    StudyState.HELD: "yellow",
    StudyState.DELIVERED: "green",
    StudyState.FALLBACK: "yellow",
    StudyState.EVALUATED: "green",
}
"""Colours of what needs a person, and of what is done; the rest is on its way."""


def render_studies(rows: Sequence[StudyRow]) -> RenderableType:
    """Show each Study with its state, times, extent and the reason why it goes no further."""
    if not rows:
        return Text("No Study has arrived yet.")
    table = Table(show_lines=True)
    for column in ("Study Instance UID", "State", "Arrived", "Evaluated", "Instances", "Delivered", "Remark"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            row.study_uid,
            Text(row.state.value, style=STYLES.get(row.state, "")),
            f"{_clock(row.first_at)}\n{_clock(row.last_at)}",
            _clock(row.evaluated_at),
            f"{row.instance_count} in {row.series_count} Series",
            f"{row.delivered_count} of {row.delivery_count}" if row.delivery_count else "",
            _remark(row),
        )
    return table


def to_record(row: StudyRow) -> dict[str, object]:
    """Return a line of the list as values that JSON can hold; times in ISO 8601."""
    values = {name: getattr(row, name) for name in row.__slots__}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }


def _remark(row: StudyRow) -> str:
    parts = [row.reason or row.progress]
    if row.conflict_count:
        parts.append(
            f"{row.conflict_count} Instances came again with other content under the same UID; kept apart."
        )
    parts += [f"To {name}: {reason}." for name, reason in row.destinations.items()]
    return " ".join(part for part in parts if part)


def _clock(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""
