"""The command line: prints and exit codes only."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from node import bundle_commands, engine_commands
from node.assessment import Assessor
from node.certificates import check_tls
from node.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    AsJson,
    Config,
    configured,
    err,
    keep_from_others,
    out,
    reported,
    serving,
)
from node.database import Database
from node.dataset_command import export_dataset_command
from node.demonstration import demonstrate
from node.destinations_report import describe_destinations
from node.ending import ending_in_time
from node.findings_report import render_findings
from node.folder import process_folder
from node.identification_rules import rules_with
from node.identify_report import render_inventory
from node.inventory import identify_paths
from node.listing import StudyRow, each_study
from node.peer_command import check_peer_command
from node.rebuilding import LOST, RebuildReport, is_lost, rebuild
from node.removal import SETTLING, Removals
from node.results.forms import DEFAULT_CHOICE, ENCODINGS, Form, FormChoice, Masks
from node.retrying import resend_study, retry_study
from node.roles import Role
from node.segmentors import open_segmentors
from node.service import Service, now
from node.settings import NodeSettings
from node.settings_reference import render_settings
from node.store import Store, open_store
from node.studies_report import json_list, render_studies, to_record
from node.study_report import render_study, study_record
from node.study_states import StudyState
from node.study_view import StudyViews
from node.telemetry import LogSettings, configure_logging

app = typer.Typer(
    name="csvd-node",
    help="Finds white matter hyperintensities, lacunes, recent infarcts and microbleeds in brain MR Studies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(bundle_commands.app, name="bundle")
app.add_typer(engine_commands.app, name="engines")

Roles = Annotated[
    list[Role] | None, typer.Option("--role", help="do only this; may be repeated; wins over `roles`")
]
StudyUid = Annotated[str, typer.Argument(help="Study Instance UID, as `csvd-node studies` shows it")]


@contextmanager
def _index(settings: NodeSettings) -> Iterator[Database]:
    """Open the index; without a node that ran before, an empty one."""
    keep_from_others()
    settings.root.mkdir(parents=True, exist_ok=True)
    with closing(Database(settings.index_url)) as database:
        yield database


@app.command()
def serve(config: Config = None, role: Roles = None) -> None:
    """Receive Studies, evaluate them and send the results, until told to stop."""
    keep_from_others()
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    with (
        ending_in_time(),
        serving(),
        configured(config, logs=True) as settings,
        Service(settings.with_roles(role), stop),
    ):
        stop.wait()


@app.command()
def identify(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files and folders", exists=True)],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say what each Series is taken for, on what evidence, and why others lost."""
    with configured(config) as settings:
        inventory = identify_paths(paths, rules_with(settings.identification.rules), settings.volumes)
        if as_json:
            out.print_json(json.dumps(inventory.to_record()))
        else:
            out.print(render_inventory(inventory))


