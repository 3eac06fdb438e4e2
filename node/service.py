"""The running node: the one place where the parts are put together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from engines.pipeline import Segmentor
from engines.segments import Segment
from node.assessment import Assessor
from node.courier import Courier
from node.database import Database
from node.deliveries import Deliveries
from node.dispatcher import Dispatcher
from node.evaluations import Evaluations
from node.evaluator import Evaluator
from node.gauges import DiskCollector, EngineCollector, IndexCollector
from node.health import Health
from node.index import Index
from node.metrics import Metrics
from node.receiver import Receiver
from node.segmentors import open_segmentors
from node.settings import NodeSettings
from node.store import Store
from node.web.application import make_application
from node.web.server import WebServer
from node.workflow import DurableQueue, StudyWorkflow

log = structlog.get_logger(__name__)


PARTS = ("store", "database", "engines", "dispatcher", "receiver")
"""What must be open before the node is ready, in the order in which it opens."""


def now() -> datetime:
    """Return the current time in UTC: the clock of everything that is put together here."""
    return datetime.now(UTC)


class Service:
    """A node that receives, evaluates and sends while its context is open.

    Entering it opens the models and the databases, resumes what a dead process left, and only then listens.

    Attributes:
        settings: the node's configuration.
        health: what of it is open and well.
        metrics: what it counted.
        receiver: the listening SCP, once entered.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.health, self.metrics = Health(PARTS), Metrics(settings.receiver.calling_aes)
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._open_web(opened)
            self.receiver = self._put_together(opened)
            self._parts = opened.pop_all()
        log.info(
            "node.ready",
            ae_title=self.settings.receiver.ae_title,
            host=self.settings.receiver.host,
            port=self.receiver.port,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.health.stopping()
        self._parts.close()
        log.info("node.stopped")

    def _open_web(self, opened: ExitStack) -> None:
        """Answer over HTTP from the first moment, so that a probe sees what the node waits for."""
        web = self.settings.web
        if web.port is not None:
            application = make_application(self.health, self.metrics.registry)
            opened.enter_context(WebServer(application, web.host, web.port))

    def _put_together(self, opened: ExitStack) -> Receiver:
        settings, observer, health = self.settings, self.metrics, self.health
        store = Store(settings.root)
        health.opened("store", store.check)
        health.opening("database", "the index is opened")
        database = opened.enter_context(closing(Database(settings.index_url)))
        health.opened("database", database.check)
        health.opening("engines", "the models are opened and proven")
        segmentors = opened.enter_context(open_segmentors(settings))
        health.opened(
            "engines", lambda: ", ".join(f"{name}: {each.runner.name}" for name, each in segmentors.items())
        )
        self._measure(database, segmentors)
        index, evaluations, deliveries = Index(database), Evaluations(database), Deliveries(database)
        courier = Courier(settings, store, evaluations, deliveries, now, observer)
        assessor = Assessor(settings, segmentors)
        evaluator = Evaluator(settings, assessor, store, evaluations, now, observer)
        queue = opened.enter_context(
            DurableQueue(settings.workflow_url, settings.node_id, StudyWorkflow(evaluator, courier))
        )
        dispatcher = Dispatcher(index, evaluations, deliveries, settings.completeness, queue, now, observer)
        opened.enter_context(dispatcher)
        health.opened("dispatcher", dispatcher.check)
        receiver = opened.enter_context(Receiver(settings.receiver, store, index, now, observer))
        health.opened("receiver", receiver.check)
        return receiver

    def _measure(self, database: Database, segmentors: Mapping[Segment, Segmentor]) -> None:
        """Export what index, disk and models say."""
        settings, registry = self.settings, self.metrics.registry
        registry.register(IndexCollector(database, settings.completeness, settings.destinations, now))
        registry.register(DiskCollector(settings.root))
        registry.register(EngineCollector(segmentors))
