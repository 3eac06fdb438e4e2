"""The container image, built from the Dockerfile and run as a hospital would: closed but for its data."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.chart import REPOSITORY

pytestmark = [pytest.mark.image, pytest.mark.timeout(3000)]

IMAGE = "localhost/csvd-node:cpu"

UNPACKED_MB = 1000
"""What the image may take on a disk; SimpleITK alone is 272 MB of it."""

PODMAN = (
    "podman",
    "--runtime=/usr/sbin/runc",
    f"--storage-driver={os.environ.get('CSVD_STORAGE_DRIVER', 'overlay')}",
    "--cgroup-manager=cgroupfs",
)

HARDENED = (
    "run",
    "--rm",
    "--no-healthcheck",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1024:1024",
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PODMAN, *arguments], capture_output=True, text=True, timeout=1200, check=False)


def in_image(*command: str, entrypoint: str = "csvd-node") -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh container: read-only, without capabilities, as the image's user."""
    study = f"--volume={REPOSITORY / 'tests' / 'data' / 'demo_study'}:/study:ro"
    return podman(*HARDENED, study, f"--entrypoint={entrypoint}", IMAGE, *command)


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    subprocess.run([REPOSITORY / "docker" / "build_local.sh", "cpu"], check=True, timeout=2700)


def test_the_demonstration_works_in_it() -> None:
    done = in_image("demo", "/study", "--output", "/tmp/demo")  # noqa: S108 - within the container
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".dcm") == 6, done.stdout
    assert ".png" in done.stdout


def test_it_runs_as_nobody_who_is_known_and_can_write_data_only() -> None:
    script = "id -u; touch /var/lib/csvd-node/a /tmp/a && echo data; touch /opt/a 2>/dev/null || echo closed"
    done = in_image("-c", script, entrypoint="/bin/sh")
    assert done.stdout.split() == ["10001", "data", "closed"]


def test_nothing_in_it_builds_or_installs_software() -> None:
    script = "for t in gcc cc c++ ld make pip pip3; do command -v $t && echo found $t; done; echo end"
    assert in_image("-c", script, entrypoint="/bin/sh").stdout.split() == ["end"]


def test_it_lists_what_is_in_it() -> None:
    listed = json.loads(in_image("/opt/csvd-node/sbom.cdx.json", entrypoint="cat").stdout)
    assert listed["bomFormat"] == "CycloneDX"
    names = {component["name"].lower() for component in listed["components"]}
    assert {"pydicom", "highdicom", "onnxruntime", "openvino", "simpleitk"} <= names
    assert not {"pip", "hatchling", "torch"} & names


def test_what_was_left_out_is_not_missed() -> None:
    """Every package of the environment can be imported that the node imports."""
    program = "import openvino as o, onnxruntime, scipy.ndimage, SimpleITK; print(o.Core().available_devices)"
    done = in_image("-c", program, entrypoint="python")
    assert "CPU" in done.stdout, done.stderr


def test_it_says_what_it_is_and_how_it_is_and_is_not_larger_than_it_must_be() -> None:
    (told,) = json.loads(podman("inspect", "--type=image", IMAGE).stdout)
    labels = told["Config"]["Labels"]
    for name in ("title", "description", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"] not in {"", "unknown"}
    assert told["Config"]["User"] == "10001:10001"
    assert told["HealthCheck"]["Test"] == ["CMD", "python", "/opt/healthcheck.py"]
    assert told["Size"] < UNPACKED_MB * 1e6
