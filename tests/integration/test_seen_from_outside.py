"""What a running node says over HTTP: probes and metrics, through a Study and an outage of the PACS."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from pydicom import dcmread

from engines.segments import Segment
from tests.support.collector import spans_of, value_of
from tests.support.peers import echoscu, needs_dcmtk, scripted_pacs, wait_until
from tests.support.running_node import RunningNode
from tests.support.small_study import ENDED, RESULTS, all_of, push, study_of, write_study
from tests.support.web_servers import Answer, web_server

pytestmark = needs_dcmtk

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_of(node: RunningNode) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(node.get("/metrics").text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_metrics_tell_the_way_of_a_study(tmp_path: Path) -> None:
    files = all_of(write_study(tmp_path, "one"))
    with (
        scripted_pacs() as pacs,
        web_server(lambda _: Answer(200)) as collector,
        RunningNode(
            tmp_path / "node",
            {"pacs": ("PACS", pacs.port)},
            traces={"endpoint": f"{collector.url}/v1/traces"},
        ) as node,
    ):
        push(node, files)
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        echoscu(node.port, called="SOMEONE")
        # What the index says is kept for a moment.
        wait_until(lambda: value(metrics_of(node), "csvd_studies", state="delivered") == 1, 20, "counted")
        seen = metrics_of(node)
        study = node.get(f"/studies/{study_of('one')}").text
        told = [study, node.get("/").text, node.get("/engines").text, node.get("/metrics").text, node.log()]
        picture = node.get(f"/studies/{study_of('one')}/overlays.png")
        node.stop()
        spans = spans_of(collector)
        told += [str(spans), node.log()]
        databases = [path for path in node.root.iterdir() if ".sqlite" in path.name]
        told += [path.read_bytes().decode("latin-1") for path in databases]
        open_to_others = [path for path in node.root.rglob("*") if path.stat().st_mode & 0o007]
    source = dcmread(files[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
        marked = str(source[keyword].value)
        assert marked, f"the Study bears a {keyword}"
        assert not any(marked in text for text in told), f"{keyword} is told"
    assert len(databases) >= 2, "index and workflows"
    assert open_to_others == []
    assert picture.content.startswith(b"\x89PNG")
    assert study.count(">delivered</span>") >= RESULTS, "each Instance's delivery"
    assert "0000 Success" in study
    assert "EchoTime" in study, "the evidence"
    assert value(seen, "csvd_associations_total", calling_ae="MR1", result="released") == 1
    assert value(seen, "csvd_associations_total", calling_ae="ECHOSCU", result="rejected") == 1
    assert value(seen, "csvd_instances_received_total", result="new") == len(files)
    sent = sum(path.stat().st_size for path in files)
    assert 0.9 * sent < value(seen, "csvd_received_bytes_total") <= sent, "data sets without their preambles"
    assert value(seen, "csvd_delivery_attempts_total", destination="pacs", status="0000") == RESULTS
    assert value(seen, "csvd_deliveries_waiting", destination="pacs") == 0
    assert value(seen, "csvd_queue_depth", queue="evaluations") == 0
    assert value(seen, "csvd_studies_failed_total") == 0
    assert value(seen, "csvd_disk_size_bytes") > value(seen, "csvd_disk_free_bytes") > 0
    assert_one_trace(spans, seen)
    segments = [f"segment_{segment.value.lower()}" for segment in Segment]
    for stage in ("receive", "quiet_wait", "identify", "read", "measure", "results", *segments):
        assert value(seen, "csvd_stage_duration_seconds_count", stage=stage) == 1
    assert value(seen, "csvd_stage_duration_seconds_count", stage="register") == 3, "onto the T2-FLAIR"
    assert value(seen, "csvd_stage_duration_seconds_count", stage="delivery") == RESULTS
    assert value(seen, "csvd_stage_duration_seconds_sum", stage="quiet_wait") >= 1.0, "the quiet time"
    assert {dict(labels)["segment"] for name, labels in seen if name == "csvd_engine_info"} == {
        "WMH",
        "LACUNE",
        "INFARCT",
        "MICROBLEED",
    }


def assert_one_trace(spans: list[Span], seen: Samples) -> None:
    """All stages that the metrics count are in the Study's trace, as often and as long."""
    assert len({span.trace_id for span in spans}) == 1
    assert {value_of(span, "csvd.study_uid") for span in spans} == {study_of("one")}
    for stage in {span.name for span in spans}:
        lengths_s = [
            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
            for span in spans
            if span.name == stage
        ]
        assert value(seen, "csvd_stage_duration_seconds_count", stage=stage) == len(lengths_s)
        summed_s = value(seen, "csvd_stage_duration_seconds_sum", stage=stage)
        assert sum(lengths_s) == pytest.approx(summed_s, abs=1e-3)
    counted = {dict(labels)["stage"] for name, labels in seen if name == "csvd_stage_duration_seconds_count"}
    assert {span.name for span in spans} == counted
    (received,) = (span for span in spans if span.name == "receive")
    assert value_of(received, "csvd.ended") == "released"


def test_metrics_tell_of_a_pacs_that_is_down(tmp_path: Path) -> None:
    files = all_of(write_study(tmp_path, "one", ("flair",)))
    with RunningNode(tmp_path / "node", {"pacs": ("PACS", 1)}) as node:
        assert node.get("/health/ready").status_code == 200
        push(node, files)
        node.wait_for(study_of("one"), "delivering")
        wait_until(
            lambda: value(metrics_of(node), "csvd_deliveries_waiting", destination="pacs") > 0,
            20,
            "deliveries wait",
        )
        seen = metrics_of(node)
        assert value(seen, "csvd_studies", state="delivering") == 1
        assert value(seen, "csvd_deliveries_waiting", destination="pacs") == 3, "SEG, combined SEG, report"
        assert value(seen, "csvd_delivery_oldest_age_seconds", destination="pacs") > 0
        wait_until(
            lambda: (
                metrics_of(node).get(
                    (
                        "csvd_delivery_attempts_total",
                        frozenset({("destination", "pacs"), ("status", "failed")}),
                    ),
                    0,
                )
                > 0
            ),
            20,
            "attempts failed",
        )
