"""The compose file's demonstration without a container engine: its files, its commands, the real programs.

What stands for a container is a process on this machine; only host names, ports and folders differ.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.chart import REPOSITORY
from tests.support.peers import LOOPBACK, free_port, listens, orthanc, wait_until
from tests.support.postgres import postgres_server
from tests.support.running_node import RunningNode

pytestmark = [pytest.mark.chart, pytest.mark.timeout(900)]

DOCKER = REPOSITORY / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]

STUDY = REPOSITORY / "tests" / "data" / "demo_study" / "dicom"

RESULTS = 6
"""A SEG of each of four segments, one of all, and the report; see the README of the demo Study."""


def orthanc_settings() -> dict[str, object]:
    """Read the PACS's settings as its image does: ORTHANC__DICOM_AET is DicomAet."""

    def named(variable: str) -> str:
        return "".join(word.capitalize() for word in variable.removeprefix("ORTHANC__").split("_"))

    given = SERVICES["pacs"]["environment"].items()
    return {named(name): yaml.safe_load(value) for name, value in given if name.startswith("ORTHANC__")}


def scanner_commands(ports: dict[str, int]) -> list[list[str]]:
    """Return what the scanner runs, with this machine's places."""
    (script,) = SERVICES["scanner"]["command"]
    commands = []
    for line in script.strip().splitlines():
        program, *words = shlex.split(line)
        assert program == "python"
        where = words.index("storescu") + 1
        host = words[where]
        words[where : where + 2] = [LOOPBACK, str(ports[host])]
        commands.append([sys.executable, *(str(STUDY) if word == "/study" else word for word in words)])
    return commands


@contextmanager
def prometheus(folder: Path, node_port: int) -> Iterator[str]:
    """Run Prometheus with the demonstration's files; yield its address."""
    folder.mkdir()
    configured = (DOCKER / "compose" / "prometheus.yaml").read_text()
    here = configured.replace("node:8080", f"{LOOPBACK}:{node_port}").replace("interval: 5s", "interval: 1s")
    (folder / "prometheus.yml").write_text(here)
    (folder / "alerts.yaml").write_bytes((DOCKER / "compose" / "alerts.yaml").read_bytes())
    port = free_port()
    files = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["prometheus", *files, f"--web.listen-address={LOOPBACK}:{port}"], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: listens(port) or server.poll() is not None, 60, "Prometheus listens")
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.terminate()
        server.wait(60)


def value_of(address: str, query: str) -> float | None:
    """Ask Prometheus for a number."""
    answer = httpx.get(f"{address}/api/v1/query", params={"query": query}, timeout=30).json()
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def test_the_demonstration_goes_all_its_way(tmp_path: Path) -> None:
    given = yaml.safe_load((DOCKER / "compose" / "node.yaml").read_text())
    node = RunningNode(tmp_path / "node", {})
    with (
        postgres_server() as url,
        orthanc(tmp_path / "pacs", changes=orthanc_settings()) as pacs,
    ):
        given["receiver"]["port"] = node.port
        given["destinations"]["pacs"] |= {"host": LOOPBACK, "port": pacs.dicom_port}
        own = {"root": str(node.root), "database_url": url, "web": {"port": node.web_port}}
        node.configuration = {**given, **own, "log": {"format": "json"}}
        with node, prometheus(tmp_path / "prometheus", node.web_port) as watching:
            for command in scanner_commands({"pacs": pacs.dicom_port, "node": node.port}):
                sent = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
                assert sent.returncode == 0, sent.stderr
            sent_instances = len([path for path in STUDY.rglob("*") if path.is_file()])
            wait_until(
                lambda: len(pacs.sop_instance_uids()) == sent_instances + RESULTS,
                300,
                f"results come back to the PACS\n{node.log()[-3000:]}",
            )
            modalities = {series["MainDicomTags"]["Modality"] for series in pacs.get("/series?expand")}
            assert modalities == {"MR", "SEG", "SR"}
            wait_until(
                lambda: value_of(watching, 'csvd_studies{state="delivered"}') == 1,
                60,
                "Prometheus sees the Study delivered",
            )
            rules = httpx.get(f"{watching}/api/v1/rules", timeout=30).json()["data"]["groups"]
            health = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
            alerts = yaml.safe_load((DOCKER / "compose" / "alerts.yaml").read_text())["groups"][0]["rules"]
            assert set(health) == {rule["alert"] for rule in alerts}
