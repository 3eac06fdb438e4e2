"""Takes one evaluation from the index and turns its Instances into result files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog
from pydicom.uid import Comprehensive3DSRStorage

from engines.progress import IDENTIFYING, Progress, Step
from node.assessment import Assessment, Assessor
from node.errors import NodeError, NothingToAssessError, UnknownEvaluationError
from node.evaluations import Evaluation, Evaluations, EvaluationState, Result
from node.observation import NOBODY, Observer
from node.outcomes import Outcome, Outcomes, nothing_of
from node.part10 import read_part10
from node.result_files import KEPT, companions, is_of_run, result_name, selection_content, selection_name
from node.results.context import EvaluationContext, SupersededReport
from node.results.files import encode
from node.results.kept_findings import keep_findings
from node.round_trip_instance import is_round_trip
from node.router import Router
from node.routing import count_findings
from node.selection import Selection
from node.settings import NodeSettings
from node.stage_clock import StageClock
from node.store import Store
from node.study_facts import read_descriptions

log = structlog.get_logger(__name__)


class Evaluator:
    """Does the work of an evaluation; doing it again makes the same files.

    Args:
        settings: destinations and routes.
        assessor: identifies, reads, segments and builds the results.
        store: holds Instances and results.
        evaluations: the book of evaluations.
        outcomes: the book of what they came to.
        clock: the current time, with a time zone.
        observer: is told how long it took, and what failed.
    """

    def __init__(
        self,
        settings: NodeSettings,
        assessor: Assessor,
        store: Store,
        evaluations: Evaluations,
        outcomes: Outcomes,
        clock: Callable[[], datetime],
        observer: Observer = NOBODY,
    ) -> None:
        self._settings, self._assessor, self._store = settings, assessor, store
        self._evaluations, self._outcomes = evaluations, outcomes
        self._clock, self._observer = clock, observer

    def evaluate(self, evaluation_id: str) -> None:
        """Make and enter the results of an evaluation, unless it was superseded before it began.

        Raises:
            NodeError: if the Study cannot be assessed, or the disk or index not be written.
        """
        evaluation = self._evaluations.start(evaluation_id, self._clock())
        if evaluation.state is not EvaluationState.EVALUATING:
            return
        if is_round_trip(evaluation.study_uid):
            self._outcomes.record(evaluation_id, evaluation.run, nothing_of(evaluation.fingerprint))
            return
        context = self._assessor.context(evaluation.study_uid, evaluation.fingerprint, evaluation.created_at)
        context = replace(context, superseded=self._superseded(evaluation, context.fingerprint))
        router = self._router(evaluation_id)
        made = self._outcomes.of(evaluation_id, context.fingerprint)
        if made is not None and self._is_enough(evaluation, made, router):
            return
        self.log_of(evaluation_id).info("evaluation.started")
        with StageClock(evaluation.study_uid, self._clock, self._observer) as stages:
            assessment = self._assess(evaluation, context, router, stages)
            self._keep(evaluation, context, assessment, router)

    def fail(self, evaluation_id: str, reason: str) -> None:
        """Enter why an evaluation failed, unless it had ended before or its Study was removed."""
        try:
            failed = self._evaluations.fail(evaluation_id, reason, self._clock())
        except UnknownEvaluationError:
            log.info("evaluation.gone", evaluation_id=evaluation_id)
            return
        if not failed:
            self.log_of(evaluation_id).info("evaluation.had_ended", reason=reason)
            return
        self.log_of(evaluation_id).warning("evaluation.failed", reason=reason)
        self._observer.study_failed(self._evaluations.get(evaluation_id).study_uid)

    def interrupted(self, evaluation_id: str, reason: str) -> None:
        """Say what holds an evaluation up, which is tried again in a moment."""
        self.log_of(evaluation_id).warning("evaluation.interrupted", reason=reason)
        # The index may be what holds it up.
        with contextlib.suppress(NodeError):
            self._evaluations.report_progress(evaluation_id, f"tried again in a moment: {reason}")

    def log_of(self, evaluation_id: str) -> structlog.stdlib.BoundLogger:
        """Return the log that says of each line which evaluation it is about, and of which Study.

        The Study is left out where the index is what went wrong.
        """
        bound: structlog.stdlib.BoundLogger = log.bind(evaluation_id=evaluation_id)
        with contextlib.suppress(NodeError):
            bound = bound.bind(study_uid=self._evaluations.get(evaluation_id).study_uid)
        return bound

    def _router(self, evaluation_id: str) -> Router:
        inputs = self._evaluations.inputs(evaluation_id)
        one_a_series = {each.series_uid: self._store.path(each.path) for each in inputs}
        described = read_descriptions(one_a_series.values())
        return Router(self._settings, {each.calling_ae for each in inputs}, described)

    def _is_enough(self, evaluation: Evaluation, made: Outcome, router: Router) -> bool:
        """Whether an earlier run made the same results in all forms that are wanted now."""
        destinations = router.destinations(made.findings)
        if not {choice.key for choice in router.choices(destinations)} <= set(made.choices):
            return False
        # Nothing that is wanted now is missing, whatever else could not be made.
        now_routed = made.model_copy(update={"destinations": destinations, "problem": ""})
        self._outcomes.record(evaluation.evaluation_id, evaluation.run, now_routed)
        return True

    def _assess(
        self, evaluation: Evaluation, context: EvaluationContext, router: Router, stages: Progress
    ) -> Assessment:
        def progress(step: Step) -> None:
            stages(step)
            if step.took_s is None:
                self._evaluations.report_progress(evaluation.evaluation_id, step.words)

        progress(Step(IDENTIFYING, "identifying Series"))
        inputs = self._evaluations.inputs(evaluation.evaluation_id)
        inventory = self._assessor.identify(self._store.paths(instance.path for instance in inputs))
        study = next((each for each in inventory.studies if each.study_uid == evaluation.study_uid), None)
        if study is None:
            raise NothingToAssessError(evaluation.study_uid, ("none of its Instances is an MR image",))
        return self._assessor.assess(
            study,
            context,
            progress,
            lambda found: router.choices(router.destinations(count_findings(found))),
            lambda selection: self._keep_selection(evaluation, selection),
        )

    def _keep_selection(self, evaluation: Evaluation, selection: Selection) -> None:
        """Write what each Series was taken for: who asks why a Study failed needs it, too."""
        name, content = selection_name(evaluation.run), selection_content(selection)
        self._store.put_result(evaluation.study_uid, evaluation.evaluation_id, name, content)

    def _superseded(self, evaluation: Evaluation, fingerprint: str) -> tuple[SupersededReport, ...]:
        """Find the reports that this run replaces: of an earlier evaluation, or made with other models.

        Those with its own fingerprint tell the same findings in another form, or are its own from before an
        interruption.
        """
        own = self._evaluations.results(evaluation.evaluation_id)
        replaced = [each for each in own if not is_of_run(each.path, fingerprint)]
        return tuple(
            SupersededReport(
                report.sop_class_uid,
                report.sop_instance_uid,
                read_part10(self._store.path(report.path)).header.series_uid,
                report.kind,
            )
            for report in (*self._made_before(evaluation), *replaced)
            if report.sop_class_uid == Comprehensive3DSRStorage
        )

    def _made_before(self, evaluation: Evaluation) -> list[Result]:
        """List the results of the latest evaluation before it that made any; those between failed."""
        earlier = evaluation.supersedes
        while earlier is not None:
            if results := self._evaluations.results(earlier):
                return results
            earlier = self._evaluations.get(earlier).supersedes
        return []

    def _keep(
        self, evaluation: Evaluation, context: EvaluationContext, assessment: Assessment, router: Router
    ) -> None:
        """Write all files, only then enter the objects among them, and then where they go.

        What an earlier run made stays as it was: it was sent already.
        """
        for missing in assessment.not_made:
            fault = (type(missing.error), missing.error, missing.error.__traceback__)
            self.log_of(evaluation.evaluation_id).error(
                "result.not_made", reason=missing.reason, exc_info=fault
            )
        known = {result.sop_instance_uid for result in self._evaluations.results(evaluation.evaluation_id)}
        made = []
        for result in assessment.objects:
            if result.sop_instance_uid not in known:
                path = self._write(evaluation, context, f"{result.role}.dcm", encode(result))
                made.append(Result(result.sop_instance_uid, result.role, result.sop_class_uid, path))
        for companion in companions(assessment):
            self._write(evaluation, context, companion.name, companion.content)
        kept = keep_findings(assessment.findings, assessment.sources, context)
        self._write(evaluation, context, KEPT, kept)
        self._evaluations.add_results(evaluation.evaluation_id, made)
        self._outcomes.record(
            evaluation.evaluation_id, evaluation.run, self._outcome(evaluation, context, assessment, router)
        )

    def _outcome(
        self, evaluation: Evaluation, context: EvaluationContext, assessment: Assessment, router: Router
    ) -> Outcome:
        counted = count_findings(assessment.findings)
        destinations = router.destinations(counted)
        before = self._outcomes.of(evaluation.evaluation_id, context.fingerprint)
        lacking = {one.form for one in assessment.not_made}
        whole = {choice.key for choice in router.choices(destinations) if not choice.forms & lacking}
        instances = {result.role: result.sop_instance_uid for result in assessment.objects}
        return Outcome(
            fingerprint=context.fingerprint,
            choices=tuple(sorted({*whole, *(before.choices if before else ())})),
            instances={**(before.instances if before else {}), **instances},
            findings=counted,
            destinations=destinations,
            problem=assessment.problem,
        )

    def _write(self, evaluation: Evaluation, context: EvaluationContext, name: str, content: bytes) -> str:
        own_name = result_name(context.fingerprint, name)
        return self._store.put_result(evaluation.study_uid, evaluation.evaluation_id, own_name, content)
