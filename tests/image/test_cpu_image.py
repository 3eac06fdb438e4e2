"""The container image for CPUs: what it does, what it holds and what it says of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
import pypdfium2
import pytest
from pydicom.uid import EncapsulatedPDFStorage
from pynetdicom.dsutils import decode

from tests.support.collector import spans_of, value_of
from tests.support.images import CPU, build, in_image, podman, program_of
from tests.support.peers import LOOPBACK, ScriptedPacs, scripted_pacs
from tests.support.running_node import RunningNode
from tests.support.s3_server import BUCKET, s3_server
from tests.support.series_files import Patient
from tests.support.small_study import ENDED, study_of, write_study
from tests.support.web_servers import Answer, web_server

pytestmark = [pytest.mark.image, pytest.mark.timeout(3000)]

UNPACKED_MB = 700
"""What the CPU image may take on a disk; it takes 662 MB."""


PATIENTS = {
    "chinese": Patient("Wang^XiaoDong=王^小东", "P1", character_set="GB18030"),
    "japanese": Patient("Yamada^Tarou=山田^太郎=やまだ^たろう", "P2", character_set=["", "ISO 2022 IR 87"]),
    "korean": Patient("Hong^Gildong=洪^吉洞=홍^길동", "P3", character_set=["", "ISO 2022 IR 149"]),
}
"""Source: PS3.5 annexes H, I and J."""


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
ask() { python /opt/healthcheck.py $1 2>/dev/null; }
for second in $(seq 180); do ask && echo healthy && break; sleep 1; done
for second in $(seq 180); do ask startup && echo started && break; sleep 1; done
kill $node; wait $node && echo ended
ask || echo unhealthy
"""
    done = in_image("-c", script, entrypoint="/bin/sh")
    assert done.stdout.split() == ["healthy", "started", "ended", "unhealthy"], done.stdout + done.stderr


def test_names_are_printed_in_their_scripts_files_lie_in_a_bucket_and_a_collector_is_told(
    tmp_path: Path,
) -> None:
    """What a demonstration does not touch: fonts, the object store's client and the exporter of traces."""
    with (
        s3_server() as bucket,
        web_server(lambda _: Answer(200)) as collector,
        scripted_pacs(sop_classes=(EncapsulatedPDFStorage,)) as pacs,
    ):
        node = RunningNode(
            tmp_path / "node",
            {"pacs": ("PACS", pacs.port)},
            storage=bucket.settings,
            traces={"endpoint": f"{collector.url}/v1/traces"},
        )
        node.configuration["destinations"]["pacs"]["forms"] = ["pdf"]
        node.program = program_of(node)
        with node:
            for name, patient in PATIENTS.items():
                write_study(tmp_path / "sent", name, ("flair",), patient)
                scan(tmp_path / "sent" / name, node.port)
            ended = {name: node.wait_for(study_of(name), *ENDED)["state"] for name in PATIENTS}
        kept = httpx.get(f"{bucket.settings['endpoint']}/{BUCKET}?list-type=2", timeout=60).text
    assert ended == dict.fromkeys(PATIENTS, "delivered"), node.log()
    assert all(f"<Key>node/studies/{study_of(name)}/" in kept for name in PATIENTS)
    assert {value_of(span, "csvd.study_uid") for span in spans_of(collector)} == set(map(study_of, PATIENTS))
    printed = "\n".join(texts_of(pacs))
    for patient in PATIENTS.values():
        for group in patient.name.split("="):
            assert group.replace("^", " ") in printed


def scan(folder: Path, port: int) -> None:
    """Send files as the scanner of the compose file does."""
    command = ["-m", "pynetdicom", "storescu", LOOPBACK, str(port), str(folder), "--recurse"]
    subprocess.run(
        [sys.executable, *command, "--required-contexts", "-aet", "SCANNER", "-aec", "CSVD"], check=True
    )


def texts_of(pacs: ScriptedPacs) -> list[str]:
    """Read the documents that a PACS was sent."""
    texts = []
    for (received,) in pacs.received.values():
        dataset = decode(BytesIO(received), is_implicit_vr=False, is_little_endian=True)
        content = bytes(dataset.EncapsulatedDocument)[: dataset.EncapsulatedDocumentLength]
        texts.append(pypdfium2.PdfDocument(content)[0].get_textpage().get_text_range())
    return texts


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
