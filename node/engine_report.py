"""What runs the models, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engines.cache import PlanEntry
from engines.engine_report import EngineReport


def render_engines(reports: Iterable[EngineReport]) -> RenderableType:
    """Show for each segment what serves it, on what proof, and why the others do not."""
    parts: list[RenderableType] = []
    for report in reports:
        parts.append(Text(f"{report.segment.value}: {report.name} ({report.precision})", style="bold"))
        parts.append(Text(f"  proof: {report.proof}"))
        parts.extend(Text(f"  passed over: {passed}") for passed in report.passed_over)
    return Group(*parts)


def render_plans(entries: Iterable[PlanEntry]) -> RenderableType:
    """Show the compiled plans: what each is for, its size and what is wrong with it."""
    table = Table(title="Compiled plans", title_justify="left")
    for column in ("Model", "Precision", "For", "MB", "Built", "State"):
        table.add_column(column)
    for entry in entries:
        key, size = entry.key, f"{entry.size / 1e6:.1f}"
        if key is None or entry.built_at is None:
            table.add_row(entry.path.name, "", "", size, "", entry.problem)
            continue
        device = key.gpu or f"any GPU of {key.capability / 10:.1f}"
        target = f"{key.flavour} {key.version}, {device}"
        built = f"{entry.built_at:%Y-%m-%d %H:%M}"
        table.add_row(key.model, key.precision, target, size, built, entry.problem or "whole")
    return table
