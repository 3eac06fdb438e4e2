"""How the process begins and ends: what is wrong is said in a sentence, what is under way is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from pynetdicom import evt

from tests.support.host_gpu import without_gpu
from tests.support.instances import mr_dataset, write_instance
from tests.support.peers import LOOPBACK, needs_dcmtk, scripted_pacs, scripted_scanner, wait_until
from tests.support.running_node import COMMAND, RunningNode
from tests.support.small_study import ENDED, RESULTS, all_of, push, study_of, write_study

NOWHERE = f"postgresql+psycopg://csvd:secret@{LOOPBACK}:1/csvd"

NO_BUCKET = {
    "bucket": "csvd",
    "endpoint": f"http://{LOOPBACK}:1",
    "access_key_id": "key",
    "secret_access_key": "secret",
    "allow_http": True,
    "timeout_s": 2,
}


def serve(folder: Path, configuration: dict[str, object], **variables: str) -> tuple[int, str, str]:
    """Run `csvd-node serve` to its end: exit code, standard error, termination message."""
    path, message = folder / "node.yaml", folder / "termination"
    path.write_text(yaml.safe_dump({"root": str(folder / "data"), "web": {"port": None}, **configuration}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CSVD_")}
    ended = subprocess.run(
        [COMMAND, "serve", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**kept, "CSVD_TERMINATION_LOG": str(message), **variables},
        check=False,
    )
    return ended.returncode, ended.stderr, message.read_text() if message.exists() else ""


@pytest.mark.parametrize(
    ("configuration", "code", "sentence"),
    [
        pytest.param(
            {"receiver": {"port": "many"}}, 2, "receiver.port: must be a whole number", id="wrong-value"
        ),
        pytest.param(
            {"receiver": {"tls": {"certificate": "gone.pem", "key": "gone.key", "ca": "ca.pem"}}},
            2,
            "receiver.tls: gone.pem cannot be read: No such file or directory",
            id="missing-secret",
        ),
        pytest.param(
            {"database_url": NOWHERE, "start_wait_s": 2},
            1,
            "The index cannot be opened: connection failed",
            id="no-database",
        ),
        pytest.param(
            {"storage": NO_BUCKET, "start_wait_s": 2},
            1,
            f"Store s3://csvd at {NO_BUCKET['endpoint']}: cannot be used: the object store does not take",
            id="no-bucket",
        ),
        pytest.param(
            {"runner": "tensorrt-rtx", "start_wait_s": 2},
            1,
            "tensorrt-rtx cannot be used: there is no NVIDIA driver",
            id="no-driver",
            marks=without_gpu,
        ),
    ],
)
def test_node_that_can_not_start_says_why(
    tmp_path: Path, configuration: dict[str, object], code: int, sentence: str
) -> None:
    returned, said, message = serve(tmp_path, configuration)
    assert returned == code, said
    assert sentence in message
    assert message.splitlines()[0] in said
    assert "Traceback" not in said
    assert "secret" not in said + message
    assert len(message.strip().splitlines()) == 1
    if "start_wait_s" in configuration:
        assert "node.waits" in said, "what may come later is waited for"


@without_gpu
def test_gpu_that_the_environment_takes_away_ends_the_node_at_once(tmp_path: Path) -> None:
    returned, said, message = serve(tmp_path, {"runner": "tensorrt"}, NVIDIA_VISIBLE_DEVICES="void")
    assert returned == 2, said
    assert message == (
        "tensorrt cannot be used: NVIDIA_VISIBLE_DEVICES is 'void', so that this container gets no GPU: "
        "set it to all or to the UUID of one, on Kubernetes with gpu.enabled"
    )
    assert "node.waits" not in said, "it does not pass by itself"


def test_node_waits_for_its_database_alive_and_not_ready(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "node", {}, database_url=NOWHERE, roles=["web"])
    node.configuration_path.write_text(yaml.safe_dump(node.configuration))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "serve", "--config", str(node.configuration_path)], stdout=log, stderr=log
        )

    def waits() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        return "node.waits" in (tmp_path / "log").read_text()

    try:
        wait_until(waits, 120, "it waits")
        assert node.get("/health/live").status_code == 200
        ready = node.get("/health/ready")
        assert ready.status_code == 503
        assert "The index cannot be opened" in ready.json()["parts"]["database"]["reason"]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, "being told to stop is no failure"


@needs_dcmtk
def test_told_to_stop_it_finishes_what_arrives_and_gives_back_what_it_evaluates(tmp_path: Path) -> None:
    files = all_of(write_study(tmp_path, "one"))
    with scripted_pacs() as pacs, RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}) as node:
        push(node, files)
        wait_until(lambda: "evaluation.started" in node.log(), 60, "the evaluation begins")
        first, second = (
            dcmread(write_instance(tmp_path / "late", mr_dataset(9, 1, number))) for number in (1, 2)
        )
        with scripted_scanner(node.port) as association:
            assert association.send_c_store(first).Status == 0x0000
            assert node._process is not None
            node._process.send_signal(signal.SIGTERM)
            wait_until(lambda: node.get("/health/ready").json()["status"] == "stopping", 20, "it stops")
            assert association.send_c_store(second).Status == 0x0000, "under way is taken"
        process = node._process
        assert process.wait(60) == 0, node.log()
        entries = [json.loads(line) for line in node.log().splitlines()]
        ended = [each for each in entries if each["event"] == "intake.association_ended"]
        assert ended[-1]["ended"] == "released"
        node.start()
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
        assert len(pacs.received) == RESULTS


@needs_dcmtk
def test_told_to_stop_it_does_not_wait_for_a_destination_that_hangs(tmp_path: Path) -> None:
    hangs, is_asked = threading.Event(), threading.Event()

    def answer(_number: int, _event: evt.Event) -> int:
        is_asked.set()
        hangs.wait(180)
        return 0x0000

    with (
        scripted_pacs(answer) as pacs,
        RunningNode(tmp_path / "node", {"pacs": ("PACS", pacs.port)}, stop_grace_s=1) as node,
    ):
        push(node, all_of(write_study(tmp_path, "one")))
        wait_until(is_asked.is_set, 120, "it is asked to store")
        process = node._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, node.log()
        assert "node.work_left" in node.log()
        hangs.set()
        node.start()
        assert node.wait_for(study_of("one"), *ENDED)["state"] == "delivered", node.log()
