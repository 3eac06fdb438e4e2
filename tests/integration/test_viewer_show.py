"""One command serves a Study with its results in the viewer."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.viewer.cases import make_case
from tests.viewer.segmentations import write_segmentation
from tests.viewer.site import viewer_installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not viewer_installed(), reason="`make viewer-tools` installs viewer and archive"),
]

COMMAND = [sys.executable, "-m", "tests.viewer.show"]
ROOT = Path(__file__).resolve().parents[2]


def test_command_prints_an_address_that_opens_and_ends_on_interrupt(tmp_path: Path) -> None:
    case = make_case("axial", tmp_path)
    write_segmentation(case, tmp_path / "segmentation.dcm")
    with subprocess.Popen([*COMMAND, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        lines = [shown.stdout.readline() for _ in range(4)]
        assert lines[0] == f"{len(case.files) + 1} objects of 1 Studies are in the archive.\n"
        address = lines[1].removeprefix("Open ").strip()
        assert address.endswith(f"/viewer?StudyInstanceUIDs={case.study_uid}")
        with urllib.request.urlopen(address, timeout=30) as page:  # noqa: S310
            assert "<title>OHIF Viewer</title>" in page.read().decode()
        shown.send_signal(signal.SIGINT)
        assert shown.wait(timeout=60) == 0


def test_command_refuses_a_folder_without_dicom_files(tmp_path: Path) -> None:
    run = subprocess.run([*COMMAND, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "no DICOM files" in run.stderr
