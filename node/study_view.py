"""All that is known of one Study, collected from index and store, without any attribute of the patient."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from engines.segments import Segment
from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import Deliveries, Delivery
from node.errors import UnknownStudyError
from node.evaluations import Evaluation, Evaluations, Result
from node.findings_record import FindingsRecord
from node.listing import StudyChoice, StudyPage, StudyRow, study_page
from node.outcomes import Outcomes
from node.removed import unknown_study
from node.result_files import SELECTION, selection_name
from node.results.forms import Form, form_of, part_of
from node.store import Store
from node.tables import instances

FINDINGS, PICTURE = "findings.json", "overlays.png"
"""Files that the evaluator writes beside the results."""

_ORDER = (Form.REPORT, *(form for form in Form if form is not Form.REPORT))
"""Results in the order in which a person looks for them."""


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """What one stack of images was taken for, and why."""

    series_uid: str
    series_number: int | None
    label: str
    slices: int
    series_type: str | None
    kind: str
    evidence: tuple[str, ...]
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class StudyView:
    """One Study.

    Attributes:
        row: its line in the list.
        evaluations: all of them, oldest first.
        series: what an evaluation looked at, those that were chosen first.
        series_of: number of that evaluation, the latest that got so far; it may have failed. None before one.
        findings: of the latest evaluation with results; None before there is one.
        deliveries: of the latest evaluation, by destination; those that did not arrive come first.
        senders: AE titles that its Instances came from.
        has_picture: whether there is a picture of the overlays.
    """

    row: StudyRow
    evaluations: tuple[Evaluation, ...]
    series: tuple[SeriesLine, ...]
    series_of: int | None
    findings: FindingsRecord | None
    deliveries: tuple[Delivery, ...]
    has_picture: bool
    senders: tuple[str, ...]

    def why(self, evaluation: Evaluation) -> str:
        """Say why an evaluation is where it is; empty where the line of the list says just that."""
        said = evaluation.reason or evaluation.progress
        return "" if said in self.row.reason or said == self.row.progress else said


class StudyViews:
    """Shows Studies.

    Args:
        database: the index.
        store: holds what the evaluations wrote.
        settings: when a Study is complete.
        clock: the current time, with a time zone.
    """

    def __init__(
        self, database: Database, store: Store, settings: CompletenessSettings, clock: Callable[[], datetime]
    ) -> None:
        self._database, self._store, self._settings, self._clock = database, store, settings, clock
        self._evaluations, self._deliveries = Evaluations(database), Deliveries(database)
        self._outcomes = Outcomes(database)

    def page(self, choice: StudyChoice) -> StudyPage:
        """List a page of Studies.

        Raises:
            IndexUnavailableError: if the index does not answer.
        """
        return study_page(self._database, self._clock(), self._settings, choice)

    def study(self, study_uid: str) -> StudyView:
        """Collect what is known of a Study.

        Raises:
            UnknownStudyError: if the index does not know it.
            IndexUnavailableError: if the index does not answer.
        """
        rows = self.page(StudyChoice(uid=study_uid, exactly=True)).rows
        if not rows:
            raise self._unknown(study_uid)
        (row,) = rows
        evaluations = tuple(self._evaluations.of_study(study_uid))
        series_of, selection = self._selection(evaluations)
        latest = self._latest_result(evaluations)
        findings = self._read_beside(latest, FINDINGS)
        return StudyView(
            row=row,
            evaluations=evaluations,
            series=_series(selection),
            series_of=series_of,
            findings=FindingsRecord.model_validate_json(findings) if findings else None,
            deliveries=self._in_order(row.evaluation_id) if row.evaluation_id else (),
            has_picture=latest is not None and self._store.exists(_beside(latest, PICTURE)),
            senders=self._senders(study_uid),
        )

    def why_absent(self, study_uid: str) -> str:
        """Say when and by whom a Study was removed; nothing of one that never was, as far as is known.

        Raises:
            IndexUnavailableError: if the index does not answer.
        """
        return self._unknown(study_uid).why

    def picture(self, study_uid: str) -> bytes | None:
        """Return the picture of the overlays as PNG, None if there is none."""
        return self._read_beside(self._latest_result(self._evaluations.of_study(study_uid)), PICTURE)

    def _unknown(self, study_uid: str) -> UnknownStudyError:
        with self._database.reading() as connection:
            return unknown_study(connection, study_uid)

    def _in_order(self, evaluation_id: str) -> tuple[Delivery, ...]:
        """List the deliveries of an evaluation as a person looks for them."""
        return tuple(sorted(self._deliveries.of_evaluation(evaluation_id), key=_place))

    def _senders(self, study_uid: str) -> tuple[str, ...]:
        """List who sent the Instances that are here."""
        came_from = select(instances.c.calling_ae).distinct().where(instances.c.study_uid == study_uid)
        with self._database.reading() as connection:
            return tuple(connection.scalars(came_from.order_by(instances.c.calling_ae)))

    def _selection(self, evaluations: Sequence[Evaluation]) -> tuple[int, bytes] | tuple[None, None]:
        """Read what the latest run that got so far took each Series for, and of which evaluation it was."""
        for evaluation in reversed(evaluations):
            selection = self._selection_of(evaluation)
            if selection is not None:
                return evaluation.number, selection
        return None, None

    def _selection_of(self, evaluation: Evaluation) -> bytes | None:
        """Read the latest choice of Series of an evaluation; earlier versions kept it only beside results."""
        paths = self._store.result_paths(evaluation.study_uid, evaluation.evaluation_id)
        kept = {PurePosixPath(path).name: path for path in paths}
        for run in range(evaluation.run, 0, -1):
            if selection_name(run) in kept:
                return self._read(kept[selection_name(run)])
        return self._read_beside(self._latest_result([evaluation]), SELECTION)

    def _latest_result(self, evaluations: Sequence[Evaluation]) -> Result | None:
        """Return the last result of the latest of some evaluations that made any."""
        made = (self._results_of_last_run(one.evaluation_id) for one in reversed(evaluations))
        return next((results[-1] for results in made if results), None)

    def _results_of_last_run(self, evaluation_id: str) -> Sequence[Result]:
        """List what the last run made: one with other models has results of its own beside those before."""
        made = self._evaluations.results(evaluation_id)
        outcome = self._outcomes.latest(evaluation_id)
        of_last = set() if outcome is None else set(outcome.instances.values())
        # Earlier versions kept no outcome.
        return [each for each in made if each.sop_instance_uid in of_last] or made

    def _read_beside(self, result: Result | None, name: str) -> bytes | None:
        """Read a file that lies beside a result; None if there is none."""
        return None if result is None else self._read(_beside(result, name))

    def _read(self, path: str) -> bytes | None:
        """Read a file of the store; None if there is none, as its Study may be removed meanwhile."""
        try:
            return self._store.path(path).read_bytes()
        except FileNotFoundError:
            return None


def _beside(result: Result, name: str) -> str:
    """Return the path of a file that was written beside a result."""
    made = PurePosixPath(result.path)
    return str(made.with_name(made.name.removesuffix(f"{result.kind}.dcm") + name))


def _place(delivery: Delivery) -> tuple[str, bool, int, int]:
    """Return where a delivery stands in the list: by destination, the missing first, then by result."""
    form, part = form_of(delivery.kind), part_of(delivery.kind)
    number = list(Segment).index(part) + 1 if isinstance(part, Segment) else part or 0
    return delivery.destination, delivery.state.has_arrived, _ORDER.index(form), number


def _series(selection: bytes | None) -> tuple[SeriesLine, ...]:
    if selection is None:
        return ()
    lines = [_line(stack) for stack in json.loads(selection)["stacks"]]
    return tuple(sorted(lines, key=lambda line: (line.outcome != "chosen", line.series_number or 0)))


def _line(stack: dict[str, Any]) -> SeriesLine:
    values = {name: stack[name] for name in SeriesLine.__slots__}
    return SeriesLine(**{**values, "evidence": tuple(values["evidence"])})
