"""Alerts and dashboard: rules that Prometheus takes, on metrics that the node has."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node.certificates import CertificateCollector
from node.completeness import CompletenessSettings
from node.database import Database
from node.gauges import DiskCollector, EngineCollector, IndexCollector
from node.metrics import Metrics
from node.observation import Stage
from node.receiver_settings import ReceiverSettings
from node.settings import NodeSettings
from node.tls import ReceiverTlsSettings
from tests.support.arrivals import at
from tests.support.chart import CHART, alert_rules, of_kind, rendered
from tests.support.derived_files import COMPOSE_ALERTS, REMEDY, compose_alerts

pytestmark = pytest.mark.chart

DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
TLS = ReceiverTlsSettings(certificate=Path("tls.crt"), key=Path("tls.key"), client_certificate="none")
"""Files that need not be there: what cannot be read is exported, too."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of every sample that a process exports, by the sample's name."""
    folder = tmp_path_factory.mktemp("metrics")
    metrics = Metrics()
    metrics.association_ended("MR1", "released")
    metrics.delivery_attempted("pacs", "0000")
    metrics.stage_ended(Stage("read", "1.2.3", at(0), at(1)))
    with closing(Database(f"sqlite:///{folder / 'index.sqlite'}")) as database:
        metrics.registry.register(IndexCollector(database, CompletenessSettings(), ("pacs",), lambda: at(0)))
        metrics.registry.register(DiskCollector(folder))
        metrics.registry.register(EngineCollector({}, {}))
        metrics.registry.register(CertificateCollector(NodeSettings(receiver=ReceiverSettings(tls=TLS))))
        text = generate_latest(metrics.registry).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("csvd_engine_"):
            found[family.name] = set()
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bcsvd_\w+", expression))


def expressions() -> list[str]:
    alerts = [rule["expr"] for group in alert_rules()["groups"] for rule in group["rules"]]
    return alerts + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_exported(expression: str, exported: dict[str, set[str]]) -> None:
    assert used(expression)
    assert used(expression) <= exported.keys()
    for name, matchers in re.findall(r"\b(csvd_\w+)\{([^}]*)\}", expression):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked - {"namespace"} <= exported[name]


@pytest.mark.parametrize("expression", expressions())
def test_nothing_is_asked_for_of_other_releases(expression: str) -> None:
    """Prometheus gives each series the namespace that it comes from."""
    matchers = re.findall(r"\bcsvd_\w+(\{[^}]*\}|)", expression)
    assert all(re.search(r'namespace="csvd"|namespace=~"\$namespace"', matcher) for matcher in matchers)


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(alert_rules()))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(alert_rules()['groups'][0]['rules'])} rules found" in done.stdout


def certificate(use: str, part: str) -> str:
    return f'csvd_certificate_expiry_timestamp_seconds{{instance="a",use="{use}",part="{part}"}}'


