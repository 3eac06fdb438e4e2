"""The values: closed, documented, written from one model; contradictions are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.schema import OWNED, chart_schema, default_pods, default_values, readme
from helm.values import ChartValues
from node.receiver_settings import ReceiverSettings
from node.settings import NodeSettings
from tests.support.chart import CHART, SCENARIOS, helm_template, of_kind, pods, rendered, values_file
from tests.support.derived_files import REMEDY

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
    assert json.loads(json.dumps(chart_schema())) == SCHEMA, REMEDY
    assert (CHART / "values.yaml").read_text() == default_values(), REMEDY
    assert (CHART / "README.md").read_text() == readme(), REMEDY
    assert json.loads((CHART / "files" / "pods.json").read_text()) == default_pods(), REMEDY


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
        pytest.param("single.resources.limits.memory=6ki", id="kibi-in-small"),
        pytest.param("single.resources.limits.memory=1.2.3Gi", id="no-number"),
        pytest.param("ingress.host=https://csvd.example/", id="a-url-for-a-host"),
        pytest.param("networkPolicy.dicomPeers[0]=10.1.2.3", id="an-address-for-a-range"),
        pytest.param("dicomService.loadBalancerSourceRanges[0]=mr1.example", id="a-name-for-a-range"),
        pytest.param("image.repository=registry.example:5000/csvd-node:1.2", id="tag-in-the-name"),
        pytest.param("fullnameOverride=CSVD_Node", id="no-name-of-a-service"),
        pytest.param("single.disruptionBudget.maxUnavailable=half", id="no-percentage"),
        pytest.param("storage.volume.storageClass=Fast Disks", id="no-storage-class"),
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
        ("single-node-cpu", "receive.replicas=3", "receive: topology: single has no such pods"),
        ("single-gpu", "work.resources.limits.memory=8Gi", "work: topology: single has no such pods"),
        ("air-gapped", "single.priorityClass=x", "single: topology: roles has no such pods"),
        ("single-gpu", f"image.digest=sha256:{'0' * 64}", "gpu.digest"),
        ("air-gapped", "config.stop_grace_s=60", "receive.graceS"),
        ("air-gapped", "env.CSVD_ROOT=/data", "env.CSVD_ROOT"),
        ("air-gapped", "env.CSVD_RECEIVER__PORT=104", "env.CSVD_RECEIVER__PORT"),
        ("air-gapped", "env.MY-NAME=x", "env.MY-NAME"),
        ("workers-postgresql-s3", "env.AWS_ACCESS_KEY_ID=x", "storage.s3.existingSecret"),
        ("single-node-cpu", "extraVolumes[0].name=a,extraVolumes[0].mountPath=/a", "extraVolumes: a"),
        (
            "single-node-cpu",
            "extraVolumes[0].name=a,extraVolumes[0].mountPath=/a,extraVolumes[0].secret=b,extraVolumes[0].configMap=c",
            "extraVolumes: a",
        ),
        (
            "single-node-cpu",
            "extraVolumes[0].name=store,extraVolumes[0].mountPath=/a,extraVolumes[0].secret=b",
            "extraVolumes: store",
        ),
        (
            "single-node-cpu",
            "extraVolumes[0].name=a,extraVolumes[0].mountPath=/etc/csvd-node,extraVolumes[0].secret=b",
            "mountPath",
        ),
        (
            "single-node-cpu",
            "dicomService.type=ClusterIP,dicomService.nodePort=30104",
            "dicomService.nodePort",
        ),
        (
            "single-node-cpu",
            "single.tolerations[0].key=a,single.tolerations[0].value=b",
            "single.tolerations",
        ),
        (
            "single-node-cpu",
            "single.tolerations[0].operator=Equal,single.tolerations[0].value=b",
            "single.tolerations",
        ),
        ("air-gapped", r"work.labels.app\.kubernetes\.io/component=x", "work.labels"),
        ("air-gapped", "config.traces.endpoint=null", "config.traces.endpoint"),
        (
            "workers-postgresql-s3",
            "engines.buildBy=Job,engines.cache.accessMode=ReadWriteOnce",
            "engines.cache.accessMode",
        ),
        ("workers-postgresql-s3", "engines.cache.accessMode=ReadWriteOnce", "engines.cache.accessMode"),
        ("single-gpu", "engines.buildBy=Job", "engines.buildBy"),
    ],
)
def test_values_that_contradict_each_other_are_named(scenario: str, changes: str, named: str) -> None:
    done = helm_template("--values", str(values_file(scenario)), "--set", changes)
    assert done.returncode != 0
    assert named in done.stderr


def test_settings_that_the_chart_leaves_alone_may_come_from_the_environment_and_secrets() -> None:
    given = ("--set-string", "env.CSVD_WEB__ALLOW_RETRY=true,envSecrets[0]=passwords")
    for _, pod in pods(rendered("single-gpu", *given)):
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            if container["name"] in ("node", "engines"):
                assert {"name": "CSVD_WEB__ALLOW_RETRY", "value": "true"} in container["env"]
                assert container["envFrom"] == [{"secretRef": {"name": "passwords"}}]


def test_volume_without_a_class_is_asked_for_with_a_dash() -> None:
    given = ("--set", "storage.volume.storageClass=-")
    (claim,) = of_kind(rendered("single-node-cpu", *given), "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == ""


def test_destinations_may_have_any_name() -> None:
    """Their names become no names of volumes, where two could be the same, or none."""
    names = ["Main PACS", "a_b", "a-b"]
    destination = {"ae_title": "PACS", "host": "pacs.example", "port": 104}
    destinations = json.dumps({"destinations": dict.fromkeys(names, destination)})
    tls = json.dumps(
        {"destinations": {name: {"existingSecret": f"tls-{name[-1].lower()}"} for name in names}}
    )
    done = rendered("single-node-cpu", "--set-json", f"config={destinations}", "--set-json", f"tls={tls}")
    ((_, pod),) = [each for each in pods(done) if each[0].startswith("StatefulSet")]
    volumes = {each["name"]: each.get("secret", {}).get("secretName") for each in pod["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in pod["containers"][0]["volumeMounts"]}
    for name in names:
        assert mounted[f"/etc/csvd-node/tls/destinations/{name}"] == f"tls-{name[-1].lower()}"


def test_pods_get_longer_to_stop_than_the_node_takes() -> None:
    """The chart's check assumes the node's own defaults."""
    takes = NodeSettings().stop_grace_s + ReceiverSettings().stop_grace_s
    assert f"together, {takes:g} s" in helm_template("--set", "single.graceS=0").stderr
    for scenario in SCENARIOS:
        for name, pod in pods(rendered(scenario)):
            if not name.startswith(("Job/", "Pod/")):
                assert pod["terminationGracePeriodSeconds"] > takes, name


def test_a_pod_that_takes_studies_has_room_for_the_largest_instance() -> None:
    """It is in memory while it arrives, once: measured with 100 and 400 MiB beside a process of 130 MB."""
    largest = ReceiverSettings().maximum_instance_bytes
    for values in (ChartValues().receive, ChartValues().single):
        limit = str(values.resources.limits["memory"])
        assert int(limit.removesuffix("Gi")) * 1024**3 >= largest + 0.5 * 1024**3


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
