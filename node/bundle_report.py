"""A model bundle for a terminal: what it is, what its network holds, and how it fares on each runner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engines.bundle import Bundle
from engines.graph import Graph
from engines.trial import Trial
from node.results.texts import counted

BYTES_PER_MB = 1e6
"""Bytes in a megabyte."""


def render_bundle(bundle: Bundle, graph: Graph, trials: Iterable[Trial]) -> RenderableType:
    """Show a bundle, its network and its trials."""
    return Group(_facts(bundle, graph), *_scores(bundle), _trials(trials))


def _facts(bundle: Bundle, graph: Graph) -> Table:
    manifest = bundle.manifest
    spec = manifest.preprocessing
    inputs = [
        f"{series.value} (optional)" if series in manifest.optional_inputs else series.value
        for series in manifest.inputs
    ]
    table = Table(title=f"{manifest.name} {manifest.version}", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "finds": manifest.segment.value,
        "on": ", ".join(inputs),
        "pixel grid": f"{spec.pixel_grid[0]} x {spec.pixel_grid[1]}, {spec.fit.value}, {spec.neighbours} "
        f"neighbours, {spec.normalisation.value}",
        "lesion": counted(manifest.postprocessing),
        "network": f"{graph.parameters / 1e6:.2f} million weights, {graph.size_bytes / BYTES_PER_MB:.1f} MB, "
        f"opset {graph.opset}",
        "input": ", ".join(str(tensor) for tensor in graph.inputs),
        "output": ", ".join(str(tensor) for tensor in graph.outputs),
        "operators": ", ".join(f"{name} {count}" for name, count in graph.operators.items()),
        "samples": manifest.samples.file if manifest.samples else "none: only float32 is used",
        "SHA-256": manifest.model.sha256,
        "licence": manifest.licence,
        "learned from": manifest.training_data,
        "made by": f"{manifest.recipe}, {manifest.created.isoformat()}",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _scores(bundle: Bundle) -> Iterator[RenderableType]:
    scores = bundle.manifest.scores
    if not scores:
        yield Text("No score was measured.", style="yellow")
        return
    table = Table(title="Scores, as measured", title_justify="left")
    for column in ("score", "value", "on"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for score in scores:
        table.add_row(score.name, f"{score.value:.3f}", Text(score.on))
    yield table


def _trials(trials: Iterable[Trial]) -> Table:
    table = Table(title="Runners on this machine", title_justify="left")
    table.add_column("runner", no_wrap=True)
    table.add_column("largest difference of a logit", justify="right")
    table.add_column("against the reference")
    for trial in trials:
        if trial.agreement is None:
            lacking = f"lacks {', '.join(trial.lacking)}; " if trial.lacking else ""
            table.add_row(trial.runner.value, "", Text(lacking + trial.problem, style="red"))
        else:
            table.add_row(trial.name, f"{trial.largest_difference or 0:.2g}", Text(trial.agreement.reason))
    return table
