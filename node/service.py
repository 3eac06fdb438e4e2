"""The running node: the one place where the parts are put together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Self

import structlog
from dbos import DBOSConfiguredInstance
from fastapi import FastAPI

from engines.errors import NoDriverError
from engines.segmentation import Segmentor
from engines.segments import Segment
from node.assessment import Assessor
from node.backpressure import Admission
from node.certificates import CertificateCollector, check_tls
from node.commitment_desk import CommitmentDesk
from node.commitments import Commitments
from node.courier import Courier
from node.database import Database
from node.deliveries import Deliveries
from node.dispatcher import Dispatcher
from node.errors import IndexUnavailableError, StoreUnreachableError
from node.evaluations import Evaluations
from node.evaluator import Evaluator
from node.gauges import DiskCollector, EngineCollector, IndexCollector
from node.health import Health, Strain
from node.index import Index
from node.intake import Intake
from node.later_pictures import LaterPictures
from node.leader import TAKEOVER_S, Duty, Leader
from node.leases import open_lease
from node.metrics import Metrics
from node.observation import Observer, Observers
from node.opening import Patience
from node.outcomes import Outcomes
from node.presence import Presence
from node.rebuilding import LOST, is_lost
from node.receiver import Receiver
from node.removal import Removals
from node.retention import Retention
from node.retrying import resend_study, retry_study
from node.roles import Role
from node.segmentors import open_segmentors
from node.settings import NodeSettings
from node.store import Store, open_store
from node.strays import AtWork, Strays
from node.study_view import StudyViews
from node.takeover import Takeover
from node.watched_runner import WatchedRunner, how_they_run
from node.web.application import add_pages, make_application
from node.web.pages import PageSources, engine_lines
from node.web.server import WebServer
from node.work_queue import DELIVERIES, EVALUATIONS, FORGOTTEN_AT_ONCE, WORKFLOW_VERSION, DurableQueue
from node.workflow import DeliveryWorkflow, EvaluationWorkflow, WorkflowRunner

log = structlog.get_logger(__name__)

WORK_KEPT = timedelta(days=7)
"""How long work that was done stays in the tables of the queues, for a person who looks for a fault."""

FORGET_S = 60.0
"""Pause between two times that such work is deleted, s."""

REMOVE_S = 60.0
"""Pause between two looks for Studies that are kept no longer, s."""

Opened = AbstractContextManager[Mapping[Segment, Segmentor]]
"""The models while they are open."""


def parts_of(roles: Collection[Role]) -> tuple[str, ...]:
    """Name what must be open before a process with these roles is ready, in the order in which it opens."""
    busy = {Role.RECEIVE, Role.WORK, Role.SEND}
    needed_by = {"engines": {Role.WORK}, "dispatcher": busy, "receiver": {Role.RECEIVE}}
    parts = ("store", "database", "engines", "dispatcher", "receiver")
    return tuple(part for part in parts if part not in needed_by or needed_by[part] & set(roles))


def now() -> datetime:
    """Return the current time in UTC: the clock of everything that is put together here."""
    return datetime.now(UTC)


class Service:
    """A node that does the work of its roles while its context is open.

    Entering it opens the models and the databases, resumes what a dead process left, and only then listens.

    Args:
        settings: the node's configuration.
        segmentors: opens the models.
        version: of the workflows that it begins and can go on with.

    Attributes:
        settings: the node's configuration.
        health: what of it is open and well.
        metrics: what it counted.
        receiver: the listening SCP, once entered with the role of receiving.
    """

    def __init__(
        self,
        settings: NodeSettings,
        stopping: threading.Event | None = None,
        segmentors: Callable[[NodeSettings], Opened] = open_segmentors,
        version: str = WORKFLOW_VERSION,
    ) -> None:
        self.settings = settings
        self._segmentors, self._version = segmentors, version
        self.health, self.metrics = Health(parts_of(settings.roles)), Metrics(settings.receiver.calling_aes)
        self._patience = Patience(settings.start_wait_s, stopping or threading.Event(), self.health)
        self._observer: Observer = self.metrics
        self._application: FastAPI | None = None
        self._engines: Mapping[Segment, Segmentor] = {}
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._open_web(opened)
            self._observer = self._open_traces(opened)
            self._put_together(opened)
            self._parts = opened.pop_all()
        log.info("node.ready", roles=[role.value for role in self.settings.roles])
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
            self._application = make_application(self.health, self.metrics.registry)
            opened.enter_context(WebServer(self._application, web.host, web.port))

    def _open_traces(self, opened: ExitStack) -> Observer:
        """Let the collector of traces hear what the metrics count, if there is one."""
        if self.settings.traces.endpoint is None:
            return self.metrics
        # Loaded only where it is wanted: it takes time and memory.
        from node.traces import open_traces

        return Observers((self.metrics, opened.enter_context(open_traces(self.settings.traces))))

    def _put_together(self, opened: ExitStack) -> None:
        settings, health = self.settings, self.health
        for certificate in check_tls(settings):
            if remark := certificate.remark(now()):
                log.warning("node.certificate_expires", reason=remark)
        health.opening("store", "the store is opened")
        open_files = partial(open_store, settings.storage, settings.root)
        store = self._patience.open("store", open_files, StoreUnreachableError)
        health.opened("store", store.check)
        database = self._open_database(opened)
        # A bucket that does not answer is told of elsewhere.
        with suppress(OSError):
            if is_lost(database, store):
                log.warning("node.index_lost", reason=LOST)
        self._show(database, store)
        if "dispatcher" in parts_of(settings.roles):
            self._open_work(opened, store, database)

    def _open_work(self, opened: ExitStack, store: Store, database: Database) -> None:
        """Join the processes that share the work, and begin."""
        settings = self.settings
        lease = open_lease(settings.index_url)
        presence = opened.enter_context(Presence(database, lease, settings.roles, self._version, now))
        queue = opened.enter_context(DurableQueue(settings.workflow_url, self._version))
        desk = CommitmentDesk(settings, Commitments(database), now, self._observer)
        at_work = AtWork()
        if workflows := self._workflows(opened, store, database, desk, at_work):
            url, process_id, grace_s = settings.workflow_url, presence.process_id, settings.stop_grace_s
            opened.enter_context(WorkflowRunner(url, process_id, workflows, grace_s, self._version))
            opened.enter_context(Strays(queue, process_id, at_work))
        leader = opened.enter_context(Leader(presence.leads, self._duties(store, database, presence, queue)))
        self.health.opened("dispatcher", leader.check)
        if Role.RECEIVE in settings.roles:
            self._open_receiver(opened, store, database, presence, desk)

    def _workflows(
        self, opened: ExitStack, store: Store, database: Database, desk: CommitmentDesk, at_work: AtWork
    ) -> dict[str, DBOSConfiguredInstance]:
        """Make what this process takes from the queues, by queue; who only receives takes nothing."""
        settings, observer = self.settings, self._observer
        evaluations, outcomes, deliveries = Evaluations(database), Outcomes(database), Deliveries(database)
        pictures = LaterPictures(settings.volumes, store, evaluations, outcomes)
        courier = Courier(settings, store, evaluations, outcomes, deliveries, pictures, desk, now, observer)
        workflows: dict[str, DBOSConfiguredInstance] = {}
        if Role.WORK in settings.roles:
            assessor = self._open_engines(opened)
            evaluator = Evaluator(settings, assessor, store, evaluations, outcomes, now, observer)
            workflows[EVALUATIONS] = EvaluationWorkflow(evaluator, courier, at_work)
        if Role.SEND in settings.roles:
            workflows[DELIVERIES] = DeliveryWorkflow(courier, at_work)
        return workflows

    def _duties(
        self, store: Store, database: Database, presence: Presence, queue: DurableQueue
    ) -> tuple[Duty, ...]:
        """List what the leading process does; each may become the leading one."""
        settings, index, evaluations = self.settings, Index(database), Evaluations(database)
        waits, deliveries = settings.completeness, Deliveries(database)
        dispatcher = Dispatcher(index, evaluations, deliveries, waits, queue, now, self._observer)
        takeover = Takeover(presence, index, evaluations, queue, now, self._observer)
        retention = Retention(database, Removals(database, store, now), settings.retention, now)

        def forget() -> bool:
            return queue.forget_done(now() - WORK_KEPT) == FORGOTTEN_AT_ONCE

        return (
            Duty(takeover.look, TAKEOVER_S),
            Duty(dispatcher.dispatch),
            Duty(forget, FORGET_S),
            Duty(retention.look, REMOVE_S),
        )

    def _open_receiver(
        self, opened: ExitStack, store: Store, database: Database, presence: Presence, desk: CommitmentDesk
    ) -> None:
        settings, observer = self.settings, self._observer
        admission, index = Admission(database, settings.backpressure), Index(database)
        intake = Intake(store, index, presence.process_id, now, observer, admission.check, settings.urgent)
        receiver = Receiver(settings.receiver, store, index, now, observer, intake, desk.reporting)
        self.receiver = opened.enter_context(receiver)
        opened.enter_context(presence.listening())
        self.health.opened("receiver", partial(_receiving, receiver, admission))

    def _open_database(self, opened: ExitStack) -> Database:
        """Open the index, and export what it and the disk say."""
        settings, registry = self.settings, self.metrics.registry
        self.health.opening("database", "the index is opened")
        open_index = partial(Database, settings.index_url)
        database = self._patience.open("database", open_index, IndexUnavailableError)
        opened.enter_context(closing(database))
        self.health.opened("database", database.check)
        known = (settings.completeness, settings.destinations, now, settings.backpressure)
        registry.register(IndexCollector(database, *known))
        registry.register(CertificateCollector(settings))
        registry.register(DiskCollector(settings.root))
        return database

    def _show(self, database: Database, store: Store) -> None:
        """Show the pages, if this process is to."""
        if self._application is None or Role.WEB not in self.settings.roles:
            return
        sources = PageSources(
            StudyViews(database, store, self.settings.completeness, now),
            lambda: engine_lines(self._engines),
            lambda study_uid: retry_study(database, study_uid, self.settings.destinations, now()),
            lambda study_uid: resend_study(database, study_uid, self.settings.destinations, now()),
            self.health.conditions,
        )
        add_pages(self._application, sources, self.settings.web, self.metrics.sign_on_refused)

    def _open_engines(self, opened: ExitStack) -> Assessor:
        """Open the models, and export what runs them."""
        self.health.opening("engines", "the models are opened and proven")

        def open_models() -> Mapping[Segment, Segmentor]:
            return opened.enter_context(self._segmentors(self.settings))

        models = self._patience.open("engines", open_models, NoDriverError)
        runners = {segment: WatchedRunner(segment, model.runner) for segment, model in models.items()}
        segmentors = {segment: replace(model, runner=runners[segment]) for segment, model in models.items()}
        self._engines = segmentors
        self.health.opened("engines", partial(how_they_run, runners))
        self.metrics.registry.register(EngineCollector(segmentors, runners))
        return Assessor(self.settings, segmentors)


def _receiving(receiver: Receiver, admission: Admission) -> str | Strain:
    """Say where the receiver listens, and whether more comes than is evaluated."""
    said, strain = receiver.check(), ""
    # An index that cannot be read is told of as the database.
    with suppress(IndexUnavailableError):
        strain = admission.strain()
    return Strain(f"{said}; {strain}") if strain else said
