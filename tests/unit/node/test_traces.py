"""Stages as spans, at a collector that is reached over a real socket."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

from opentelemetry.proto.trace.v1.trace_pb2 import Status

from node.observation import Stage
from node.trace_settings import TraceSettings
from node.traces import open_traces
from tests.support.arrivals import at
from tests.support.collector import spans_of, value_of
from tests.support.web_servers import Answer, web_server

BEGAN_NS = round(at(0).timestamp()) * 10**9


def test_study_is_one_trace_whichever_process_tells_of_it() -> None:
    with web_server(lambda _: Answer(200)) as collector:
        settings = TraceSettings(endpoint=f"{collector.url}/v1/traces")
        with open_traces(settings) as receiver, open_traces(settings) as worker:
            receiver.stage_ended(Stage("receive", "1.2.3", at(0), at(2), "released"))
            worker.stage_ended(Stage("read", "1.2.3", at(7), at(9)))
            worker.stage_ended(Stage("read", "1.2.4", at(9), at(11)))
    assert {request.path for request in collector.requests} == {"/v1/traces"}
    by_name = {(span.name, value_of(span, "csvd.study_uid")): span for span in spans_of(collector)}
    received, read, other = by_name["receive", "1.2.3"], by_name["read", "1.2.3"], by_name["read", "1.2.4"]
    assert received.trace_id == read.trace_id != other.trace_id
    assert len({span.span_id for span in by_name.values()}) == len(by_name) == 3
    assert received.start_time_unix_nano == BEGAN_NS
    assert received.end_time_unix_nano == BEGAN_NS + 2 * 10**9
    assert value_of(received, "csvd.ended") == "released"
    assert {each.key for span in by_name.values() for each in span.attributes} == {
        "csvd.study_uid",
        "csvd.ended",
    }
    assert {span.status.code for span in by_name.values()} == {Status.STATUS_CODE_UNSET}


def test_what_breaks_is_an_error_with_its_class() -> None:
    with ExitStack() as running:
        collector = running.enter_context(web_server(lambda _: Answer(200)))
        traces = running.enter_context(open_traces(TraceSettings(endpoint=collector.url)))
        traces.stage_ended(Stage("receive", "1.2.3", at(0), at(2), "aborted"))
        traces.stage_ended(Stage("read", "1.2.3", at(2), at(3), "VolumeError"))
        traces.study_failed("1.2.3")
    spans = spans_of(collector)
    assert {span.status.code for span in spans} == {Status.STATUS_CODE_ERROR}
    assert [value_of(span, "csvd.ended") for span in spans] == ["aborted", "VolumeError", ""]
    assert spans[-1].name == "failed"


def test_collector_that_is_not_there_holds_nothing_up() -> None:
    began = time.monotonic()
    with open_traces(TraceSettings(endpoint="http://127.0.0.1:1/v1/traces", timeout_s=1)) as traces:
        traces.stage_ended(Stage("read", "1.2.3", at(0), at(2)))
        told_s = time.monotonic() - began
    assert told_s < 5
    assert time.monotonic() - began < 30, "sooner than a supervisor loses patience"


def test_nothing_of_it_is_loaded_without_a_collector() -> None:
    code = "import sys, node.service; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
