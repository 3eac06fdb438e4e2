"""Which Studies go first, and that they do so once any of their Instances says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.database import Database
from node.evaluations import Evaluations
from node.urgency import UrgentRule, is_urgent
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset


@pytest.mark.parametrize(
    ("rule", "calling_ae", "description", "expected"),
    [
        pytest.param({"calling_ae": "ER*"}, "ER1", "", True, id="sender"),
        pytest.param({"calling_ae": "ER*"}, "MR1", "", False, id="other-sender"),
        pytest.param({"calling_ae": "ER*"}, "er1", "", False, id="ae-titles-have-a-case"),
        pytest.param({"study_description": "*stroke*"}, "MR1", "Brain STROKE MRI", True, id="description"),
        pytest.param({"study_description": "*stroke*"}, "MR1", "", False, id="no-description"),
        pytest.param({"calling_ae": "ER?", "study_description": "*stroke*"}, "ER1", "Knee", False, id="both"),
    ],
)
def test_rule_matches_sender_and_description(
    rule: dict[str, str], calling_ae: str, description: str, expected: bool
) -> None:
    assert is_urgent([UrgentRule(**rule)], calling_ae, description) is expected


def test_no_rule_lets_nothing_go_first() -> None:
    assert not is_urgent([], "ER1", "stroke")


def test_study_stays_urgent_and_hands_it_on_to_its_evaluation(tmp_path: Path, database: Database) -> None:
    rules = (UrgentRule(study_description="*stroke*"),)
    arrivals = Arrivals(tmp_path, database, urgent=rules)
    arrivals.open("a", 0)
    plain, urgent, late = (mr_dataset(number=number) for number in (1, 2, 3))
    urgent.StudyDescription = "MR STROKE protocol"
    for second, dataset in enumerate((plain, urgent, late), 1):
        arrivals.send("a", second, dataset)
    arrivals.release("a", 4)
    evaluation = Evaluations(database).begin(STUDY_UID, None, at(20))
    assert evaluation is not None
    assert evaluation.is_urgent
