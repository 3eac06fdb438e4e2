"""Pages over an index with three Studies, the first evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydicom.uid import Comprehensive3DSRStorage

from engines.segments import Segment
from node.completeness import CompletenessSettings
from node.database import Database
from node.evaluations import Evaluations, Result
from node.findings_record import FindingsRecord, SegmentRecord
from node.health import Health
from node.metrics import Metrics
from node.retrying import resend_study, retry_study
from node.study_view import StudyViews
from node.web.application import add_pages, make_application
from node.web.pages import EngineLine, PageSources
from node.web.server import WebServer
from node.web.settings import WebSettings
from tests.support.arrivals import STUDY_UID, Arrivals, at
from tests.support.peers import LOOPBACK

FINDINGS = FindingsRecord(
    segments=(
        SegmentRecord(
            segment=Segment.WMH,
            name="White matter hyperintensity",
            lesions=0,
            volume_ml=0.0,
            series_type="T2_FLAIR",
            other_inputs=("T1",),
            counted="probability from 0.4, at least 0.05 ml",
            least_lesion_ml=0.05,
        ),
        SegmentRecord(segment=Segment.LACUNE, name="Lacune", not_assessed="no T1 <Series>"),
    )
)


ENGINES = (EngineLine(Segment.WMH.label, "wmh 0.3.0", "onnxruntime", "the reference", ()),)


class Shown:
    """An index with three Studies, the first evaluated, and pages over it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database, self.arrivals = database, Arrivals(folder, database)
        for number in (1, 2, 3):
            self.arrivals.whole(f"association {number}", number * 10, study=number)
        self.evaluations = Evaluations(database)
        self._evaluate()

    def _evaluate(self) -> None:
        evaluation = self.evaluations.begin(STUDY_UID, None, at(20))
        assert evaluation is not None
        store, name = self.arrivals.store, evaluation.evaluation_id
        path = store.put_result(STUDY_UID, name, "abc-sr.dcm", b"report")
        store.put_result(STUDY_UID, name, "abc-findings.json", FINDINGS.model_dump_json().encode())
        result = Result("1.2.3", "sr", Comprehensive3DSRStorage, path)
        self.evaluations.add_results(name, [result])
        self.evaluations.finish(name, "", at(30))

    @property
    def views(self) -> StudyViews:
        return StudyViews(self.database, self.arrivals.store, CompletenessSettings(), lambda: at(1000))

    @contextmanager
    def served(
        self, health: Health | None = None, engines: Sequence[EngineLine] = ENGINES, **settings: object
    ) -> Iterator[httpx.Client]:
        metrics, health = Metrics(), health or Health()
        application = make_application(health, metrics.registry)
        sources = PageSources(
            self.views,
            lambda: engines,
            lambda study_uid: retry_study(self.database, study_uid, ["PACS", "pacs"], at(1000)),
            lambda study_uid: resend_study(self.database, study_uid, ["PACS", "pacs"], at(1000)),
            health.conditions,
        )
        with WebServer(application, LOOPBACK, 0) as server:
            # As the running node does: the pages come when there is something to show.
            add_pages(application, sources, WebSettings.model_validate(settings), metrics.sign_on_refused)
            with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", timeout=30) as client:
                yield client
