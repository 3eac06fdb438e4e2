"""``csvd-node engines``: what serves each segment and why, and the compiled plans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from engines.build import BuildProgress
from engines.build import Progress as Told
from engines.cache import PlanCache
from engines.precision import Precision, ladder
from node.console import EXIT_FAILED, Config, configured, err, out
from node.engine_plans import build_plans, compiling_backend, prune_plans, verify_plans
from node.engine_report import render_engines, render_plans
from node.segmentors import load_configured, open_segmentors
from node.settings import NodeSettings

app = typer.Typer(help="Show what runs each model and why; compile models for GPUs.")


@app.callback(invoke_without_command=True)
def show(context: typer.Context, config: Config = None) -> None:
    """Show what serves each segment, on what proof, and why nothing else does."""
    if context.invoked_subcommand is None:
        with configured(config) as settings, _progress() as progress:
            with open_segmentors(settings, progress) as segmentors:
                reports = [one.report for one in segmentors.values() if one.report is not None]
            out.print(render_engines(reports))


@app.command()
def build(
    config: Config = None,
    capability: Annotated[
        int | None,
        typer.Option(help="compile with TensorRT for RTX for GPUs of this compute capability: 89 for 8.9"),
    ] = None,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="may be repeated; by default the first that is tried")
    ] = None,
    all_tried: Annotated[
        bool,
        typer.Option(
            "--all", help="also the slower precisions, which serve where a faster one is not proven"
        ),
    ] = False,
    full: Annotated[bool, typer.Option("--tensorrt", help="with full TensorRT and no other")] = False,
) -> None:
    """Compile the configured models ahead of time; with --capability on any machine.

    Without it they are compiled for the GPU that is here, with the TensorRT that would run them.
    """
    with configured(config) as settings, _progress() as progress:
        bundles = [load_configured(segment, folder) for segment, folder in settings.segmentors.items()]
        backend = compiling_backend(settings, full=full, capability=capability)
        first = settings.engines.first_precision
        wanted = precision or (ladder(first) if all_tried else (first,))
        for path in build_plans(PlanCache(settings.engine_folder), backend, bundles, wanted, progress):
            out.print(str(path), markup=False, soft_wrap=True)


@app.command("list")
def list_plans(config: Config = None) -> None:
    """List the compiled plans."""
    with configured(config) as settings:
        plans = PlanCache(settings.engine_folder).entries()
        if plans:
            out.print(render_plans(plans))
        else:
            _say_that_there_is_none(settings)


@app.command()
def verify(config: Config = None) -> None:
    """Check that every plan is whole and, where its GPU is here, that it still agrees with the reference."""
    with configured(config) as settings:
        verdicts = verify_plans(settings)
        if not verdicts:
            _say_that_there_is_none(settings)
        for one in verdicts:
            out.print(f"{one.path.name}: {one.said}", markup=False, soft_wrap=True)
    if any(not one.good for one in verdicts):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def prune(config: Config = None) -> None:
    """Remove plans that are damaged, of a model that is not configured, or of a replaced TensorRT."""
    with configured(config) as settings:
        removed = False
        for path in prune_plans(settings):
            removed = True
            out.print(f"removed {path.name}", markup=False, soft_wrap=True)
        if not removed:
            out.print("There is nothing to remove.")


def _say_that_there_is_none(settings: NodeSettings) -> None:
    folder = settings.engine_folder
    out.print(f"There is no compiled plan in {folder}.", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Told]:
    """Show the phases of builds as bars, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def told(step: BuildProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task("")
            words = f"{step.model}: {step.phase}"
            bars.update(tasks[step.phase], completed=step.done, total=step.steps, description=words)

        yield told
