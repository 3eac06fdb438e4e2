"""A Study in store and index with what its evaluation made, without a node that ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from engines.segments import SeriesType
from node.database import Database
from node.evaluations import Evaluations, Result
from node.geometry import VolumeSettings
from node.later_pictures import LaterPictures
from node.outcomes import Outcome, Outcomes
from node.result_files import KEPT, result_name
from node.results.build import build_results
from node.results.files import encode
from node.results.forms import DEFAULT_CHOICE, Form, FormChoice, form_of
from node.results.kept_findings import keep_findings
from node.store import Store
from tests.support.arrivals import Arrivals, at
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume
from tests.support.result_studies import (
    FINGERPRINT,
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    ResultStudy,
    context,
    findings_on,
    source_from,
)
from tests.support.series_files import write_series

FLAIR = SeriesType.T2_FLAIR
MADE_AT_ONCE = (DEFAULT_CHOICE, FormChoice(frozenset({Form.REPORT})))
"""``seg-WMH`` and ``seg-combined`` with ``sr``, and the report for those who have no masks."""


@dataclass
class Evaluated:
    """A Study in store and index, evaluated, with what the evaluation kept."""

    study: ResultStudy
    database: Database
    store: Store
    evaluations: Evaluations
    outcomes: Outcomes
    evaluation_id: str

    @property
    def pictures(self) -> LaterPictures:
        """Draw what it kept."""
        return LaterPictures(VolumeSettings(), self.store, self.evaluations, self.outcomes)

    def enter(self) -> None:
        """Enter what the evaluation made, and keep its findings."""
        made = build_results(self.study.findings, self.study.sources, context(), MADE_AT_ONCE)
        results = [
            Result(
                one.sop_instance_uid, one.role, one.sop_class_uid, self._put(f"{one.role}.dcm", encode(one))
            )
            for one in made
        ]
        self._put(KEPT, keep_findings(self.study.findings, self.study.sources, context()))
        self.evaluations.add_results(self.evaluation_id, results)
        outcome = Outcome(
            fingerprint=FINGERPRINT,
            choices=(DEFAULT_CHOICE.key,),
            instances={one.kind: one.sop_instance_uid for one in results},
            findings={},
            destinations={"old": "for this test"},
        )
        self.outcomes.record(self.evaluation_id, 1, outcome)

    def _put(self, name: str, content: bytes) -> str:
        return self.store.put_result(STUDY_UID, self.evaluation_id, result_name(FINGERPRINT, name), content)

    @property
    def kept(self) -> Path:
        return self.result(KEPT)

    def result(self, name: str) -> Path:
        folder = self.store.root / "results" / STUDY_UID / self.evaluation_id
        return folder / result_name(FINGERPRINT, name)

    def outcome(self) -> Outcome:
        outcome = self.outcomes.latest(self.evaluation_id)
        assert outcome is not None
        return outcome

    def forms(self) -> set[Form]:
        return {form_of(role) for role in self.outcome().instances}

    def drawn_at_once(self, *forms: Form) -> dict[str, bytes]:
        choice = FormChoice(frozenset(forms))
        made = build_results(self.study.findings, self.study.sources, context(), (choice,))
        return {one.role: encode(one) for one in made}


@contextmanager
def evaluated_study(tmp_path: Path) -> Iterator[Evaluated]:
    """Store a T2-FLAIR, and enter what its evaluation made."""
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((12, 48, 52), (9.0, 3.6, 3.6)))
    paths = write_series(
        volume, PATTERN_OF[FLAIR], tmp_path / "made", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1, order="shuffled", seed=1,
    )  # fmt: skip
    sources = {FLAIR: source_from(paths)}
    study = ResultStudy(findings_on(sources), sources)
    database = Database(f"sqlite:///{tmp_path}/index.db")
    arrivals = Arrivals(tmp_path, database)
    arrivals.open("a", 0)
    for path in paths:
        arrivals.send("a", 0, pydicom.dcmread(path))
    arrivals.release("a", 0)
    evaluations, outcomes, store = Evaluations(database), Outcomes(database), arrivals.store
    evaluation = evaluations.begin(STUDY_UID, None, at(0))
    assert evaluation is not None
    evaluated = Evaluated(study, database, store, evaluations, outcomes, evaluation.evaluation_id)
    evaluated.enter()
    yield evaluated
    database.close()
