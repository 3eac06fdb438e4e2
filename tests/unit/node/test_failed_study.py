"""Of a Study that failed an administrator sees what each Series was taken for, as of one that is finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from engines.segments import SeriesType
from node.assessment import Assessor
from node.completeness import CompletenessSettings
from node.database import Database
from node.evaluations import Evaluations
from node.evaluator import Evaluator
from node.observation import Observers
from node.outcomes import Outcomes
from node.results.errors import PatientMismatchError
from node.settings import NodeSettings
from node.study_report import render_study, study_record
from node.study_view import StudyViews
from tests.support.arrivals import Arrivals, at
from tests.support.small_study import PATIENT, study_of, write_study

UID = study_of("mixed")


class Counter(Observers):
    """Counts failed Studies."""

    failed = 0

    def study_failed(self, study_uid: str) -> None:
        self.failed += 1


@pytest.fixture
def counter() -> Counter:
    """Is told what happens."""
    return Counter()


@pytest.fixture
def views(tmp_path: Path, database: Database, counter: Counter) -> StudyViews:
    """Pages on a Study that failed because its Series name two patients."""
    another = replace(PATIENT, patient_id="CSVD-PHANTOM-2")
    paths = [
        *write_study(tmp_path / "one", "mixed", ("flair",))["flair"],
        *write_study(tmp_path / "other", "mixed", ("t1", "dwi"), another)["dwi"],
    ]
    arrivals = Arrivals(tmp_path, database)
    arrivals.open("a", 0)
    for path in paths:
        arrivals.send("a", 0, pydicom.dcmread(path))
    arrivals.release("a", 0)
    settings, evaluations = NodeSettings(root=tmp_path / "root"), Evaluations(database)
    evaluator = Evaluator(
        settings,
        Assessor(settings, {}),
        arrivals.store,
        evaluations,
        Outcomes(database),
        lambda: at(2),
        counter,
    )
    evaluation = evaluations.begin(UID, None, at(1))
    assert evaluation is not None
    with pytest.raises(PatientMismatchError) as raised:
        evaluator.evaluate(evaluation.evaluation_id)
    evaluator.fail(evaluation.evaluation_id, str(raised.value))
    # as when the process dies before it has noted that this was done
    evaluator.fail(evaluation.evaluation_id, "It failed once more.")
    return StudyViews(database, arrivals.store, CompletenessSettings(), lambda: at(1000))


def test_failed_study_keeps_what_each_series_was_taken_for(views: StudyViews) -> None:
    view = views.study(UID)
    assert {line.series_type for line in view.series} == {SeriesType.T2_FLAIR, SeriesType.DWI_B1000}
    assert {line.outcome for line in view.series} == {"chosen"}
    assert all(line.evidence for line in view.series)
    assert view.series_of == 1
    assert view.findings is None


def test_a_failure_that_comes_again_is_neither_entered_nor_counted(
    views: StudyViews, counter: Counter
) -> None:
    assert "is not that of T2-FLAIR" in views.study(UID).row.reason
    assert counter.failed == 1


def test_command_tells_it_in_words_and_as_json(views: StudyViews) -> None:
    view = views.study(UID)
    said = render_study(view).plain
    assert said.count("PatientID of DWI b1000 is not that of T2-FLAIR") == 1
    assert "\n\nEvaluation 1, run 1: failed\n\nAs evaluation 1 took the Series:\n" in said
    for line in view.series:
        assert f"{line.series_uid}: {line.kind}, chosen. {line.reason}" in said
    record = json.loads(json.dumps(study_record(view)))
    assert [line["series_uid"] for line in record["series"]] == [line.series_uid for line in view.series]
    assert record["series_of_evaluation"] == 1
    assert [(one["state"], one["number"]) for one in record["evaluations"]] == [("failed", 1)]
    assert PATIENT.name not in said + str(record)
