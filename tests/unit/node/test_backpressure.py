"""A queue that is too long is seen, and by choice new Studies come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.backpressure import Admission, BackPressureSettings, QueueState, queue_state
from node.completeness import CompletenessSettings
from node.database import Database
from node.errors import OutOfResourcesError
from node.evaluations import Evaluations
from node.gauges import IndexCollector
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.instances import mr_dataset

OTHER, NEW = (str(mr_dataset(study=number).StudyInstanceUID) for number in (2, 3))


@pytest.fixture
def arrivals(tmp_path: Path, database: Database) -> Arrivals:
    """Two Studies that wait, and one that still arrives."""
    played = Arrivals(tmp_path, database)
    for number, study_uid in enumerate((STUDY_UID, OTHER), 1):
        played.whole(f"a{number}", number, study=number)
        Evaluations(database).begin(study_uid, None, at(10 * number))
    played.open("b", 30)
    played.send("b", 31, mr_dataset(study="arrives"))
    return played


@pytest.mark.usefixtures("arrivals")
def test_queue_is_counted(database: Database) -> None:
    with database.reading() as connection:
        assert queue_state(connection) == QueueState(waiting=2, evaluating=0, oldest_at=at(10))
    (first, *_) = Evaluations(database).unfinished()
    Evaluations(database).start(first.evaluation_id, at(40))
    with database.reading() as connection:
        assert queue_state(connection) == QueueState(waiting=1, evaluating=1, oldest_at=at(20))


@pytest.mark.usefixtures("arrivals")
@pytest.mark.parametrize(("limit", "full"), [(1, 1), (2, 0)])
def test_queue_and_its_limit_are_exported(database: Database, limit: int, full: int) -> None:
    settings = BackPressureSettings(limit=limit)
    families = IndexCollector(database, CompletenessSettings(), (), lambda: at(60), settings).collect()
    seen = {
        family.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels == {"queue": "evaluations"}
    }
    assert seen == {
        "csvd_queue_depth": 2,
        "csvd_queue_oldest_age_seconds": 50,
        "csvd_queue_running": 0,
        "csvd_queue_limit": limit,
        "csvd_queue_full": full,
    }


@pytest.mark.usefixtures("arrivals")
def test_new_study_is_refused_above_the_limit_and_one_begun_is_not(database: Database) -> None:
    admission = Admission(database, BackPressureSettings(limit=1, refuse=True))
    with pytest.raises(OutOfResourcesError, match="2 Studies wait for evaluation, more than 1") as caught:
        admission.check(NEW)
    assert (caught.value.status, len(caught.value.comment) <= 64) == (0xA700, True)
    admission.check(STUDY_UID)


@pytest.mark.usefixtures("arrivals")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": 2, "refuse": True}, ""),
        (
            {"limit": 1, "refuse": True},
            "2 Studies wait for a worker, more than backpressure.limit (1): new ones are refused",
        ),
        (
            {"limit": 1},
            "2 Studies wait for a worker, more than backpressure.limit (1): new ones are taken all the same",
        ),
    ],
)
def test_queue_that_is_too_long_is_said(database: Database, settings: dict[str, object], said: str) -> None:
    assert Admission(database, BackPressureSettings.model_validate(settings)).strain() == said


@pytest.mark.usefixtures("arrivals")
@pytest.mark.parametrize("settings", [{"limit": 2, "refuse": True}, {"limit": 1, "refuse": False}])
def test_new_study_is_let_in(database: Database, settings: dict[str, object]) -> None:
    Admission(database, BackPressureSettings.model_validate(settings)).check(NEW)


def test_study_is_let_in_as_a_whole(arrivals: Arrivals, database: Database) -> None:
    admission = Admission(database, BackPressureSettings(limit=1, refuse=True))
    limited = Arrivals(arrivals.store.root, database, admit=admission.check)
    limited.open("c", 50)
    with pytest.raises(OutOfResourcesError):
        limited.send("c", 51, mr_dataset(study=3))
    limited.send("c", 52, mr_dataset(study="arrives", number=2))
    limited.release("c", 53)
    assert [
        row.refused for row in next(a for a in limited.index.open_studies() if a.study_uid == NEW).carriages
    ] == [1]
