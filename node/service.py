"""The running node: the one place where the parts are put together."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from node.assessment import Assessor
from node.courier import Courier
from node.database import Database
from node.deliveries import Deliveries
from node.dispatcher import Dispatcher
from node.evaluations import Evaluations
from node.evaluator import Evaluator
from node.index import Index
from node.receiver import Receiver
from node.segmentors import open_segmentors
from node.settings import NodeSettings
from node.store import Store
from node.workflow import DurableQueue, StudyWorkflow

log = structlog.get_logger(__name__)


def now() -> datetime:
    """Return the current time in UTC: the clock of everything that is put together here."""
    return datetime.now(UTC)


class Service:
    """A node that receives, evaluates and sends while its context is open.

    Entering it opens the models and the databases, resumes what a dead process left, and only then listens.

    Attributes:
        settings: the node's configuration.
        receiver: the listening SCP, once entered.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
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
        self._parts.close()
        log.info("node.stopped")

    def _put_together(self, opened: ExitStack) -> Receiver:
        settings = self.settings
        segmentors = opened.enter_context(open_segmentors(settings))
        store = Store(settings.root)
        database = opened.enter_context(closing(Database(settings.index_url)))
        index, evaluations, deliveries = Index(database), Evaluations(database), Deliveries(database)
        courier = Courier(settings, store, evaluations, deliveries, now)
        evaluator = Evaluator(settings, Assessor(settings, segmentors), store, evaluations, now)
        queue = opened.enter_context(
            DurableQueue(settings.workflow_url, settings.node_id, StudyWorkflow(evaluator, courier))
        )
        opened.enter_context(Dispatcher(index, evaluations, deliveries, settings.completeness, queue, now))
        return opened.enter_context(Receiver(settings.receiver, store, index, now))
