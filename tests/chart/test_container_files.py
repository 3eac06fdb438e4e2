"""Dockerfile, compose file and what they name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.settings import NodeSettings
from tests.support.chart import REPOSITORY, run_tool

pytestmark = pytest.mark.chart

DOCKER = REPOSITORY / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_hadolint_finds_nothing() -> None:
    done = run_tool("hadolint", "--no-color", str(DOCKER / "Dockerfile"))
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(
        DOCKERFILE.replace("debian:12.15-slim", "debian:latest").replace("USER 10001", "USER root")
    )
    assert run_tool("hadolint", str(path)).returncode != 0


def test_what_images_are_made_of_is_pinned() -> None:
    bases = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE, flags=re.MULTILINE)
    shared = [service["image"] for service in COMPOSE["services"].values()]
    assert bases
    for image in [*bases, *shared]:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-slim)?(@sha256:[0-9a-f]{64})?$", image), image
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count("--requirement")


def test_the_images_hold_the_same_versions() -> None:
    """What the GPU image adds changes nothing of what both have."""
    both, gpu = (pins(REPOSITORY / "requirements" / name) for name in ("serve.lock", "gpu.lock"))
    assert both.items() <= gpu.items()
    assert {name for name in gpu if name not in both} >= {"tensorrt-rtx", "cuda-bindings"}


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), flags=re.MULTILINE))


def test_the_chart_names_images_that_can_be_built() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert {"cpu", "gpu"} <= stages


def test_the_compose_file_follows_the_specification() -> None:
    done = run_tool(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DOCKER / "compose.yaml")
    )
    assert done.returncode == 0, done.stdout


def test_the_compose_file_mounts_what_is_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).exists(), source


def test_the_demonstration_listens_on_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_node_of_the_demonstration_can_be_configured_so() -> None:
    given = yaml.safe_load((DOCKER / "compose" / "node.yaml").read_text())
    settings = NodeSettings.model_validate(given)
    pacs = settings.destinations["pacs"]
    assert pacs.host in COMPOSE["services"]
    assert pacs.ae_title == COMPOSE["services"][pacs.host]["environment"]["ORTHANC__DICOM_AET"]


def test_prometheus_of_the_demonstration_takes_its_files() -> None:
    path = DOCKER / "compose" / "prometheus.yaml"
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
