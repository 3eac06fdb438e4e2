"""The command ``csvd-train``: prints and exit codes only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track

from engines.bundle import load_bundle
from engines.errors import EngineError
from engines.postprocessing import PostprocessingSpec
from engines.segments import Segment
from training.cases import CaseKind
from training.comparison import comparison_table, read_evaluations
from training.errors import OtherSegmentError, TrainingError
from training.evaluation import Prediction
from training.export import MAX_MB
from training.judging import EVALUATION, Evaluation, evaluate_study, write_evaluation
from training.pool import Split
from training.preview import write_contact_sheets
from training.progress import progress_on, show_bar, tell_epochs
from training.reader_example import write_example
from training.reader_report import write_reader_report
from training.reader_study import read_study
from training.recipe import Recipe, SegmentRecipe, load_recipe, shipped_recipes
from training.report import write_report
from training.rescoring import rescore
from training.scoring import score_bundle
from training.shipping import ship
from training.simulation.production import COUNTS, counts_for, fill_pool, orders
from training.sources import Sources
from training.study import Study, train_study
from training.whole_files import naming_full_disk

app = typer.Typer(no_args_is_help=True, help="Train, evaluate and export the segmentors.")
console = Console()

RecipeName = Annotated[str, typer.Argument(help="Name of a shipped recipe, or path of a YAML file.")]
OneSegment = Annotated[Segment | None, typer.Option("--segment", help="Only this segment; without it, all.")]
MriFolder = Annotated[Path, typer.Option("--mri", help="Folder of the labelled data sets.")]
PoolFolder = Annotated[Path, typer.Option("--pool", help="Folder that the simulator filled.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder that runs and results go to.")]
BundleFolder = Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)]
BundlesFolder = Annotated[Path, typer.Option("--bundles", help="Folder that the bundles go to.")]
Licence = Annotated[
    str | None,
    typer.Option("--licence", help="Licence of weights that learned from your own cases."),
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads.")]

DATA, MRI = Path("data"), Path("data/mri")
POOL, RUNS, BUNDLES = Path("runs/pool"), Path("runs"), Path("bundles")

REPORT_MB, BUNDLE_MB = 1.0, MAX_MB + 1.0
"""Room that a report and a bundle take at the most, MB."""


@contextmanager
def _told() -> Iterator[None]:
    """Print an error of the project or of the file system as one sentence and exit with 1."""
    try:
        yield
    except (TrainingError, EngineError) as error:
        _tell(str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        _tell(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        goes_on = "a training from its last checkpoint, a simulation after its last case, all else anew"
        _tell(f"Stopped. The same command goes on: {goes_on}.")
        raise typer.Exit(130) from error


def _tell(message: str) -> None:
    _announce(message, style="red")


def _announce(what: str, style: str | None = None) -> None:
    """Print text as it is: brackets are no markup, and a long line is not broken."""
    console.print(what, style=style, markup=False, highlight=False, soft_wrap=True)


def _studies(recipe: Recipe, segment: Segment | None, mri: Path, pool: Path, runs: Path) -> list[Study]:
    chosen = [segment] if segment else list(recipe.segmentors)
    return [Study(recipe.for_segment(one), Sources(mri, pool), runs) for one in chosen]


@app.command()
def run(
    recipe: RecipeName,
    segment: OneSegment = None,
    mri: MriFolder = MRI,
    pool: PoolFolder = POOL,
    runs: RunsFolder = RUNS,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            "--begin-with",
            help="Folder of a bundle whose weights to start from.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    threads: Threads = 2,
) -> None:
    """Train the segmentors of a recipe; continue where an earlier run stopped."""
    torch.set_num_threads(threads)
    with _told():
        for study in _studies(load_recipe(recipe), segment, mri, pool, runs):
            _train(study, begin_with)


def _train(study: Study, begin_with: Path | None = None) -> None:
    segment = study.recipe.segment
    with progress_on(console) as progress:
        report = show_bar(progress, segment) if console.is_terminal else tell_epochs(_announce, segment)
        train_study(study, report, _announce, begin_with)
    _announce(f"weights in {study.folder}")


@app.command()
def evaluate(
    recipe: RecipeName,
    segment: OneSegment = None,
    mri: MriFolder = MRI,
    pool: PoolFolder = POOL,
    runs: RunsFolder = RUNS,
    threads: Threads = 2,
) -> None:
    """Score trained segmentors on held-out real cases and on test cases: numbers, tables, plots."""
    torch.set_num_threads(threads)
    with _told():
        for study in _studies(load_recipe(recipe), segment, mri, pool, runs):
            _evaluate(study)


def _evaluate(
    study: Study, kept_point: PostprocessingSpec | None = None
) -> tuple[Evaluation, list[Prediction]]:
    """Evaluate a study, write its report and print it."""
    evaluation, predictions = evaluate_study(study, _announce, kept_point)
    _write(evaluation, study.recipe.segment, study.folder)
    return evaluation, predictions


def _write(evaluation: Evaluation, segment: Segment, folder: Path) -> None:
    with naming_full_disk(folder / "report", REPORT_MB):
        lines = write_report(evaluation, segment, folder / "report")
    write_evaluation(evaluation, folder / EVALUATION)
    _announce("\n".join(lines))


@app.command()
def score(
    bundle: BundleFolder,
    mri: MriFolder = MRI,
    runs: RunsFolder = RUNS,
    threads: Threads = 2,
) -> None:
    """Score a bundle, a shipped one too, on labelled patients, at its own operating point."""
    with _told():
        manifest = load_bundle(bundle).manifest
        folder = runs / f"{manifest.name}-{manifest.version}" / manifest.segment
        _write(score_bundle(bundle, Sources(mri, None), threads), manifest.segment, folder)
        _announce(f"scores in {folder}")


@app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Evaluated runs/<recipe>/<SEGMENT>; the first is what others are compared with."),
    ],
    csv: Annotated[Path | None, typer.Option("--csv", help="CSV file for the table with all digits.")] = None,
) -> None:
    """Compare evaluations on the same cases: mean differences and their spread over patients."""
    with _told():
        table = comparison_table(read_evaluations(folders))
        if csv is not None:
            with naming_full_disk(csv, REPORT_MB):
                table.write_csv(csv)
        _announce("\n".join(table.markdown()))


@app.command()
def export(
    recipe: RecipeName,
    segment: OneSegment = None,
    mri: MriFolder = MRI,
    pool: PoolFolder = POOL,
    runs: RunsFolder = RUNS,
    bundles: BundlesFolder = BUNDLES,
    licence: Licence = None,
    point_of: Annotated[
        Path | None,
        typer.Option(
            "--point-of",
            help="Folder of a bundle whose operating point to keep.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    threads: Threads = 2,
) -> None:
    """Evaluate trained segmentors and write their bundles: ONNX, manifest, card."""
    torch.set_num_threads(threads)
    with _told():
        for study in _studies(load_recipe(recipe), segment, mri, pool, runs):
            kept = _point_of(point_of, study.recipe.segment) if point_of else None
            _export(study, bundles, licence, kept)


def _point_of(bundle: Path, segment: Segment) -> PostprocessingSpec:
    """Return the operating point of a bundle for this segment; that of another one would mean nothing."""
    manifest = load_bundle(bundle).manifest
    if manifest.segment is not segment:
        raise OtherSegmentError(bundle, manifest.segment, segment)
    return manifest.postprocessing


def _export(
    study: Study, bundles: Path, licence: str | None, kept_point: PostprocessingSpec | None = None
) -> None:
    folder = bundles / study.recipe.segment.lower()
    judged = _evaluate(study, kept_point)
    with naming_full_disk(folder, BUNDLE_MB):
        manifest = ship(study, *judged, folder, licence)
    _announce(f"{folder}: {manifest.name} {manifest.version}")


@app.command(name="rescore")
def rescore_bundle(
    recipe: RecipeName,
    bundle: BundleFolder,
    version: Annotated[str, typer.Option("--version", help="New version of the bundle.")],
    keep_point: Annotated[
        bool, typer.Option("--keep-point", help="Leave the operating point as it is.")
    ] = False,
    mri: MriFolder = MRI,
    pool: PoolFolder = POOL,
    threads: Threads = 2,
) -> None:
    """Choose a new operating point for a bundle, score it, write its manifest and card; the weights stay."""
    torch.set_num_threads(threads)
    with _told():
        segment = load_bundle(bundle).manifest.segment
        (study,) = _studies(load_recipe(recipe), segment, mri, pool, RUNS)
        manifest = rescore(study, bundle, version, _announce, keep_point=keep_point)
    _announce(f"{bundle}: {manifest.name} {manifest.version}")


@app.command(name="ship")
def ship_all(
    recipe: RecipeName,
    data: Annotated[Path, typer.Option("--data", help="With mri/, synthesis/, dicom/, t2star/.")] = DATA,
    segment: OneSegment = None,
    pool: PoolFolder = POOL,
    runs: RunsFolder = RUNS,
    bundles: BundlesFolder = BUNDLES,
    licence: Licence = None,
    threads: Threads = 2,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes of the simulator.")] = 2,
    cases: Annotated[
        int | None,
        typer.Option("--cases", min=1, help="Simulated training cases; the other splits in proportion."),
    ] = None,
) -> None:
    """Simulate, train, evaluate and export all segmentors; each part continues where it was stopped."""
    torch.set_num_threads(threads)
    with _told():
        read = load_recipe(recipe)
        for study in _studies(read, segment, data / "mri", pool, runs):
            if any(kind is not CaseKind.REAL for kind in study.recipe.sources):
                _simulate(study.recipe, data, pool, workers, cases)
        for study in _studies(read, segment, data / "mri", pool, runs):
            _train(study)
            _export(study, bundles, licence)


def _simulate(recipe: SegmentRecipe, data: Path, pool: Path, workers: int, cases: int | None) -> None:
    """Fill the pool of a segment where its sources are there; else a filled pool is taken as is."""
    segment = recipe.segment
    if not (data / "synthesis").is_dir() and (pool / segment).is_dir():
        return
    variants = None if CaseKind.PAINTED in recipe.sources else 0
    listed = orders(segment, data, pool, COUNTS if cases is None else counts_for(cases), variants)
    missing = sum(not order.path.is_file() for order in listed)
    for _ in track(fill_pool(listed, workers), f"{segment} cases", missing, console=console):
        pass


@app.command(name="data")
def check_data(mri: MriFolder = MRI) -> None:
    """Read every case of each data set and say what is missing or wrong; exit with 1 if anything is."""
    wrong = not mri.is_dir()
    if wrong:
        _tell(f"{mri} is no folder: make it, or name another with --mri")
    absent: list[str] = []
    with _told():
        for dataset in Sources(mri, None).datasets():
            if not any((mri / case).exists() for case in dataset.case_folders()):
                absent += dataset.missing()
                continue
            faulty = False
            for line in chain(dataset.missing(), dataset.faults()):
                _announce(line)
                faulty = True
            wrong |= faulty
            if not faulty:
                cases, kept = len(dataset.case_folders()), len(dataset.reserved_folders())
                reserved = f", {kept} reserved" if dataset.manifest.reserved else ""
                _announce(f"{dataset.manifest.name}: complete, {cases} cases for training{reserved}")
    for line in absent:
        _announce(line)
    raise typer.Exit(int(wrong))


@app.command()
def preview(
    pool: PoolFolder = POOL,
    out: Annotated[Path, typer.Option("--out", help="Folder that the sheets go to.")] = RUNS / "preview",
    split: Annotated[Split, typer.Option("--split", help="Which cases to draw.")] = Split.TRAIN,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of real scans to show below.")] = None,
) -> None:
    """Draw contact sheets of the cases in a pool."""
    with _told():
        for path in write_contact_sheets(pool, out, split, data=data):
            _announce(str(path))


@app.command()
def readers(
    folder: Annotated[Path, typer.Argument(help="With reference/, readers/<name>/, model/, times.csv.")],
    example: Annotated[bool, typer.Option("--example", help="First fill it with invented readers.")] = False,
) -> None:
    """Compare readers and the model with a reference: tables, grades, agreement, analysis of variance."""
    with _told():
        if example:
            write_example(folder)
        study = read_study(folder)
        with naming_full_disk(folder / "report", REPORT_MB):
            lines = write_reader_report(study, folder / "report")
        _announce("\n".join(lines))


@app.command()
def recipes() -> None:
    """List the shipped recipes and their files, to copy and change."""
    for name, path in shipped_recipes().items():
        recipe = load_recipe(name)
        _announce(f"{name} {recipe.version}: {recipe.description} ({', '.join(recipe.segmentors)}), {path}")
