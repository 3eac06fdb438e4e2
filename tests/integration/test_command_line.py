"""The commands as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread

from engines.segments import Segment
from node.sop_classes import LABEL_MAP_SEGMENTATION
from tests.support.demo_study import DEMO_DICOM, demo_files
from tests.support.onnx_models import write_threshold_bundle
from tests.support.running_node import COMMAND, run_command
from tests.support.small_study import write_study


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A configuration with networks that mark what is bright."""
    path = tmp_path / "node.yaml"
    bundles = {
        segment.value: str(write_threshold_bundle(tmp_path / "bundles" / segment.value, segment).folder)
        for segment in Segment
    }
    path.write_text(yaml.safe_dump({"root": str(tmp_path / "data"), "segmentors": bundles}))
    return path


def test_identify_names_each_series_of_the_demo_study() -> None:
    told = run_command("identify", str(DEMO_DICOM), "--json")
    assert told.returncode == 0, told.stderr
    (study,) = json.loads(told.stdout)["studies"]
    chosen = {
        stack["series_type"]: stack["slices"] for stack in study["stacks"] if stack["outcome"] == "chosen"
    }
    assert chosen == {"T2_FLAIR": 20, "T1": 22, "DWI_B1000": 22, "T2_STAR": 24}
    assert all(stack["reason"] and stack["evidence"] for stack in study["stacks"])


def test_identify_of_no_image_is_a_message_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    told = run_command("identify", str(tmp_path))
    assert told.returncode == 0
    assert "nothing to identify" in told.stdout


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small Study of all four Series."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, "one")
    return folder


def test_process_twice_writes_the_same_uids(tmp_path: Path, study: Path, configuration: Path) -> None:
    uids = []
    for output in (tmp_path / "first", tmp_path / "second"):
        done = run_command("process", str(study), "--output", str(output), "--config", str(configuration))
        assert done.returncode == 0, done.stderr
        objects = {path.name: dcmread(path).SOPInstanceUID for path in output.rglob("*.dcm")}
        assert set(objects) == {
            *(f"seg-{segment.value}.dcm" for segment in Segment),
            "seg-combined.dcm",
            "sr.dcm",
        }
        (picture,) = output.rglob("overlays.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert "Findings (AI result, not reviewed)" in done.stdout
        uids.append(objects)
    assert uids[0] == uids[1]


def test_process_makes_the_forms_that_are_asked_for(tmp_path: Path, study: Path, configuration: Path) -> None:
    wanted = ("--form", "labelmap", "--form", "report", "--form", "pdf", "--masks", "per-series")
    done = run_command(
        "process", str(study), "--output", str(tmp_path), "--config", str(configuration), *wanted
    )
    assert done.returncode == 0, done.stderr
    made = {path.name: path for path in tmp_path.rglob("*.dcm")}
    masks = {f"seg-labelmap-{segment.value}.dcm" for segment in Segment}
    assert set(made) == {*masks, "sr-labelmap-per-series.dcm", "pdf.dcm"}
    assert {str(dcmread(made[name]).SOPClassUID) for name in masks} == {LABEL_MAP_SEGMENTATION}
    assert all(str(path) in done.stdout for path in made.values())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        pytest.param(("--form", "binary", "--form", "labelmap"), "choose one encoding", id="two-encodings"),
        pytest.param(("--form", "film"), "'film' is not one of 'binary'", id="no-form"),
        pytest.param(("--masks", "all"), "'all' is not one of 'per-series'", id="no-masks"),
    ],
)
def test_forms_that_can_not_be_made_are_named(
    tmp_path: Path, configuration: Path, wanted: tuple[str, ...], said: str
) -> None:
    done = run_command(
        "process", str(DEMO_DICOM), "--output", str(tmp_path / "out"), "--config", str(configuration), *wanted
    )
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_process_of_other_series_fails_with_one_sentence(tmp_path: Path, configuration: Path) -> None:
    folder = tmp_path / "localizer"
    folder.mkdir()
    for path in demo_files("localizer"):
        (folder / path.name).write_bytes(path.read_bytes())
    done = run_command(
        "process", str(folder), "--output", str(tmp_path / "out"), "--config", str(configuration)
    )
    assert done.returncode == 1
    assert "nothing can be assessed" in done.stderr
    assert "Traceback" not in done.stderr
    (selection,) = (tmp_path / "out").rglob("selection.json")
    assert {stack["kind"] for stack in json.loads(selection.read_text())["stacks"]} == {"localizer"}


