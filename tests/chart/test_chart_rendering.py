"""Every scenario is rendered by Helm, linted, and valid for the oldest and the newest Kubernetes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.chart import (
    BUILT_BY_JOB,
    CHART,
    OLDEST,
    SCENARIOS,
    TOOLS,
    of_kind,
    rendered,
    run_tool,
    values_file,
)

pytestmark = pytest.mark.chart

CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Resources of operators, whose schemas Kubernetes does not have; tests of their own look at them."""


def newest() -> str:
    """Return the newest release that the schemas know."""
    program = "import kubernetes_validate as k; print(k.latest_version())"
    return subprocess.run(
        [TOOLS / "python", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_there_is_a_scenario_for_each_kind_of_site() -> None:
    assert set(SCENARIOS) == {
        "single-node-cpu",
        "single-gpu",
        "workers-postgresql-s3",
        "tls-only",
        "air-gapped",
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_lint_finds_nothing(scenario: str) -> None:
    done = run_tool("helm", "lint", "--strict", str(CHART), "--values", str(values_file(scenario)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("release", [OLDEST, "newest"])
def test_manifests_of_all_scenarios_are_valid_for_the_release(release: str, tmp_path: Path) -> None:
    version = newest() if release == "newest" else release
    manifests = [
        part
        for scenario, given in [
            *((scenario, ()) for scenario in SCENARIOS),
            ("workers-postgresql-s3", BUILT_BY_JOB),
        ]
        for part in rendered(scenario, "--kube-version", version, *given)
        if part["kind"] not in CUSTOM
    ]
    path = tmp_path / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    major_minor = ".".join(version.split(".")[:2])
    done = run_tool("kubernetes-validate", "--strict", "-k", major_minor, str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" passed for ") + done.stderr.count(" passed for ") == len(manifests)


def test_the_validation_finds_what_is_wrong(tmp_path: Path) -> None:
    (broken,) = of_kind(rendered("single-node-cpu"), "StatefulSet")
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump({**broken, "spec": {**broken["spec"], "replicaCount": 1}}))
    done = run_tool("kubernetes-validate", "--strict", "-k", OLDEST.rpartition(".")[0], str(path))
    assert done.returncode != 0


def test_an_older_kubernetes_is_refused() -> None:
    done = run_tool("helm", "template", "r", str(CHART), "--kube-version", "1.29.0")
    assert done.returncode != 0
    assert "kubeVersion" in done.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_names_are_unique_within_a_kind(scenario: str) -> None:
    names = [(part["kind"], part["metadata"]["name"]) for part in rendered(scenario)]
    assert len(names) == len(set(names))
