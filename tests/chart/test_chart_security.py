"""The restricted Pod Security Standard, line by line, and what else keeps a pod in its place.

Source: Kubernetes, Pod Security Standards, policy "restricted".
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.chart import BUILT_BY_JOB, SCENARIOS, containers, of_kind, pods, rendered

pytestmark = pytest.mark.chart

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}

CASES = [
    pytest.param(pod, id=f"{scenario}-{name}")
    for scenario in SCENARIOS
    for name, pod in pods(rendered(scenario))
]
CASES += [
    pytest.param(pod, id=name)
    for name, pod in pods(rendered("workers-postgresql-s3", *BUILT_BY_JOB))
    if name.startswith("Job/")
]

Pod = dict[str, Any]


@pytest.mark.parametrize("pod", CASES)
def test_pod_is_restricted(pod: Pod) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= ALLOWED_VOLUMES
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "sysctls" not in pod["securityContext"]
    for container in containers(pod):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not security.get("privileged")
        assert "procMount" not in security
        assert all("hostPort" not in port for port in container.get("ports", []))


@pytest.mark.parametrize("pod", CASES)
def test_pod_writes_only_where_it_must_and_never_talks_to_kubernetes(pod: Pod) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in containers(pod):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written <= {"/var/lib/csvd-node", "/var/cache/csvd-node", "/tmp"}  # noqa: S108 - a volume's place


@pytest.mark.parametrize("pod", CASES)
def test_containers_are_bounded_and_say_why_they_end(pod: Pod) -> None:
    for container in containers(pod):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize("pod", CASES)
def test_every_volume_that_is_mounted_is_there(pod: Pod) -> None:
    there = {volume["name"] for volume in pod["volumes"]}
    mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
    assert mounted == there


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_secrets_are_referred_to_and_never_made(scenario: str) -> None:
    manifests = rendered(scenario)
    assert of_kind(manifests, "Secret") == []
    secret = {"CSVD_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    for _, pod in pods(manifests):
        for container in containers(pod):
            for variable in container.get("env", []):
                if variable["name"] in secret:
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}


def probed(pod: Pod) -> list[dict[str, Any]]:
    return [container for container in pod["containers"] if container["name"] == "node"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_serving_pod_has_all_probes_and_a_termination_message(scenario: str) -> None:
    found = [container for _, pod in pods(rendered(scenario)) for container in probed(pod)]
    assert found
    for container in found:
        for probe, path in [
            ("startupProbe", "/health/startup"),
            ("readinessProbe", "/health/ready"),
            ("livenessProbe", "/health/live"),
        ]:
            assert container[probe]["httpGet"] == {"path": path, "port": "http"}
        # A worker may build and prove its engines for a quarter of an hour and more.
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
        assert container["terminationMessagePath"] == "/dev/termination-log"
        assert {"name": "CSVD_TERMINATION_LOG", "value": "/dev/termination-log"} in container["env"]
