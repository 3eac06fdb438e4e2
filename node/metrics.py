"""Counters and histograms of this process, for Prometheus; ``node.gauges`` adds what the index knows."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

from node.observation import ReceivedAs, Stage

DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""Bounds of the histogram: from an Instance's delivery to a wait for a destination that is down."""

MANY_TITLES = 200
"""AE titles that get a time series of their own: a peer chooses its title, and must not fill the memory."""

OTHER = "(other)"
"""Stands for AE titles beyond those."""


class Metrics:
    """Counts what it is told; implements ``node.observation.Observer``.

    Args:
        known_titles: AE titles that certainly get time series of their own.

    Attributes:
        registry: holds everything that the process exports.
    """

    def __init__(self, known_titles: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._titles = set(known_titles)
        self._lock = threading.Lock()
        self._associations = self._counter(
            "associations", "Associations that ended or were rejected", "calling_ae", "result"
        )
        self._instances = self._counter(
            "instances_received", "Instances that arrived, by what became of them", "result"
        )
        self._bytes = self._counter("received_bytes", "Bytes of the data sets that arrived")
        self._failed = self._counter(
            "studies_failed", "Times that a Study failed or was given up; after a retry again"
        )
        self._attempts = self._counter(
            "delivery_attempts",
            "Attempts to deliver an Instance, by their DICOM status",
            "destination",
            "status",
        )
        self._commitments = self._counter(
            "commitments",
            "Instances by what a destination answered when it was asked to take responsibility for them",
            "destination",
            "result",
        )
        self._sign_ons = self._counter(
            "sign_ons_refused", "Attempts to sign on to the pages with a wrong name or password"
        )
        self._stages = Histogram(
            "csvd_stage_duration_seconds",
            "How long a stage of a Study's way took",
            ("stage",),
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        for received_as in ReceivedAs:
            self._instances.labels(received_as.value)

    def association_ended(self, calling_ae: str, result: str) -> None:
        """Count an association."""
        self._associations.labels(self._title(calling_ae), result).inc()

    def instance_received(self, received_as: ReceivedAs, byte_count: int) -> None:
        """Count an Instance and its bytes."""
        self._instances.labels(received_as.value).inc()
        self._bytes.inc(byte_count)

    def stage_ended(self, stage: Stage) -> None:
        """Enter a duration into the histogram."""
        self._stages.labels(stage.name).observe(max(stage.duration_s, 0.0))

    def study_failed(self, study_uid: str) -> None:
        """Count a failed Study."""
        self._failed.inc()

    def delivery_attempted(self, destination: str, status: str) -> None:
        """Count an attempt."""
        self._attempts.labels(destination, status).inc()

    def commitment_answered(self, destination: str, result: str) -> None:
        """Count an answer."""
        self._commitments.labels(destination, result).inc()

    def sign_on_refused(self) -> None:
        """Count a wrong name or password."""
        self._sign_ons.inc()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"csvd_{name}", meaning, labels, registry=self.registry)

    def _title(self, calling_ae: str) -> str:
        with self._lock:
            if len(self._titles) < MANY_TITLES:
                self._titles.add(calling_ae)
            return calling_ae if calling_ae in self._titles else OTHER
