"""``csvd-node export-dataset``: prints and exit codes only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.console import EXIT_FAILED, Config, configured, err, out
from node.dataset_export import DatasetTerms, export_dataset


def export_dataset_command(
    folders: Annotated[
        list[Path],
        typer.Argument(help="DICOM files and folders: Studies with Segmentations", exists=True),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the data set; new or empty")],
    licence: Annotated[str, typer.Option(help="terms of use, such as an ethics approval")],
    name: Annotated[str, typer.Option(help="name of the data set, used in file names")] = "own",
    source: Annotated[str, typer.Option(help="where the Studies come from")] = "own Studies",
    config: Config = None,
) -> None:
    """Make a data set for `csvd-train` from Studies with Segmentations, without what names a patient."""
    terms, count = DatasetTerms(name, licence, source), 0
    with configured(config) as settings:
        for study in export_dataset(folders, output, terms, settings):
            count += bool(study.case)
            if study.case:
                found = ", ".join(f"{segment} on {kind}" for segment, kind in study.labels.items())
                out.print(f"{study.case}: {found}", markup=False, soft_wrap=True)
            if study.reason:
                err.print(f"{study.study_uid or 'a file'}: {study.reason}", markup=False, soft_wrap=True)
    if not count:
        raise typer.Exit(EXIT_FAILED)