@app.command()
def process(
    folder: Annotated[Path, typer.Argument(help="folder of DICOM files", exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for the results")] = Path("results"),
    form: Annotated[
        list[Form] | None,
        typer.Option("--form", "-f", help="what to make; may be repeated; by default binary and report"),
    ] = None,
    masks: Annotated[Masks, typer.Option(help="which Segmentations to make")] = Masks.BOTH,
    config: Config = None,
) -> None:
    """Evaluate the Studies in a folder, without a network; results and pictures go to another folder."""
    keep_from_others()
    failed = False
    choice = FormChoice(frozenset(form or DEFAULT_CHOICE.forms), masks)
    if len(choice.forms.intersection(ENCODINGS)) > 1:
        raise typer.BadParameter("choose one encoding of Segmentations", param_hint="--form")
    with configured(config) as settings, open_segmentors(settings) as segmentors, _progress() as progress:
        task = progress.add_task("reading files", total=None)
        assessor = Assessor(settings, segmentors)
        for processed in process_folder(
            folder,
            output,
            choice,
            assessor,
            now(),
            lambda step: progress.update(task, description=step.words),
        ):
            if processed.reason:
                failed = True
                err.print(processed.reason, style="red", markup=False, soft_wrap=True)
            if processed.assessment is None:
                continue
            out.print(render_findings(processed.assessment.findings))
            for path in processed.paths:
                out.print(str(path), markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def studies(
    config: Config = None,
    state: Annotated[StudyState | None, typer.Option(help="only Studies in this state")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many, the latest first")] = None,
    as_json: AsJson = False,
) -> None:
    """List the Studies, the latest first: state, times, deliveries, and why one goes no further."""
    with configured(config) as settings, _index(settings) as database:
        rows = each_study(database, now(), settings.completeness, state, limit)
        shown = _print_json(rows) if as_json else _print_studies(rows)
        if not shown and is_lost(database, open_store(settings.storage, settings.root)):
            err.print(LOST, style="yellow", markup=False, soft_wrap=True)
        elif not shown and not as_json:
            out.print(f"No Study is {state.value}." if state else render_studies([]), soft_wrap=True)


def _print_json(rows: Iterator[StudyRow]) -> int:
    """Print Studies as they come, and return how many."""
    # The last piece is the end of the list.
    number = -1
    for piece in json_list(map(to_record, rows)):
        out.print(piece, markup=False, highlight=False, soft_wrap=True, end="")
        number += 1
    return number


def _print_studies(rows: Iterator[StudyRow]) -> int:
    """Print Studies as they come, and return how many."""
    number = 0
    for number, row in enumerate(rows, 1):
        if number > 1:
            out.print()
        out.print(render_studies([row]), soft_wrap=True)
    return number


@app.command()
def study(study_uid: StudyUid, config: Config = None, as_json: AsJson = False) -> None:
    """Show one Study, also one that failed: findings, deliveries, and what each Series was taken for."""
    with configured(config) as settings, _index(settings) as database:
        store = open_store(settings.storage, settings.root)
        view = StudyViews(database, store, settings.completeness, now).study(study_uid)
        if as_json:
            out.print_json(json.dumps(study_record(view)))
        else:
            out.print(render_study(view), soft_wrap=True)


@app.command()
def retry(study_uid: StudyUid, config: Config = None) -> None:
    """Have the running node evaluate a Study again with what is here, or send again what was given up."""
    with configured(config) as settings, _index(settings) as database:
        out.print(retry_study(database, study_uid, settings.destinations, now()))


@app.command()
def resend(
    study_uid: StudyUid,
    config: Config = None,
    to: Annotated[str | None, typer.Option(help="only to this destination")] = None,
) -> None:
    """Send again what was delivered, as after a loss in the archive; the running node does it."""
    with configured(config) as settings, _index(settings) as database:
        if to is not None and to not in settings.destinations:
            known = ", ".join(settings.destinations) or "none"
            raise typer.BadParameter(f"{to} is no configured destination (those are: {known})")
        destinations = [to] if to else list(settings.destinations)
        out.print(resend_study(database, study_uid, destinations, now()))


@app.command()
def remove(
    study_uid: StudyUid,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Remove a Study and everything made of it from this node; what was delivered stays where it is."""
    with configured(config) as settings, _index(settings) as database:
        store = open_store(settings.storage, settings.root)
        row = StudyViews(database, store, settings.completeness, now).study(study_uid).row
        out.print(render_studies([row]), soft_wrap=True)
        if not yes:
            typer.confirm("Remove it for good, also what is still to be done or delivered?", abort=True)
        files = Removals(database, store, now).remove(study_uid, "`csvd-node remove`", unfinished=True)
        with_files = "1 file" if files == 1 else f"{files} files"
        minutes = 2 * SETTLING.seconds // 60
        out.print(f"Removed with {with_files}. It can be sent again in {minutes} minutes.")


@app.command("check-config")
def check_config(config: Config = None) -> None:
    """Check the configuration and the models without starting the node."""
    with configured(config) as settings, open_segmentors(settings) as segmentors:
        open_store(settings.storage, settings.root)
        for segment, segmentor in segmentors.items():
            manifest = segmentor.bundle.manifest
            out.print(f"{segment.value}: {manifest.name} {manifest.version} on {segmentor.runner.name}")
            if segmentor.report is not None:
                for line in (segmentor.report.proof, *map(str, segmentor.report.passed_over)):
                    out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        for certificate in check_tls(settings):
            out.print(f"{certificate.use}: {certificate.part} good until {certificate.expires_at:%Y-%m-%d}")
            if remark := certificate.remark(now()):
                out.print(remark, style="yellow", soft_wrap=True)
        zone = f"UTC{now().astimezone():%z}"
        out.print(f"Results of Series that name no time zone are dated in that of this machine: {zone}.")
        if not settings.receiver.calling_aes and not settings.receiver.accept_any_calling_ae:
            out.print("No AE may send: name some in receiver.calling_aes.", style="yellow")
        for line in describe_destinations(settings):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
        if not settings.destinations:
            out.print("No destination is configured: results stay in the store.", style="yellow")
        out.print("The configuration is valid.")


@app.command("settings")
def list_all_settings() -> None:
    """List every setting with its default and meaning, as Markdown."""
    out.print(render_settings(), markup=False, soft_wrap=True, highlight=False)


@app.command("rebuild-index")
def rebuild_index(config: Config = None) -> None:
    """Bring the index in line with the stored files, after it was lost or restored."""
    with configured(config) as settings, _index(settings) as database:
        store = open_store(settings.storage, settings.root)
        try:
            report = _rebuild(database, store)
        except KeyboardInterrupt:
            err.print("Interrupted: what was read is entered; run this again, it goes on.", soft_wrap=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        out.print(f"{report.added} added, {report.removed} removed, {report.conflicts} conflicts.")


def _rebuild(database: Database, store: Store) -> RebuildReport:
    """Rebuild the index, and show how far it is."""
    with _progress() as progress:
        task = progress.add_task("comparing the index with the files", total=None)
        return rebuild(
            database,
            store,
            lambda done, of: progress.update(task, description=f"Studies read: {done} of {of}"),
        )


@app.command()
def demo(
    study: Annotated[Path, typer.Argument(help="folder of the Study to push", exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for everything that is made")] = Path(
        "demo-out"
    ),
) -> None:
    """Push a Study through a whole node on this machine and show what comes back."""
    configure_logging(LogSettings(level="ERROR"))
    with reported():
        with _progress() as progress:
            task = progress.add_task("starting", total=None)
            shown = demonstrate(study, output, lambda what: progress.update(task, description=what))
        out.print(shown.findings, markup=False, highlight=False, soft_wrap=True)
        for path in (*shown.received, *shown.pictures):
            out.print(str(path), markup=False, soft_wrap=True)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err, transient=True
    )


app.command("check-peer")(check_peer_command)
app.command("export-dataset")(export_dataset_command)
