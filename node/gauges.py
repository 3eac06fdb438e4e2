"""What index, disk and models say at the moment that Prometheus asks, the same from every process."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Select, func, select

from engines.segmentation import Segmentor
from engines.segments import Segment
from node.backpressure import BackPressureSettings, queue_state
from node.completeness import CompletenessSettings
from node.database import Database
from node.deliveries import DeliveryState, is_tried
from node.errors import IndexUnavailableError
from node.study_states import count_states
from node.tables import deliveries
from node.watched_runner import WatchedRunner
from node.work_queue import DELIVERIES, EVALUATIONS

KEPT_S = 5.0
"""How long an answer of the index is given again, s, so that many who ask do not load the database."""

KEPT_TIMES = 20
"""And so many times as long as it took: of a large index it takes a second, and every process is asked."""

LONGEST_KEPT_S = 60.0
"""But never longer, s: alerts rest on it."""


class IndexCollector(Collector):
    """Asks the index for Studies by state, for queues, and for what destinations wait for.

    Args:
        database: the index.
        settings: when a Study is complete.
        destinations: names of those configured: they are there also when nothing waits.
        clock: the current time, with a time zone.
        backpressure: when the queue of evaluations is too long.
    """

    def __init__(
        self,
        database: Database,
        settings: CompletenessSettings,
        destinations: Iterable[str],
        clock: Callable[[], datetime],
        backpressure: BackPressureSettings = BackPressureSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._database, self._settings, self._clock = database, settings, clock
        self._backpressure = backpressure
        self._destinations = tuple(destinations)
        self._lock = threading.Lock()
        self._kept_until = float("-inf")
        self._families: list[GaugeMetricFamily] = []

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Leave the names open, so that registering does not ask the database."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Measure, or say that the index does not answer."""
        with self._lock:
            began = time.monotonic()
            if began >= self._kept_until:
                self._families, is_reachable = self._measure()
                ended = time.monotonic()
                self._kept_until = ended + (kept_s(ended - began) if is_reachable else KEPT_S)
            return self._families

    def _measure(self) -> tuple[list[GaugeMetricFamily], bool]:
        """Ask the index, and tell whether it answered."""
        reachable = GaugeMetricFamily("csvd_index_reachable", "1 if the index database answers, else 0")
        try:
            with self._database.reading() as connection:
                families = list(self._asked(connection, self._clock()))
        except IndexUnavailableError:
            reachable.add_metric((), 0)
            return [reachable], False
        reachable.add_metric((), 1)
        return [reachable, *families], True

    def _asked(self, connection: Connection, now: datetime) -> Iterator[GaugeMetricFamily]:
        by_state = GaugeMetricFamily("csvd_studies", "Studies by where they are", labels=("state",))
        for state, count in count_states(connection, now, self._settings).items():
            by_state.add_metric((state.value,), count)
        yield by_state
        yield from _queues(connection, now, self._backpressure.limit)
        yield from self._by_destination(
            connection,
            now,
            ("csvd_deliveries_waiting", "Instances that a destination does not have yet"),
            (
                "csvd_delivery_oldest_age_seconds",
                "Age of the oldest Instance that a destination does not have yet",
            ),
            select(deliveries.c.destination, func.count(), func.min(deliveries.c.first_queued_at)).where(
                is_tried(), deliveries.c.state != DeliveryState.SENT
            ),
        )
        yield from self._by_destination(
            connection,
            now,
            (
                "csvd_commitments_waiting",
                "Instances that a destination has and did not commit to yet",
            ),
            (
                "csvd_commitment_oldest_age_seconds",
                "How long the oldest of them is there",
            ),
            select(deliveries.c.destination, func.count(), func.min(deliveries.c.sent_at)).where(
                is_tried(), deliveries.c.state == DeliveryState.SENT
            ),
        )

    def _by_destination(
        self,
        connection: Connection,
        now: datetime,
        count_of: tuple[str, str],
        age_of: tuple[str, str],
        chosen: Select[Any],
    ) -> Iterator[GaugeMetricFamily]:
        """Measure how many deliveries are chosen by destination, and how old the oldest is."""
        waiting = GaugeMetricFamily(*count_of, labels=("destination",))
        oldest = GaugeMetricFamily(*age_of, labels=("destination",))
        statement = chosen.group_by(deliveries.c.destination)
        found = {name: (count, _age_s(since, now)) for name, count, since in connection.execute(statement)}
        for destination in sorted({*self._destinations, *found}):
            count, age_s = found.get(destination, (0, 0.0))
            waiting.add_metric((destination,), count)
            oldest.add_metric((destination,), age_s)
        yield from (waiting, oldest)


