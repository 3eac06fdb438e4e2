"""The Helm chart as Helm renders it, with the programs of `.tools`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "helm" / "csvd-node"
TOOLS = REPOSITORY / ".tools" / "bin"
RELEASE = "r"

SCENARIOS = tuple(
    sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
)

OLDEST = (
    yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].removeprefix(">=").removesuffix("-0")
)
"""Oldest release of Kubernetes that the chart says it supports."""

BUILT_BY_JOB = ("--set", "engines.buildBy=Job")
"""Changes a scenario with several workers, which build their engines themselves in each of them."""

Manifest = dict[str, Any]


def run_tool(name: str, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the programs."""
    return subprocess.run(
        [TOOLS / name, *arguments], input=given, capture_output=True, text=True, timeout=120, check=False
    )


def values_file(scenario: str) -> Path:
    return CHART / "ci" / f"{scenario}-values.yaml"


def helm_template(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart with further arguments, such as values."""
    return run_tool("helm", "template", RELEASE, str(CHART), "--namespace", "csvd", *arguments)


@lru_cache
def rendered(scenario: str, *arguments: str) -> tuple[Manifest, ...]:
    """Render a scenario.

    Raises: AssertionError: with what Helm says, if it cannot be rendered.
    """
    done = helm_template("--values", str(values_file(scenario)), *arguments)
    assert done.returncode == 0, done.stderr
    return tuple(part for part in yaml.safe_load_all(done.stdout) if part)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    return [part for part in manifests if part["kind"] == kind]


def alert_rules(scenario: str = "workers-postgresql-s3") -> Manifest:
    """Return the groups of alerts that a scenario gives Prometheus."""
    (rule,) = of_kind(rendered(scenario), "PrometheusRule")
    spec: Manifest = rule["spec"]
    return spec


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    (found,) = (part for part in of_kind(manifests, kind) if part["metadata"]["name"] == name)
    return found


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """List the pods of all workloads, each with its owner's name."""
    for part in manifests:
        name = f"{part['kind']}/{part['metadata']['name']}"
        if part["kind"] == "Pod":
            yield name, part["spec"]
        elif part["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield name, part["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]
