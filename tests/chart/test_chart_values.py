"""The values: closed, documented, written from one model; contradictions are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.schema import OWNED, chart_schema, default_values, readme
from helm.values import ChartValues
from node.receiver import ReceiverSettings
from node.settings import NodeSettings
from tests.support.chart import CHART, SCENARIOS, helm_template, of_kind, pods, rendered, values_file

pytestmark = pytest.mark.chart

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())

OPEN_BY_INTENTION = {"affinity", "global"}
"""Kubernetes' own API and Helm's own value, handed on as they are."""


def objects(part: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """List all objects that a schema describes, with their place."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield place, part
        for key, value in part.items():
            yield from objects(value, f"{place}/{key}")
    elif isinstance(part, list):
        for number, value in enumerate(part):
            yield from objects(value, f"{place}/{number}")


def test_schema_defaults_and_readme_are_those_of_the_model() -> None:
    """`make chart-values` writes them."""
    assert json.loads(json.dumps(chart_schema())) == SCHEMA
    assert (CHART / "values.yaml").read_text() == default_values()
    assert (CHART / "README.md").read_text() == readme()


def test_defaults_are_valid_and_complete() -> None:
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    assert ChartValues.model_validate(given) == ChartValues()


def test_every_object_is_closed_or_a_map_of_names() -> None:
    is_open = {
        place
        for place, part in objects(SCHEMA)
        if part.get("additionalProperties", True) is True
        and place.rpartition("/")[2] not in OPEN_BY_INTENTION
    }
    assert is_open == set()


def test_every_value_is_described() -> None:
    bare = [
        f"{place}.{name}"
        for place, part in objects(SCHEMA)
        for name, value in part.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("imagee.tag=1", id="unknown-value"),
        pytest.param("image.tags=1", id="unknown-within"),
        pytest.param("config.receiver.ae_titel=CSVD", id="unknown-setting"),
        pytest.param("config.receiver.maximum_associations=0", id="setting-out-of-range"),
        pytest.param("dicomService.port=70000", id="no-port"),
        pytest.param("topology=cluster", id="not-a-choice"),
        pytest.param("receive.resources.limits.memory=lots", id="not-a-quantity"),
        pytest.param("image.digest=sha256:12", id="not-a-digest"),
        pytest.param("database.url.password=secret", id="a-secret-by-value"),
    ],
)
def test_a_wrong_value_fails_and_is_named(given: str) -> None:
    done = helm_template("--set", given)
    assert done.returncode != 0
    assert any(key in done.stderr for key in given.partition("=")[0].split(".")), done.stderr


@pytest.mark.parametrize(
    "place",
    [
        f"{where}{name}"
        for where, owner in [
            ("config.", "NodeSettings"),
            ("config.receiver.", "ReceiverSettings"),
            ("config.destinations.pacs.", "DestinationSettings"),
            ("config.log.", "LogSettings"),
        ]
        for name in OWNED[owner]
    ],
)
def test_a_setting_that_the_chart_makes_is_refused_in_config(place: str) -> None:
    name = place.rpartition(".")[2]
    done = helm_template("--values", str(values_file("single-node-cpu")), "--set", f"{place}=1")
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.parametrize(
    ("scenario", "changes", "named"),
    [
        ("air-gapped", "database.url.existingSecret=", "database.url.existingSecret"),
        ("air-gapped", "storage.volume.accessMode=ReadWriteOnce", "storage.volume.accessMode"),
        ("single-node-cpu", "single.replicas=2", "single.replicas"),
        ("single-node-cpu", "autoscaling.by=hpa", "topology"),
        ("workers-postgresql-s3", "storage.s3.bucket=", "storage.s3.bucket"),
        ("workers-postgresql-s3", "ingress.host=", "ingress.host"),
        ("workers-postgresql-s3", "autoscaling.prometheus=", "autoscaling.prometheus"),
        ("workers-postgresql-s3", "autoscaling.minReplicas=9", "autoscaling.minReplicas"),
        ("tls-only", "tls.destinations.other.existingSecret=x", "tls.destinations.other"),
        ("single-node-cpu", "single.graceS=40", "single.graceS"),
        ("single-gpu", f"image.digest=sha256:{'0' * 64}", "gpu.digest"),
        ("air-gapped", "config.stop_grace_s=60", "receive.graceS"),
        ("air-gapped", "config.traces.endpoint=null", "config.traces.endpoint"),
        (
            "workers-postgresql-s3",
            "engines.buildBy=Job,engines.cache.accessMode=ReadWriteOnce",
            "engines.cache.accessMode",
        ),
    ],
)
def test_values_that_contradict_each_other_are_named(scenario: str, changes: str, named: str) -> None:
    done = helm_template("--values", str(values_file(scenario)), "--set", changes)
    assert done.returncode != 0
    assert named in done.stderr


def test_pods_get_longer_to_stop_than_the_node_takes() -> None:
    """The chart's check assumes the node's own defaults."""
    takes = NodeSettings().stop_grace_s + ReceiverSettings().stop_grace_s
    assert f"together, {takes:g} s" in helm_template("--set", "single.graceS=0").stderr
    for scenario in SCENARIOS:
        for name, pod in pods(rendered(scenario)):
            if not name.startswith(("Job/", "Pod/")):
                assert pod["terminationGracePeriodSeconds"] > takes, name


def test_an_endpoint_without_tls_is_allowed_by_name_only() -> None:
    def storage(endpoint: str) -> Any:
        given = ("--set", f"storage.s3.endpoint={endpoint}")
        (config, *_) = of_kind(rendered("workers-postgresql-s3", *given), "ConfigMap")
        return yaml.safe_load(config["data"]["node.yaml"])["storage"]

    there = {"bucket": "csvd", "prefix": "", "region": "us-east-1"}
    assert storage("http://minio.storage:9000") == {
        **there,
        "endpoint": "http://minio.storage:9000",
        "allow_http": True,
    }
    assert storage("https://objects.example") == {**there, "endpoint": "https://objects.example"}
    assert storage("") == there


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_says_what_it_is_for(scenario: str) -> None:
    assert Path(values_file(scenario)).read_text().startswith("# ")
