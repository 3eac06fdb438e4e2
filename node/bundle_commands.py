"""``csvd-node bundle``: makes bundles of networks from elsewhere, and shows what a bundle is."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from engines.bundle import load_bundle
from engines.graph import read_graph
from engines.importing import import_bundle
from engines.trial import try_runners
from node.bundle_report import render_bundle
from node.bundle_samples import samples_of_file, samples_of_study
from node.console import Config, configured, out
from node.segmentors import machine

app = typer.Typer(
    help="Make a model bundle from a network of your own, or show what a bundle is.", no_args_is_help=True
)


@app.command("import")
def import_model(
    model: Annotated[Path, typer.Argument(help="ONNX file, weights inside", exists=True, dir_okay=False)],
    manifest: Annotated[Path, typer.Option(help="YAML file that describes the network", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the new bundle")],
    samples: Annotated[
        Path | None,
        typer.Option(help="NumPy file of prepared slices with lesions to try it on", exists=True),
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="folder of a Study to take such slices from instead", exists=True)
    ] = None,
    config: Config = None,
) -> None:
    """Make a bundle from an ONNX file and try it on every runner of this machine."""
    if samples is not None and study is not None:
        raise typer.BadParameter("give --samples or --study, not both")
    with configured(config) as settings:
        source = None
        if samples is not None:
            source = partial(samples_of_file, samples)
        elif study is not None:
            source = partial(samples_of_study, study, settings=settings)
        today = datetime.now(UTC).date()
        bundle, trials = import_bundle(model, manifest, output, today, machine(settings), source)
        out.print(render_bundle(bundle, read_graph(bundle.model_path), trials))
        segment = bundle.manifest.segment.value
        out.print(f"To serve it: segmentors: {{{segment}: {output}}}", markup=False, soft_wrap=True)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="folder of a bundle", exists=True, file_okay=False)],
    config: Config = None,
) -> None:
    """Show what a bundle and its network hold, and how it does on every runner of this machine."""
    with configured(config) as settings:
        bundle = load_bundle(folder)
        trials = try_runners(bundle, machine(settings))
        out.print(render_bundle(bundle, read_graph(bundle.model_path), trials))
