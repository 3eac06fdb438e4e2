"""The container image for CPUs: what it does, what it holds and what it says of itself."""

from __future__ import annotations

import json

import pytest

from tests.support.images import CPU, build, in_image, podman

pytestmark = [pytest.mark.image, pytest.mark.timeout(3000)]

UNPACKED_MB = 700
"""What the CPU image may take on a disk; it takes 667 MB."""


@pytest.fixture(scope="module", autouse=True)
def _cpu_image() -> None:
    build("cpu")


def test_the_demonstration_works_in_it() -> None:
    done = in_image("demo", "/study", "--output", "/tmp/demo")  # noqa: S108 - within the container
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".dcm") == 6, done.stdout
    assert ".png" in done.stdout


def test_a_node_in_it_is_healthy_until_it_ends() -> None:
    """The image's own health check, beside `serve` as the image starts it."""
    script = """
csvd-node serve >/tmp/log 2>&1 & node=$!
for second in $(seq 180); do python /opt/healthcheck.py 2>/dev/null && echo healthy && break; sleep 1; done
kill $node; wait $node && echo ended
python /opt/healthcheck.py 2>/dev/null || echo unhealthy
"""
    done = in_image("-c", script, entrypoint="/bin/sh")
    assert done.stdout.split() == ["healthy", "ended", "unhealthy"], done.stdout + done.stderr


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
    assert {"pydicom", "highdicom", "onnxruntime", "openvino", "nibabel"} <= names
    assert not {"pip", "hatchling", "simpleitk", "torch"} & names


def test_what_was_left_out_is_not_missed() -> None:
    """Every module of the node can be imported, and every extension module and library can be loaded."""
    program = """
import ctypes, importlib, pathlib, pkgutil, sysconfig
for library in pathlib.Path(sysconfig.get_path("platlib")).rglob("*.so*"):
    if library.parts[-4:-2] != ("openvino", "frontend"):  # of formats whose readers were left out
        ctypes.CDLL(str(library))
import engines, node, openvino
for package in (engines, node):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.startswith("node.migrations."):  # Alembic runs these, not Python
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            if missing.name != "onnxconverter_common":  # for TensorRT, in the other image
                raise
import openjpeg, libjpeg, rle, jpeg_ls
for name in ("scipy.ndimage", "scipy.spatial", "scipy.sparse", "scipy.special", "scipy.linalg", "PIL.Image"):
    importlib.import_module(name)
print(openvino.Core().available_devices)
"""
    done = in_image("-c", program, entrypoint="python")
    assert done.returncode == 0, done.stderr
    assert "CPU" in done.stdout


def test_it_says_what_it_is_and_how_it_is_and_is_not_larger_than_it_must_be() -> None:
    (told,) = json.loads(podman("inspect", "--type=image", CPU).stdout)
    labels = told["Config"]["Labels"]
    for name in ("title", "description", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"] not in {"", "unknown"}
    assert told["Config"]["User"] == "10001:10001"
    assert told["Healthcheck"]["Test"] == ["CMD", "python", "/opt/healthcheck.py"]
    assert told["Size"] < UNPACKED_MB * 1e6
