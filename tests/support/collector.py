"""What a collector of OpenTelemetry gets, read with the messages of the protocol itself."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.web_servers import WebServer


def spans_of(collector: WebServer) -> list[Span]:
    """Return all spans that were posted."""
    posted = [ExportTraceServiceRequest.FromString(request.body) for request in collector.requests]
    return [
        span
        for message in posted
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def value_of(span: Span, name: str) -> str:
    """Return an attribute of a span, empty if it has none."""
    return next((each.value.string_value for each in span.attributes if each.key == name), "")
