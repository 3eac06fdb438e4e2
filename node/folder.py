"""The same job on files, without network, index or queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from engines.errors import EngineError
from engines.progress import IDENTIFYING, Progress, Step
from node.assessment import Assessment, Assessor
from node.errors import NodeError
from node.evaluations import fingerprint_of
from node.inventory import StudyInventory
from node.part10 import dataset_digest
from node.result_files import SELECTION, companions, selection_content
from node.results.files import write_results
from node.results.forms import FormChoice
from node.selection import Selection

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessedStudy:
    """What became of one Study.

    Attributes:
        study_uid: Study Instance UID.
        assessment: what was found; None if the Study failed.
        paths: the files that were written.
        reason: why it failed or which results are missing, one sentence; else empty.
    """

    study_uid: str
    assessment: Assessment | None
    paths: tuple[Path, ...] = ()
    reason: str = ""


def process_folder(
    folder: Path, output: Path, choice: FormChoice, assessor: Assessor, now: datetime, progress: Progress
) -> Iterator[ProcessedStudy]:
    """Assess every Study in a folder; one that fails does not keep the next from its turn.

    Args:
        folder: is searched with all its folders; what is no MR image is left out.
        output: gets one folder for each Study, named by its UID.
        choice: in which forms the findings are wanted.
        assessor: does the work.
        now: the time that the results bear.
        progress: told what is done now.
    """
    progress(Step(IDENTIFYING, "identifying Series"))
    for study in assessor.identify([folder]).studies:
        try:
            yield _process(study, output / study.study_uid, choice, assessor, now, progress)
        except (NodeError, EngineError) as error:
            log.warning("study.failed", study_uid=study.study_uid, reason=str(error))
            yield ProcessedStudy(study.study_uid, None, reason=str(error))


def _process(
    study: StudyInventory,
    output: Path,
    choice: FormChoice,
    assessor: Assessor,
    now: datetime,
    progress: Progress,
) -> ProcessedStudy:
    inputs = fingerprint_of((uid, dataset_digest(path)) for uid, path in study.paths.items())
    context = assessor.context(study.study_uid, inputs, now)
    selection_path = output / SELECTION

    def keep(selection: Selection) -> None:
        output.mkdir(parents=True, exist_ok=True)
        _replace(selection_path, selection_content(selection))

    assessment = assessor.assess(study, context, progress, lambda _: (choice,), keep)
    paths = [*write_results(assessment.objects, output), selection_path]
    for companion in companions(assessment):
        path = output / companion.name
        _replace(path, companion.content)
        paths.append(path)
    return ProcessedStudy(study.study_uid, assessment, tuple(paths), assessment.problem)


def _replace(path: Path, content: bytes) -> None:
    """Give a file its name only once it is whole."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
