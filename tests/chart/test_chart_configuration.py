"""The node accepts what the chart makes of each scenario, and a node started from it takes a round trip."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.segments import Segment
from node.completeness import CompletenessSettings
from node.database import Database
from node.listing import StudyRow, study_rows
from node.round_trip_instance import NOT_EVALUATED
from node.study_states import StudyState
from tests.support.certificates import Authority
from tests.support.chart import SCENARIOS, Manifest, containers, of_kind, pods, rendered
from tests.support.onnx_models import write_threshold_bundle
from tests.support.peers import LOOPBACK, free_port, listens, wait_until
from tests.support.postgres import postgres_server
from tests.support.running_node import COMMAND, START_S, STUDY_S
from tests.support.s3_server import BUCKET, s3_server

pytestmark = pytest.mark.chart

MOUNTED = "/etc/csvd-node"
CACHED = "/var/cache/csvd-node"
"""Where pods find configuration and certificates, and keep engines; the tests put them elsewhere."""

STARTED = ("single-node-cpu", "tls-only", "workers-postgresql-s3")
"""Scenarios that nodes are started from: with SQLite and a folder, with TLS, with PostgreSQL and a bucket."""


RECEIVER = "csvd.hospital.example"
"""Name in the receiver's certificate."""


def settings_of(scenario: str, folder: Path, *arguments: str) -> Path:
    """Write what a scenario's pods read, with the places of this machine and certificates like a site's."""
    manifests = rendered(scenario, *arguments)
    (found,) = (part for part in of_kind(manifests, "ConfigMap") if "node.yaml" in part["data"])
    text: str = (
        found["data"]["node.yaml"].replace(MOUNTED, str(folder)).replace(CACHED, str(folder / "cache"))
    )
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
    # Peers know the receiver by a name of the hospital; within the cluster it has another one.
    pair = authority.issue(place.name, RECEIVER if place.name == "receiver" else LOOPBACK)
    (place / "ca.crt").write_bytes(authority.path.read_bytes())
    (place / "tls.crt").write_bytes(pair.certificate.read_bytes())
    (place / "tls.key").write_bytes(pair.key.read_bytes())


def environment_of(manifests: tuple[Manifest, ...], folder: Path, database_url: str) -> dict[str, str]:
    """Return what the pods' containers have in their environment, with what comes from Secrets here."""
    given = {name: value for name, value in os.environ.items() if not name.startswith(("CSVD_", "AWS_"))}
    for _, pod in pods(manifests):
        for variable in (each for container in containers(pod) for each in container.get("env", [])):
            secret = database_url if variable["name"] == "CSVD_DATABASE_URL" else "secret"
            given[variable["name"]] = secret if "valueFrom" in variable else variable["value"]
    return {**given, "CSVD_CONFIG": str(folder / "node.yaml"), "CSVD_TERMINATION_LOG": str(folder / "end")}


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - set(STARTED)))
def test_the_node_accepts_the_configuration(scenario: str, tmp_path: Path) -> None:
    settings_of(scenario, tmp_path)
    url = "postgresql+psycopg://csvd:secret@database/csvd"
    done = command("check-config", **environment_of(rendered(scenario), tmp_path, url))
    assert done.returncode == 0, done.stderr
    assert "The configuration is valid." in done.stdout


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[tuple[tuple[str, ...], str]]:
    """Run what a scenario wants beside the node; yield further arguments for Helm and the database's URL."""
    if request.param != "workers-postgresql-s3":
        yield (), ""
        return
    with s3_server() as server, postgres_server() as url:
        endpoint = f"storage.s3.endpoint=http://{LOOPBACK}:{server.port}"
        yield ("--set", endpoint, "--set", f"storage.s3.bucket={BUCKET}"), url


@pytest.mark.parametrize(
    ("scenario", "served"), [(name, name) for name in STARTED], indirect=["served"], ids=STARTED
)
def test_a_node_from_the_chart_takes_the_round_trip(
    scenario: str, served: tuple[tuple[str, ...], str], tmp_path: Path
) -> None:
    """`helm test` without a cluster: the same command, the same certificates, a node from the same file."""
    arguments, url = served
    path = settings_of(scenario, tmp_path, *arguments)
    configuration = yaml.safe_load(path.read_text())
    port = free_port()
    configuration["receiver"] |= {"port": port, "host": LOOPBACK}
    configuration["web"] = {"port": None}
    configuration["completeness"] = {"series_quiet_s": 0.5}
    path.write_text(yaml.safe_dump(configuration))
    environment = environment_of(rendered(scenario, *arguments), tmp_path, url)
    (pod,) = of_kind(rendered(scenario, *arguments), "Pod")
    name, _, _, *options = pod["spec"]["containers"][0]["args"]
    here = [option.replace(MOUNTED, str(tmp_path)) for option in options]
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen([COMMAND, "serve"], env=environment, stderr=log)
    try:
        wait_until(lambda: listens(port) or node.poll() is not None, START_S, "the node listens")
        done = command(name, LOOPBACK, str(port), *here, **environment)
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()[-3000:]
        assert "answered C-ECHO and took an Instance" in done.stdout
        stranger = command(name, LOOPBACK, str(port), *here, "--calling-ae=STRANGER", **environment)
        assert stranger.returncode == 1
        with closing(Database(url or f"sqlite:///{tmp_path / 'data' / 'index.sqlite'}")) as database:
            raises_no_alarm(database)
    finally:
        node.terminate()
        node.wait(60)


def raises_no_alarm(database: Database) -> None:
    """See that the check's Study ends, and neither fails nor waits for anybody."""
    seen: list[StudyRow] = []

    def is_evaluated() -> bool:
        seen[:] = study_rows(database, datetime.now(UTC), CompletenessSettings(series_quiet_s=0.5))
        return bool(seen) and seen[0].state in {StudyState.EVALUATED, StudyState.FAILED}

    wait_until(is_evaluated, STUDY_S, "the Study of the round trip ends")
    (row,) = seen
    assert (row.state, row.reason) == (StudyState.EVALUATED, NOT_EVALUATED)
