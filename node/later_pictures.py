"""Pictures of findings, drawn once a destination needs them: most never do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import structlog

from node.evaluations import Evaluation, Evaluations, Result
from node.geometry import VolumeSettings
from node.header_reader import NotAnMrImageError, read_image_header
from node.headers import ImageHeader
from node.model import SourceVolume
from node.outcomes import Outcome, Outcomes
from node.result_files import KEPT, result_name
from node.results.build import build_results
from node.results.errors import KeptFindingsError
from node.results.files import encode
from node.results.forms import PICTURES, Form, FormChoice, form_of
from node.results.kept_findings import KeptFindings, KeptSource, read_kept_findings
from node.results.result_object import ResultObject
from node.stacks import split_stacks
from node.store import Store
from node.volume_reader import read_volume

log = structlog.get_logger(__name__)


class LaterPictures:
    """Draws what an evaluation kept; doing it again makes the same files.

    Args:
        settings: tolerances of the geometry, as they were for the evaluation.
        store: holds Instances and what was kept.
        evaluations: the book of evaluations.
        outcomes: the book of what they came to.
    """

    def __init__(
        self, settings: VolumeSettings, store: Store, evaluations: Evaluations, outcomes: Outcomes
    ) -> None:
        self._settings, self._store = settings, store
        self._evaluations, self._outcomes = evaluations, outcomes
        # Two destinations that refuse at once need the same pictures.
        self._one_at_a_time = threading.Lock()

    def draw(self, evaluation_id: str, forms: Collection[Form]) -> None:
        """Make and enter those pictures among the forms that an evaluation does not have yet.

        Files come first, then the entry of each Instance, and last that the form is made: who is interrupted
        begins again and makes the same.

        Raises:
            NodeError: if it cannot be; the same forms can be asked for again.
            OSError: if a file cannot be fetched.
        """
        with self._one_at_a_time:
            outcome = self._outcomes.latest(evaluation_id)
            missing = [] if outcome is None else _missing(outcome, forms)
            if outcome is not None and missing:
                self._draw(self._evaluations.get(evaluation_id), outcome, missing)

    def _draw(self, evaluation: Evaluation, outcome: Outcome, forms: list[Form]) -> None:
        evaluation_id, study_uid = evaluation.evaluation_id, evaluation.study_uid
        kept = self._kept(evaluation, outcome.fingerprint)
        sources = {one.series_type: self._read(evaluation, one) for one in kept.record.sources}
        choice = FormChoice(frozenset(forms))
        made = build_results(kept.on(sources), sources, kept.record.context, (choice,))
        entries = [self._write(evaluation, outcome.fingerprint, one) for one in made]
        self._evaluations.add_results(evaluation_id, entries)
        drawn = {
            "choices": tuple(FormChoice(frozenset({form})).key for form in forms),
            "instances": {one.role: one.sop_instance_uid for one in made},
        }
        self._outcomes.extend(evaluation_id, outcome.model_copy(update=drawn))
        log.info("pictures.drawn", study_uid=study_uid, evaluation_id=evaluation_id, forms=[*forms])

    def _kept(self, evaluation: Evaluation, fingerprint: str) -> KeptFindings:
        name = f"/{result_name(fingerprint, KEPT)}"
        paths = self._store.result_paths(evaluation.study_uid, evaluation.evaluation_id)
        path = next((path for path in paths if path.endswith(name)), None)
        if path is None:
            raise KeptFindingsError(evaluation.study_uid, "", "nothing was kept to draw pictures of")
        return read_kept_findings(self._store.path(path).read_bytes(), evaluation.study_uid)

    def _read(self, evaluation: Evaluation, kept: KeptSource) -> SourceVolume:
        """Read a volume again, from the same frames."""
        inputs = self._evaluations.inputs(evaluation.evaluation_id)
        mine = [each for each in inputs if each.series_uid == kept.series_uid]
        local = self._store.paths(each.path for each in mine)
        paths = dict(zip((each.sop_instance_uid for each in mine), local, strict=True))
        wanted = {(frame.sop_instance_uid, frame.frame_number) for frame in kept.frames}
        for stack in split_stacks(list(_headers(local))):
            if {(item.instance.sop_instance_uid, item.frame.number) for item in stack.frames} == wanted:
                source = read_volume(stack, paths, self._settings)
                if kept.is_of(source):
                    return source
        problem = "its images are not those that were segmented"
        raise KeptFindingsError(evaluation.study_uid, kept.series_uid, problem)

    def _write(self, evaluation: Evaluation, fingerprint: str, made: ResultObject) -> Result:
        name = result_name(fingerprint, f"{made.role}.dcm")
        path = self._store.put_result(evaluation.study_uid, evaluation.evaluation_id, name, encode(made))
        return Result(made.sop_instance_uid, made.role, made.sop_class_uid, path)


def _headers(paths: Iterable[Path]) -> Iterator[ImageHeader]:
    """Read the headers of a Series; what is no MR image took no part."""
    for path in paths:
        with contextlib.suppress(NotAnMrImageError):
            yield read_image_header(path)


def _missing(outcome: Outcome, forms: Iterable[Form]) -> list[Form]:
    made = {form_of(role) for role in outcome.instances}
    return sorted(
        form
        for form in PICTURES.intersection(forms)
        if form not in made and FormChoice(frozenset({form})).key not in outcome.choices
    )
