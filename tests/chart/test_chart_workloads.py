"""Which pods there are, who they are, where they run, and what makes them more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import BUILT_BY_JOB, CHART, containers, helm_template, named, of_kind, pods, rendered

pytestmark = pytest.mark.chart

WORKERS = "workers-postgresql-s3"


def roles_of(pod: dict[str, Any]) -> list[str]:
    (node,) = (container for container in pod["containers"] if container["name"] == "node")
    return [argument.removeprefix("--role=") for argument in node["args"][1:]]


def test_one_pod_does_everything_on_one_machine() -> None:
    manifests = rendered("single-node-cpu")
    (pod,) = of_kind(manifests, "StatefulSet")
    assert of_kind(manifests, "Deployment") == []
    assert pod["spec"]["replicas"] == 1
    assert roles_of(pod["spec"]["template"]["spec"]) == []


def test_pods_of_roles_are_replaced_when_their_machine_is_lost() -> None:
    """Those of a StatefulSet would not be, until somebody removes them."""
    manifests = rendered(WORKERS)
    assert of_kind(manifests, "StatefulSet") == []
    roles = {
        role: part["spec"]["strategy"]["rollingUpdate"]
        for part in of_kind(manifests, "Deployment")
        for role in roles_of(part["spec"]["template"]["spec"])
    }
    before = {"maxSurge": 1, "maxUnavailable": 0}
    # A new worker would wait for a GPU that the old one has.
    after = {"maxSurge": 0, "maxUnavailable": 1}
    assert roles == {"receive": before, "work": after, "send": before, "web": before}


def test_the_stateful_set_has_its_headless_service() -> None:
    manifests = rendered("single-node-cpu")
    (part,) = of_kind(manifests, "StatefulSet")
    service = named(manifests, "Service", part["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"


def test_only_what_evaluates_gets_a_gpu_its_image_and_its_runtime() -> None:
    for name, pod in pods(rendered(WORKERS)):
        evaluates = name.endswith("-work")
        for container in containers(pod):
            assert ("nvidia.com/gpu" in container["resources"]["limits"]) is evaluates, name
            assert container["image"].endswith("-gpu") is evaluates, name
        assert (pod.get("runtimeClassName") == "nvidia") is evaluates, name


def test_engines_are_built_before_a_worker_starts_or_by_a_job() -> None:
    for scenario, kind, role in ((WORKERS, "Deployment", "work"), ("single-gpu", "StatefulSet", "single")):
        pod = named(rendered(scenario), kind, f"r-csvd-node-{role}")["spec"]["template"]["spec"]
        (first,) = pod["initContainers"]
        assert first["args"] == ["engines", "build"]
    manifests = rendered(WORKERS, *BUILT_BY_JOB)
    (job,) = of_kind(manifests, "Job")
    (build,) = job["spec"]["template"]["spec"]["containers"]
    worker = named(manifests, "Deployment", "r-csvd-node-work")["spec"]["template"]["spec"]
    (node,) = worker["containers"]
    assert build["args"] == ["engines", "build"]
    assert "initContainers" not in worker
    cache = {"name": "engines", "mountPath": "/var/cache/csvd-node"}
    assert cache in build["volumeMounts"]
    assert cache in node["volumeMounts"]


@pytest.mark.parametrize(
    "change",
    [
        "work.nodeSelector.gpu=l4",
        "work.resources.limits.memory=8Gi",
        "env.TZ=Europe/Berlin",
        "image.tag=v2",
        "config.stop_grace_s=31",
    ],
)
def test_a_job_that_changes_is_a_new_one(change: str) -> None:
    """Kubernetes refuses to change the template of a Job, and with it the whole upgrade."""

    def name(*given: str) -> str:
        (job,) = of_kind(rendered(WORKERS, *BUILT_BY_JOB, *given), "Job")
        found: str = job["metadata"]["name"]
        return found

    assert name("--set", change) != name()


def test_workers_follow_the_queue() -> None:
    (scaled,) = of_kind(rendered(WORKERS), "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert 'csvd_queue_depth{namespace="csvd",queue="evaluations"}' in trigger["metadata"]["query"]
    assert trigger["metadata"]["ignoreNullValues"] == "false", "no answer would be taken for an empty queue"
    (scaler,) = of_kind(rendered("air-gapped"), "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["external"]["metric"] == {
        "name": "csvd_queue_depth",
        "selector": {"matchLabels": {"queue": "evaluations"}},
    }
    for scenario, by in ((WORKERS, scaled), ("air-gapped", scaler)):
        target = by["spec"]["scaleTargetRef"]
        work = named(rendered(scenario), target["kind"], target["name"])
        assert work["apiVersion"] == target["apiVersion"]
        assert "replicas" not in work["spec"], "the autoscaler's number would be undone by every upgrade"


def test_evictions_leave_what_the_budget_says() -> None:
    budgets = {
        part["metadata"]["name"]: part["spec"] for part in of_kind(rendered(WORKERS), "PodDisruptionBudget")
    }
    assert budgets["r-csvd-node-receive"]["maxUnavailable"] == 1
    assert budgets["r-csvd-node-work"]["maxUnavailable"] == "50%"
    # Else a database that is away, by which no pod is ready, holds up every drain.
    assert {each["unhealthyPodEvictionPolicy"] for each in budgets.values()} == {"AlwaysAllow"}


def test_files_lie_in_a_bucket_or_in_a_volume_that_outlives_the_release() -> None:
    claims = [part["metadata"]["name"] for part in of_kind(rendered(WORKERS), "PersistentVolumeClaim")]
    assert claims == ["r-csvd-node-engines"]
    (claim,) = of_kind(rendered("air-gapped"), "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("single-node-cpu", {"type": "NodePort", "port": 104, "nodePort": 30104}),
        ("tls-only", {"type": "LoadBalancer", "port": 2762, "nodePort": None}),
        ("air-gapped", {"type": "ClusterIP", "port": 11112, "nodePort": None}),
    ],
)
def test_peers_reach_the_receivers(scenario: str, expected: dict[str, object]) -> None:
    manifests = rendered(scenario)
    service = named(manifests, "Service", "r-csvd-node-dicom")["spec"]
    (port,) = service["ports"]
    assert {"type": service["type"], "port": port["port"], "nodePort": port.get("nodePort")} == expected
    role = service["selector"]["app.kubernetes.io/component"]
    (target,) = (pod for name, pod in pods(manifests) if name.endswith(f"/r-csvd-node-{role}"))
    assert {"name": "dicom", "containerPort": 11112} in target["containers"][0]["ports"]


def test_a_digest_wins_over_the_tag() -> None:
    images = {container["image"] for _, pod in pods(rendered("air-gapped")) for container in containers(pod)}
    (image,) = images
    assert image.startswith("registry.hospital.example/csvd-node@sha256:")


def test_a_gpu_has_its_own_image_by_tag_and_by_digest() -> None:
    cpu, gpu = (f"sha256:{digit * 64}" for digit in "ab")

    def images(*given: str) -> dict[bool, set[str]]:
        arguments = [argument for each in given for argument in ("--set", each)]
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for _, pod in pods(rendered(WORKERS, *arguments)):
            for container in containers(pod):
                asks = "nvidia.com/gpu" in container["resources"]["limits"]
                found[asks].add(container["image"].removeprefix("images.hospital.example/csvd-node"))
        return found

    assert images("image.tag=1.2") == {False: {":1.2"}, True: {":1.2-gpu"}}
    assert images(f"image.digest={cpu}", f"gpu.digest={gpu}") == {False: {f"@{cpu}"}, True: {f"@{gpu}"}}


def test_a_changed_configuration_restarts_the_pods() -> None:
    def checksum(*arguments: str) -> str:
        (pod,) = of_kind(rendered("single-node-cpu", *arguments), "StatefulSet")
        found: str = pod["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum() != checksum("--set", "config.completeness.series_quiet_s=9")
    assert checksum() == checksum("--set", "single.priorityClass=clinical")


def test_the_version_of_chart_and_package_are_the_same() -> None:
    package = (CHART.parents[1] / "pyproject.toml").read_text()
    version = of_kind(rendered("single-node-cpu"), "Service")[0]["metadata"]["labels"][
        "app.kubernetes.io/version"
    ]
    assert f'\nversion = "{version}"\n' in package


def test_defaults_alone_can_be_installed() -> None:
    assert helm_template().returncode == 0
