"""The list of Studies for a terminal, and as values for JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from node.listing import StudyRow
from node.study_states import StudyState
from node.words import kept_apart

STYLES = {
    StudyState.FAILED: "red",
    StudyState.HELD: "yellow",
    StudyState.DELIVERED: "green",
    StudyState.FALLBACK: "yellow",
    StudyState.EVALUATED: "green",
}
"""Colours of what needs a person, and of what is done; the rest is on its way."""


def render_studies(rows: Sequence[StudyRow]) -> Text:
    """Show each Study in a few lines: where it is, its times in UTC, its extent, and why it goes no further.

    Not a table: a UID in one piece is what `retry` and a search want, however narrow the terminal.
    """
    if not rows:
        return Text("No Study has arrived yet.")
    return Text("\n\n").join(Text("\n    ").join(_lines(row)) for row in rows)


def json_list(records: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Write a list of any length as JSON, in pieces."""
    before = "["
    for record in records:
        yield before + textwrap.indent(f"\n{json.dumps(record, indent=2)}", "  ")
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _lines(row: StudyRow) -> Iterator[Text]:
    yield Text.assemble(row.study_uid, "  ", (row.state.value, STYLES.get(row.state, "")))
    yield Text(f"{row.extent}; arrived from {_clock(row.first_at)} to {_clock(row.last_at)}")
    if row.evaluated_at is not None:
        sent = f", {row.delivered_count} of {row.delivery_count} delivered" if row.delivery_count else ""
        yield Text(f"evaluated at {_clock(row.evaluated_at)}{sent}")
    yield from map(Text, _remarks(row))


def to_record(row: StudyRow) -> dict[str, object]:
    """Return a line of the list as values that JSON can hold; times in ISO 8601."""
    values = {name: getattr(row, name) for name in row.__slots__}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }


def _remarks(row: StudyRow) -> Iterator[str]:
    if said := row.reason or row.progress:
        yield said
    if row.conflict_count:
        yield kept_apart(row.conflict_count)
    yield from (f"To {name}: {reason}" for name, reason in row.destinations.items())


def _clock(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
