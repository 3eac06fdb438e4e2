"""Takes one evaluation from the index and turns its Instances into result files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from pydicom.uid import Comprehensive3DSRStorage

from engines.progress import IDENTIFYING, Progress, Step
from node.assessment import Assessment, Assessor
from node.errors import NothingToAssessError
from node.evaluations import Evaluation, Evaluations, EvaluationState, Result
from node.identity import SOFTWARE_VERSION
from node.observation import NOBODY, Observer
from node.part10 import read_part10
from node.result_files import companions
from node.results.context import EvaluationContext, SupersededReport
from node.results.files import encode
from node.results.sr import ROLE as REPORT_ROLE
from node.results.uids import result_instance_uid
from node.settings import NodeSettings
from node.stage_clock import StageClock
from node.store import Store

log = structlog.get_logger(__name__)


class Evaluator:
    """Does the work of an evaluation; doing it again makes the same files.

    Args:
        settings: under which name the node speaks.
        assessor: identifies, reads, segments and builds the results.
        store: holds Instances and results.
        evaluations: the book of evaluations.
        clock: the current time, with a time zone.
        observer: is told how long it took, and what failed.
    """

    def __init__(
        self,
        settings: NodeSettings,
        assessor: Assessor,
        store: Store,
        evaluations: Evaluations,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._settings, self._assessor, self._store = settings, assessor, store
        self._evaluations, self._clock, self._observer = evaluations, clock, observer

    def evaluate(self, evaluation_id: str) -> None:
        """Make and enter the results of an evaluation, unless it was superseded before it began.

        Raises:
            NodeError: if the Study can not be assessed, or the disk or index not be written.
        """
        evaluation = self._evaluations.start(evaluation_id, self._clock())
        if evaluation.state is not EvaluationState.EVALUATING:
            return
        context = self._context(evaluation)
        if self._is_made(evaluation, context):
            return
        log.info("evaluation.started", study_uid=evaluation.study_uid, evaluation_id=evaluation_id)
        with StageClock(evaluation.study_uid, self._clock, self._observer) as stages:
            assessment = self._assess(evaluation, context, stages)
            self._keep(evaluation, context, assessment)

    def fail(self, evaluation_id: str, reason: str) -> None:
        """Enter why an evaluation failed."""
        self._evaluations.fail(evaluation_id, reason, self._clock())
        self._observer.study_failed(self._evaluations.get(evaluation_id).study_uid)

    def _is_made(self, evaluation: Evaluation, context: EvaluationContext) -> bool:
        """Whether an earlier run made the same results; then making them again could only double them."""
        report = result_instance_uid(context, REPORT_ROLE)
        made = self._evaluations.results(evaluation.evaluation_id)
        return any(result.sop_instance_uid == report for result in made)

    def _assess(self, evaluation: Evaluation, context: EvaluationContext, stages: Progress) -> Assessment:
        def progress(step: Step) -> None:
            stages(step)
            self._evaluations.report_progress(evaluation.evaluation_id, step.words)

        progress(Step(IDENTIFYING, "identifying Series"))
        inputs = self._evaluations.inputs(evaluation.evaluation_id)
        inventory = self._assessor.identify(self._store.path(instance.path) for instance in inputs)
        study = next((each for each in inventory.studies if each.study_uid == evaluation.study_uid), None)
        if study is None:
            raise NothingToAssessError(evaluation.study_uid, ("none of its Instances is an MR image",))
        return self._assessor.assess(study, context, progress)

    def _context(self, evaluation: Evaluation) -> EvaluationContext:
        return EvaluationContext(
            study_uid=evaluation.study_uid,
            fingerprint=self._assessor.identity(evaluation.fingerprint),
            created_at=evaluation.created_at,
            software_version=SOFTWARE_VERSION,
            ae_title=self._settings.sender.ae_title,
            station_name=self._settings.node_id,
            superseded=self._superseded(evaluation),
        )

    def _superseded(self, evaluation: Evaluation) -> tuple[SupersededReport, ...]:
        """Find the reports that this run replaces: of an earlier evaluation, or made with other models."""
        earlier = [evaluation.supersedes] if evaluation.supersedes else []
        reports = [
            result
            for evaluation_id in (*earlier, evaluation.evaluation_id)
            for result in self._evaluations.results(evaluation_id)
            if result.sop_class_uid == Comprehensive3DSRStorage
        ]
        return tuple(
            SupersededReport(
                report.sop_class_uid,
                report.sop_instance_uid,
                read_part10(self._store.path(report.path)).header.series_uid,
            )
            for report in reports
        )

    def _keep(self, evaluation: Evaluation, context: EvaluationContext, assessment: Assessment) -> None:
        """Write all files, and only then enter the objects among them."""
        made = []
        for result in assessment.objects:
            path = self._write(evaluation, context, f"{result.role}.dcm", encode(result))
            made.append(Result(result.sop_instance_uid, result.role, result.sop_class_uid, path))
        for companion in companions(assessment):
            self._write(evaluation, context, companion.name, companion.content)
        self._evaluations.add_results(evaluation.evaluation_id, made)

    def _write(self, evaluation: Evaluation, context: EvaluationContext, name: str, content: bytes) -> str:
        # A run with other models writes beside the files of the one before, which were sent already.
        own_name = f"{context.fingerprint[:8]}-{name}"
        return self._store.put_result(evaluation.study_uid, evaluation.evaluation_id, own_name, content)
