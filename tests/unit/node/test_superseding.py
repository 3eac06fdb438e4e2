"""Which reports a new one takes the place of, however the evaluations before it ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from node.assessment import Assessor
from node.database import Database
from node.evaluations import Evaluation, Evaluations
from node.evaluator import Evaluator
from node.outbound import DestinationSettings
from node.outcomes import Outcomes
from node.results.forms import Masks
from node.settings import NodeSettings
from tests.support.arrivals import Arrivals, at
from tests.support.small_study import study_of, write_study

UID = study_of("superseding")
PACS = DestinationSettings(ae_title="PACS", host="127.0.0.1", port=104)
VIEWER = PACS.model_copy(update={"masks": Masks.PER_SERIES, "ae_title": "VIEWER"})


class Node:
    """A Study that arrives Series by Series, and is evaluated without models."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder, self._database = folder, database
        self._files = write_study(folder, "superseding", ("flair", "t1", "dwi"))
        self._arrivals, self.evaluations = Arrivals(folder, database), Evaluations(database)

    def bring(self, series: str, second: int) -> Evaluation:
        """Take a Series, and open the evaluation of what is here then."""
        self._arrivals.open(series, second)
        for path in self._files[series]:
            self._arrivals.send(series, second, pydicom.dcmread(path))
        self._arrivals.release(series, second)
        evaluation = self.evaluations.begin(UID, None, at(second))
        assert evaluation is not None
        return evaluation

    def evaluate(self, evaluation: Evaluation, **destinations: DestinationSettings) -> None:
        """Make its results, as a worker does that knows these destinations."""
        settings = NodeSettings(root=self._folder / "root", destinations=destinations)
        books = self._arrivals.store, self.evaluations, Outcomes(self._database)
        Evaluator(settings, Assessor(settings, {}), *books, lambda: at(2)).evaluate(evaluation.evaluation_id)

    def reports(self, evaluation: Evaluation) -> dict[str, pydicom.Dataset]:
        """Read the reports that it made, by their form."""
        made = self.evaluations.results(evaluation.evaluation_id)
        return {
            each.kind: pydicom.dcmread(self._arrivals.store.path(each.path))
            for each in made
            if each.kind.startswith("sr")
        }


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """On SQLite alone: reports are the same on PostgreSQL, and each takes a while to make."""
    database = Database(f"sqlite:///{tmp_path}/index.db")
    yield Node(tmp_path, database)
    database.close()


def predecessors(report: pydicom.Dataset) -> list[str]:
    """Return the SOP Instance UIDs in Predecessor Documents Sequence."""
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def test_report_names_the_last_one_that_was_made_though_an_evaluation_between_failed(node: Node) -> None:
    first = node.bring("flair", 0)
    node.evaluate(first)
    between = node.evaluations.start(node.bring("t1", 10).evaluation_id, at(11))
    last = node.bring("dwi", 20)
    assert last.supersedes == between.evaluation_id
    node.evaluations.fail(between.evaluation_id, "No such luck.", at(21))
    node.evaluate(last)
    (old,), (new,) = node.reports(first).values(), node.reports(last).values()
    assert predecessors(new) == [old.SOPInstanceUID]


def test_report_for_one_more_destination_takes_the_place_of_none_with_the_same_findings(node: Node) -> None:
    evaluation = node.bring("flair", 0)
    node.evaluate(evaluation, pacs=PACS)
    node.evaluations.retry(UID, at(10))
    node.evaluate(evaluation, pacs=PACS, viewer=VIEWER)
    reports = node.reports(evaluation)
    assert len(reports) == 2
    assert [predecessors(report) for report in reports.values()] == [[], []]