def check_alerts(
    folder: Path,
    rules: dict[str, Any],
    series: list[dict[str, str]],
    expected: Iterable[tuple[str, int, int]],
) -> None:
    """Put series, a value a minute, through Prometheus' own engine.

    Args:
        folder: for its files.
        rules: groups of alerts.
        series: what is scraped, as promtool writes it.
        expected: labels of alerts, a minute, and how many of these alerts fire in it.
    """
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    asked = [
        {
            "expr": f'count(ALERTS{{alertstate="firing",{labels}}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": count}] if count else [],
        }
        for labels, minute, count in expected
    ]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": asked}],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Series as the node exports them."""
    rules = alert_rules("single-gpu")
    series = [
        {"series": 'csvd_index_reachable{instance="a"}', "values": "1x200"},
        {"series": 'csvd_studies_failed_total{instance="a"}', "values": "0x60 1x140"},
        {"series": 'csvd_queue_oldest_age_seconds{queue="evaluations"}', "values": "0x60 1801x140"},
        {"series": 'csvd_queue_full{queue="evaluations"}', "values": "0x60 1x140"},
        {"series": certificate("receiver", "certificate"), "values": f"{30 * 86400 + 3600}x200"},
        {"series": certificate("receiver", "CA"), "values": f"{100 * 86400}x200"},
        {"series": certificate("destination pacs", "certificate"), "values": "0x200"},
        {"series": 'csvd_delivery_oldest_age_seconds{destination="pacs"}', "values": "3599x200"},
        {"series": 'csvd_commitment_oldest_age_seconds{destination="archive"}', "values": "0x60 86401x140"},
        {"series": 'csvd_commitment_oldest_age_seconds{destination="pacs"}', "values": "86399x200"},
        {
            "series": 'csvd_delivery_attempts_total{destination="pacs",status="A700"}',
            # A process exports a status from its first answer on, and the form may be refused but once.
            "values": "_x60 1x140",
        },
        {"series": 'csvd_instances_received_total{result="refused"}', "values": "0x60 1x140"},
        {"series": 'csvd_engine_strained{instance="a",segment="WMH"}', "values": "0x60 1x140"},
        {"series": 'csvd_engine_strained{instance="a",segment="LACUNE"}', "values": "0x200"},
        # Each process alone stays below the limit.
        {"series": 'csvd_sign_ons_refused_total{instance="a"}', "values": "0x60 0+1x140"},
        {"series": 'csvd_sign_ons_refused_total{instance="b"}', "values": "0x60 0+1x140"},
        {"series": 'csvd_disk_free_bytes{instance="a"}', "values": "9x200"},
        {"series": 'csvd_disk_size_bytes{instance="a"}', "values": "100x200"},
    ]
    for each in series:
        each["series"] = each["series"].replace("{", '{namespace="csvd",')
    # Another release, whose own alerts fire for it.
    series.append({"series": 'csvd_index_reachable{namespace="other",instance="z"}', "values": "0x200"})
    firing = {
        "CsvdStudyFailed": 1,
        "CsvdQueueAge": 1,
        "CsvdQueueFull": 1,
        # Time begins with 1970 here: in the 75th minute one has less than 30 days, one cannot be read.
        "CsvdCertificateExpires": 2,
        "CsvdDiskLow": 1,
        "CsvdCommitmentLag": 1,
        "CsvdDeliveryRefused": 1,
        "CsvdInstancesLost": 1,
        "CsvdSignOnsRefused": 1,
        "CsvdEngineStrained": 1,
        "CsvdDeliveryLag": 0,
        "CsvdIndexUnreachable": 0,
        "CsvdNodeAbsent": 0,
    }
    assert set(firing) == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    check_alerts(
        tmp_path, rules, series, [(f'alertname="{name}"', 75, count) for name, count in firing.items()]
    )


def test_thresholds_are_the_values_given() -> None:
    by_name = {rule["alert"]: rule for rule in alert_rules()["groups"][0]["rules"]}
    assert by_name["CsvdQueueAge"]["expr"].endswith("> 900")


def test_every_alert_says_what_happened_and_where() -> None:
    """By the label of the namespace an AlertmanagerConfig takes the alerts of its own."""
    for rule in alert_rules()["groups"][0]["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["namespace"] == "csvd"


def test_a_refused_delivery_is_told_for_an_hour_after_its_last_answer(tmp_path: Path) -> None:
    rules = alert_rules()
    rules["groups"][0]["rules"] = [
        rule for rule in rules["groups"][0]["rules"] if rule["alert"] == "CsvdDeliveryRefused"
    ]
    labels = 'namespace="csvd",destination="pacs",status="0122"'
    # A process refused at first, and again after its first three hours; another one after a restart.
    series = [
        {"series": f'csvd_delivery_attempts_total{{{labels},pod="a"}}', "values": "_x10 2x180 3x200"},
        {"series": f'csvd_delivery_attempts_total{{{labels},pod="b"}}', "values": "_x600 1x300"},
    ]
    fires = {5: 0, 15: 1, 65: 1, 80: 0, 185: 0, 195: 1, 260: 0, 599: 0, 605: 1, 670: 0}
    told = 'alertname="CsvdDeliveryRefused"'
    check_alerts(tmp_path, rules, series, [(told, minute, count) for minute, count in fires.items()])


def test_the_demonstration_has_the_same_alerts() -> None:
    assert COMPOSE_ALERTS.read_text() == compose_alerts(), REMEDY


def test_the_dashboard_is_what_grafana_reads() -> None:
    (shown,) = (
        part
        for part in of_kind(rendered("workers-postgresql-s3"), "ConfigMap")
        if "dashboard" in part["metadata"]["name"]
    )
    assert json.loads(shown["data"]["csvd-node.json"]) == DASHBOARD
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["title"] and panel["targets"] for panel in DASHBOARD["panels"])


def test_prometheus_finds_the_pods() -> None:
    manifests = rendered("workers-postgresql-s3")
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (
        part for part in of_kind(manifests, "Service") if wanted <= part["metadata"]["labels"].items()
    )
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
