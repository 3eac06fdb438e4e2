"""A form that cannot be made leaves the others their way, and the Study is not called delivered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from engines.runners.choice import open_runner
from engines.segmentation import Segmentor
from engines.segments import Segment
from node.assessment import Assessor
from node.completeness import CompletenessSettings
from node.courier import Courier
from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.evaluations import Evaluations
from node.evaluator import Evaluator
from node.listing import StudyChoice
from node.outbound import DestinationSettings
from node.outcomes import Outcomes
from node.results.forms import Form
from node.settings import Destination, NodeSettings
from node.study_report import render_study
from node.study_states import StudyState, count_states
from node.study_view import StudyViews
from tests.support.arrivals import Arrivals, at
from tests.support.onnx_models import write_threshold_bundle
from tests.support.small_study import study_of, write_study

UID = study_of("table without values")
REASON = "Not made: Presentation State; "
SETTINGS = CompletenessSettings()


@dataclass
class Node:
    """A Study that was evaluated, and whose results are queued."""

    database: Database
    views: StudyViews
    deliveries: Deliveries
    courier: Courier
    evaluator: Evaluator
    evaluations: Evaluations
    destinations: dict[str, Destination]

    def state(self) -> StudyState:
        """Return the state of the Study, the same however one asks."""
        (row,) = self.views.page(StudyChoice(exactly=True, uid=UID)).rows
        assert [one.study_uid for one in self.views.page(StudyChoice(row.state)).rows] == [UID]
        with self.database.reading() as connection:
            assert count_states(connection, at(1000), SETTINGS)[row.state] == 1
        return row.state

    def deliver(self) -> None:
        """Enter that all that was queued arrived."""
        for one in self.deliveries.due(at(3)):
            self.deliveries.record_attempt(one, DeliveryState.DELIVERED, 0, "", at(4), None)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """On SQLite alone, as the reports and Segmentations take a while."""
    database = Database(f"sqlite:///{tmp_path}/index.db")
    arrivals, evaluations, outcomes = Arrivals(tmp_path, database), Evaluations(database), Outcomes(database)
    arrivals.open("a", 0)
    # highdicom refuses it, and no volume needs it.
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 0, 16]
    for path in write_study(tmp_path, "table without values", ("flair",))["flair"]:
        image = pydicom.dcmread(path)
        image.VOILUTSequence = [table]
        for keyword in ("WindowCenter", "WindowWidth"):
            image.pop(keyword, None)
        arrivals.send("a", 0, image)
    arrivals.release("a", 0)
    forms = (Form.BINARY, Form.REPORT, Form.PRESENTATION_STATE)
    pacs = DestinationSettings(ae_title="PACS", host="127.0.0.1", port=104, forms=forms)
    research = DestinationSettings(ae_title="RESEARCH", host="127.0.0.1", port=104)
    settings = NodeSettings(root=tmp_path / "root", destinations={"pacs": pacs, "research": research})
    bundle = write_threshold_bundle(tmp_path / "wmh", Segment.WMH)
    assessor = Assessor(settings, {Segment.WMH: Segmentor(bundle, open_runner(bundle))})
    evaluator = Evaluator(settings, assessor, arrivals.store, evaluations, outcomes, lambda: at(2))
    deliveries = Deliveries(database)
    evaluation = evaluations.begin(UID, None, at(1))
    assert evaluation is not None
    evaluator.evaluate(evaluation.evaluation_id)
    books = arrivals.store, evaluations, outcomes, deliveries
    courier = Courier(settings, *books, None, None, lambda: at(3))  # type: ignore[arg-type]
    courier.queue(evaluation.evaluation_id)
    yield Node(
        database,
        StudyViews(database, arrivals.store, SETTINGS, lambda: at(1000)),
        deliveries,
        courier,
        evaluator,
        evaluations,
        settings.destinations,
    )
    database.close()


def test_other_forms_are_delivered_and_the_study_says_what_is_missing(node: Node) -> None:
    view = node.views.study(UID)
    assert {one.kind for one in view.deliveries} == {"seg-WMH", "seg-combined", "sr"}
    assert node.state() is StudyState.DELIVERING
    assert REASON in view.row.reason
    node.deliver()
    assert node.state() is StudyState.FAILED
    view = node.views.study(UID)
    assert (view.row.delivered_count, view.row.delivery_count) == (6, 6)
    assert view.row.reason.startswith(REASON)
    assert view.findings is not None
    assert any(remark.startswith(REASON) for remark in view.findings.remarks)
    assert render_study(view).plain.count(view.row.reason) == 1


def test_retry_makes_what_is_missing_and_leaves_what_was_sent(node: Node) -> None:
    node.deliver()
    evaluation = node.evaluations.retry(UID, at(5))
    before = node.evaluations.results(evaluation.evaluation_id)
    node.evaluator.evaluate(evaluation.evaluation_id)
    assert node.evaluations.results(evaluation.evaluation_id) == before
    assert evaluation.run == 2


def test_retry_asks_for_nothing_that_no_destination_wants_any_more(node: Node) -> None:
    node.deliver()
    del node.destinations["pacs"]
    evaluation = node.evaluations.retry(UID, at(5))
    node.evaluator.evaluate(evaluation.evaluation_id)
    node.courier.queue(evaluation.evaluation_id)
    assert node.state() is StudyState.DELIVERED
    assert node.views.study(UID).row.reason == ""