class DiskCollector(Collector):
    """Measures the file system of ``root``: it holds the store or, with a bucket, the copies of what is read.

    A bucket has no end that could be measured; when this disk is full, its objects cannot be read here.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Leave the names open."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Measure, or say nothing where the folder is not there."""
        try:
            usage = shutil.disk_usage(self._root)
        except OSError:
            return
        yield GaugeMetricFamily("csvd_disk_free_bytes", "Free bytes of the disk of root", value=usage.free)
        yield GaugeMetricFamily("csvd_disk_size_bytes", "Size of the disk of root", value=usage.total)


class EngineCollector(Collector):
    """Says what runs each model, on what proof, and whether it ran so when it was last used."""

    def __init__(
        self, segmentors: Mapping[Segment, Segmentor], runners: Mapping[Segment, WatchedRunner]
    ) -> None:
        self._segmentors, self._runners = segmentors, runners

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Give one constant for each model, and how it ran last."""
        family = GaugeMetricFamily(
            "csvd_engine_info",
            "1 for each model that serves, with what runs it",
            labels=("segment", "runner", "precision", "proof"),
        )
        for segment, segmentor in self._segmentors.items():
            report = segmentor.report
            if report is not None:
                labels = (segment.value, report.name, report.precision.value, report.proof)
                family.add_metric(labels, 1)
        yield family
        strained = GaugeMetricFamily(
            "csvd_engine_strained",
            "1 for each model that something else ran when it was last used, or in smaller batches, else 0",
            labels=("segment",),
        )
        for segment, runner in self._runners.items():
            strained.add_metric((segment.value,), int(bool(runner.strain)))
        yield strained


def _queues(connection: Connection, now: datetime, limit: int) -> Iterator[GaugeMetricFamily]:
    """Measure what waits for a worker and what is due for sending."""
    due = select(func.count(), func.min(deliveries.c.next_attempt_at)).where(
        deliveries.c.next_attempt_at <= now
    )
    studies = queue_state(connection)
    waiting = {
        EVALUATIONS: (studies.waiting, studies.oldest_at),
        DELIVERIES: tuple(connection.execute(due).one()),
    }
    depth = GaugeMetricFamily("csvd_queue_depth", "Jobs that wait to be begun", labels=("queue",))
    oldest = GaugeMetricFamily(
        "csvd_queue_oldest_age_seconds", "How long the oldest of them waits", labels=("queue",)
    )
    for queue, (count, since) in waiting.items():
        depth.add_metric((queue,), count)
        oldest.add_metric((queue,), _age_s(since, now))
    yield from (depth, oldest)
    yield _of_evaluations("csvd_queue_running", "Jobs that are at work", studies.evaluating)
    yield _of_evaluations("csvd_queue_limit", "How many may wait before the queue is too long", limit)
    yield _of_evaluations(
        "csvd_queue_full", "1 if more wait than the limit, else 0", int(studies.waiting > limit)
    )


def _of_evaluations(name: str, meaning: str, value: int) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=("queue",))
    family.add_metric((EVALUATIONS,), value)
    return family


def kept_s(took_s: float) -> float:
    """Tell how long an answer is given again that took the database so long, s."""
    return min(max(KEPT_S, KEPT_TIMES * took_s), LONGEST_KEPT_S)


def _age_s(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0
