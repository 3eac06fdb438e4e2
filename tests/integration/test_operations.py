"""What the documents tell those who run a node, against what it is about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from node.study_states import StudyState
from tests.support.operations import REPOSITORY, blocks, section
from tests.support.running_node import COMMAND


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    told = blocks(section("installation.md", "Install on one machine"))
    (unit,) = (block for block in told if block.startswith("[Unit]"))
    path = tmp_path / "csvd-node.service"
    path.write_text(unit.replace("/opt/csvd-node/.venv/bin/csvd-node", COMMAND))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if path.name in line]
    assert (done.returncode, about_it) == (0, [])


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    rules = (REPOSITORY / "helm" / "csvd-node" / "templates" / "_rules.tpl").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    told = ("operations.md", "What each alert means")
    assert alerts
    assert set(re.findall(r"^### (\w+)$", section(*told), re.MULTILINE)) == alerts
    assert all(len(section(*told, alert).split()) >= 25 for alert in alerts)


def test_every_state_of_a_study_is_told() -> None:
    told = re.findall(r"^\| `(\w+)` \|", section("operations.md", "Where a Study is"), re.MULTILINE)
    assert told == [state.value for state in StudyState]


def test_every_metric_of_the_list_is_exported_and_the_other_way_round() -> None:
    listed = set(re.findall(r"\b(csvd_\w+)", section("monitoring.md", "Metrics")))
    modules = [path.read_text() for path in (REPOSITORY / "node").glob("*.py")]
    sources = [text for text in modules if "prometheus_client" in text]
    named = {name for text in sources for name in re.findall(r'"(csvd_[a-z_]+)"', text)}
    counted = {f"csvd_{name}_total" for text in sources for name in re.findall(r'_counter\(\s*"(\w+)"', text)}
    assert listed == named | counted