def test_study_that_never_came_is_said_in_one_sentence(tmp_path: Path, configuration: Path) -> None:
    done = run_command("study", "1.2.3.4", "--config", str(configuration))
    assert done.returncode == 1
    assert "Study 1.2.3.4: not in the index" in done.stderr


def test_check_config_names_models_time_zone_and_what_is_missing(
    configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    done = run_command("check-config", "--config", str(configuration))
    assert done.returncode == 0, done.stderr
    assert "WMH: threshold-wmh" in done.stdout
    assert "dated in that of this machine: UTC+0900." in done.stdout
    assert "No AE may send" in done.stdout


@pytest.mark.parametrize(
    ("change", "expected", "code"),
    [
        pytest.param({"prot": 1}, "prot: no such setting", 2, id="unknown key"),
        pytest.param({"segmentors": {"WMH": "/nowhere"}}, "no model bundle at /nowhere", 2, id="no bundle"),
        pytest.param(
            {"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"},
            "index cannot be opened",
            1,
            id="no database",
        ),
    ],
)
def test_faulty_configuration_is_named_without_a_traceback(
    configuration: Path, change: dict[str, object], expected: str, code: int
) -> None:
    configuration.write_text(yaml.safe_dump({**yaml.safe_load(configuration.read_text()), **change}))
    command = "studies" if "database_url" in change else "check-config"
    done = run_command(command, "--config", str(configuration))
    assert done.returncode == code
    assert expected in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_bundle_for_another_segment_is_refused(configuration: Path) -> None:
    content = yaml.safe_load(configuration.read_text())
    content["segmentors"]["WMH"] = content["segmentors"]["LACUNE"]
    configuration.write_text(yaml.safe_dump(content))
    done = run_command("check-config", "--config", str(configuration))
    assert done.returncode == 2
    assert "segmentors.WMH: the bundle at" in " ".join(done.stderr.split())


def test_damaged_model_is_refused_with_the_field(configuration: Path) -> None:
    folder = Path(yaml.safe_load(configuration.read_text())["segmentors"]["WMH"])
    with (folder / "model.onnx").open("ab") as model:
        model.write(b"\0")
    done = run_command("check-config", "--config", str(configuration))
    assert done.returncode == 1
    assert "model.sha256" in done.stderr


def test_retry_of_an_unknown_study_says_so(configuration: Path) -> None:
    done = run_command("retry", "1.2.3", "--config", str(configuration))
    assert done.returncode == 1
    assert "Study 1.2.3: not in the index" in done.stderr


def test_interrupted_rebuild_says_that_the_next_one_goes_on(tmp_path: Path) -> None:
    """A pipe stands for a file that takes long to read."""
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump({"root": str(tmp_path / "data")}))
    slow = tmp_path / "data" / "studies" / "1.2" / "1.2.3" / "1.2.3.4.dcm"
    slow.parent.mkdir(parents=True)
    os.mkfifo(slow)
    # A shell lets what it starts in the background ignore the signal, and so do its children.
    command = ["env", "--default-signal=INT", COMMAND, "rebuild-index", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as rebuilding:
        # It is opened for writing only once somebody reads it.
        with slow.open("wb"):
            rebuilding.send_signal(signal.SIGINT)
            time.sleep(1)
        _, said = rebuilding.communicate(timeout=60)
    assert rebuilding.returncode == 130
    assert said.splitlines()[-1] == "Interrupted: what was read is entered; run this again, it goes on."
