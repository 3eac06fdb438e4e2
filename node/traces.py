"""The stages of a Study's way as spans of OpenTelemetry: one trace for each Study, over all processes.

The library of the workflows can trace as well; it knows workflows and steps of one process, but neither the
receiving nor the stages nor the Study, which is what a person looks for. Spans carry the Study Instance UID
and no attribute of the patient.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Status, StatusCode, Tracer

from node.completeness import AssociationEnd
from node.identity import SOFTWARE_VERSION
from node.observation import Observer, Observers, Stage
from node.trace_settings import TraceSettings

STUDY, ENDED = "csvd.study_uid", "csvd.ended"
"""Attributes of a span: the Study Instance UID, and how the stage ended where that is not plain."""

FAILED = "failed"
"""Name of the span, without a length, that says that a Study goes no further."""


class StudyIds(RandomIdGenerator):
    """Gives all spans of a Study the same trace, whichever process makes them."""

    def __init__(self) -> None:
        self._current = threading.local()

    def generate_trace_id(self) -> int:
        """Return the trace of the Study that this thread tells of."""
        digest = hashlib.sha256(f"csvd-node {self._current.study_uid}".encode()).digest()
        return int.from_bytes(digest[:16])

    def of_study(self, study_uid: str) -> None:
        """Note of which Study this thread tells next."""
        self._current.study_uid = study_uid


class Traces(Observers):
    """Makes a span of each stage once it is over.

    Args:
        tracer: takes the spans.
        ids: gives them their traces.
    """

    def __init__(self, tracer: Tracer, ids: StudyIds) -> None:
        super().__init__()
        self._tracer, self._ids = tracer, ids

    def stage_ended(self, stage: Stage) -> None:
        """Make a span of it."""
        has_broken = stage.remark not in ("", AssociationEnd.RELEASED)
        self._add(
            stage.study_uid, stage.name, _ns(stage.began_at), _ns(stage.ended_at), stage.remark, has_broken
        )

    def study_failed(self, study_uid: str) -> None:
        """Make a span without a length."""
        now = time.time_ns()
        self._add(study_uid, FAILED, now, now, "", True)

    def _add(
        self, study_uid: str, name: str, began_ns: int, ended_ns: int, ended: str, has_broken: bool
    ) -> None:
        self._ids.of_study(study_uid)
        span = self._tracer.start_span(name, start_time=began_ns, attributes={STUDY: study_uid})
        if ended:
            span.set_attribute(ENDED, ended)
        if has_broken:
            span.set_status(Status(StatusCode.ERROR))
        span.end(max(began_ns, ended_ns))


@contextmanager
def open_traces(settings: TraceSettings) -> Iterator[Observer]:
    """Open the way to the collector, and bring there what is left when the context is left.

    A collector that does not answer holds nothing up: its spans are lost, and the log says so.
    """
    ids = StudyIds()
    resource = Resource.create({SERVICE_NAME: "csvd-node", SERVICE_VERSION: SOFTWARE_VERSION})
    provider = TracerProvider(id_generator=ids, resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_s)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Traces(provider.get_tracer("csvd-node", SOFTWARE_VERSION), ids)
    finally:
        provider.shutdown()


def _ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
