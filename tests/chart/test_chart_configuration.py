"""The node accepts what the chart makes of each scenario, and a node started from it takes a round trip."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.segments import Segment
from tests.support.certificates import Authority
from tests.support.chart import SCENARIOS, Manifest, containers, of_kind, pods, rendered
from tests.support.onnx_models import write_threshold_bundle
from tests.support.peers import LOOPBACK, free_port, listens, wait_until
from tests.support.running_node import COMMAND, START_S, run_command

pytestmark = pytest.mark.chart

MOUNTED = "/etc/csvd-node"
"""Where pods find configuration and certificates; the tests put them elsewhere."""


def settings_of(scenario: str, folder: Path) -> Path:
    """Write what a scenario's pods read, with the places of this machine and certificates like a site's."""
    (found,) = (part for part in of_kind(rendered(scenario), "ConfigMap") if "node.yaml" in part["data"])
    text: str = found["data"]["node.yaml"].replace(MOUNTED, str(folder))
    configuration: dict[str, Any] = yaml.safe_load(text)
    configuration["root"] = str(folder / "data")
    configuration["segmentors"] = {
        segment.value: str(write_threshold_bundle(folder / "bundles" / segment.value, segment).folder)
        for segment in Segment
    }
    for place in tls_folders(configuration):
        certificates(folder, place)
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def tls_folders(configuration: dict[str, Any]) -> list[Path]:
    sides = [configuration["receiver"], *configuration.get("destinations", {}).values()]
    return [Path(side["tls"]["ca"]).parent for side in sides if "tls" in side]


def certificates(folder: Path, place: Path) -> None:
    """Write a Secret's files, all from one authority."""
    place.mkdir(parents=True)
    authority = Authority(folder / f"authority-{place.name}")
    pair = authority.issue(place.name, LOOPBACK)
    (place / "ca.crt").write_bytes(authority.path.read_bytes())
    (place / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (place / "tls.key").write_bytes(pair.key.read_bytes())


def given_variables(pod: Manifest, folder: Path) -> dict[str, str]:
    """Return the environment of a pod; what comes from Secrets and fields stands for itself."""
    given: dict[str, str] = {}
    for container in containers(pod):
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                given[variable["name"]] = "postgresql+psycopg://csvd:secret@database/csvd"
            else:
                given[variable["name"]] = variable.get("value", "csvd-node-work-0")
    return {**given, "CSVD_CONFIG": str(folder / "node.yaml")}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_node_accepts_the_configuration(scenario: str, tmp_path: Path) -> None:
    settings_of(scenario, tmp_path)
    variables = {
        name: value
        for _, pod in pods(rendered(scenario))
        for name, value in given_variables(pod, tmp_path).items()
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CSVD_")}
    done = subprocess.run(
        [COMMAND, "check-config"],
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The configuration is valid." in done.stdout


@pytest.mark.parametrize("scenario", ["single-node-cpu", "tls-only"])
def test_a_node_from_the_chart_takes_the_round_trip(scenario: str, tmp_path: Path) -> None:
    """`helm test` without a cluster: the same command, the same certificates, a node from the same file."""
    path = settings_of(scenario, tmp_path)
    configuration = yaml.safe_load(path.read_text())
    port = free_port()
    configuration["receiver"] |= {"port": port, "host": LOOPBACK}
    configuration["web"] = {"port": None}
    path.write_text(yaml.safe_dump(configuration))
    (pod,) = of_kind(rendered(scenario), "Pod")
    command, _, _, *options = pod["spec"]["containers"][0]["args"]
    node = subprocess.Popen([COMMAND, "serve", "--config", str(path)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port) or node.poll() is not None, START_S, "the node listens")
        here = [option.replace(MOUNTED, str(tmp_path)) for option in options]
        done = run_command(command, LOOPBACK, str(port), *here)
        stranger = run_command(command, LOOPBACK, str(port), *here, "--calling-ae=STRANGER")
    finally:
        node.terminate()
        node.wait(60)
    assert done.returncode == 0, done.stderr
    assert "answered C-ECHO and took an Instance" in done.stdout
    assert stranger.returncode == 1
