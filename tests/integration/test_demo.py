"""The first thing a new user does: everything arrives, and lies where it was painted."""

from __future__ import annotations

import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from engines.segments import Segment
from tests.support.demo_study import DEMO_STUDY, demo_truth
from tests.support.running_node import run_command

NEAR_MM = 6.0
"""A lesion counts as found when its mask comes this near to where it was painted: one thick slice."""

FOUND = {Segment.LACUNE: (1, 2), Segment.INFARCT: (1, 2), Segment.MICROBLEED: (4, 6)}
"""Painted lesions that must be found at least, and how many there are. A flip or shift loses nearly all."""


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("demo")
    done = run_command("demo", str(DEMO_STUDY), "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert "Cerebral microbleed" in done.stdout
    (folder,) = output.iterdir()
    for path in (*(folder / "pacs").glob("*.dcm"), *folder.rglob("*overlays.png")):
        assert str(path) in done.stdout.replace("\n", "")
    return folder


def test_all_results_arrive_in_the_pacs(demonstrated: Path) -> None:
    modalities = [dcmread(path).Modality for path in (demonstrated / "pacs").glob("*.dcm")]
    assert sorted(modalities) == ["SEG"] * 5 + ["SR"]


@pytest.mark.parametrize("segment", list(FOUND))
def test_painted_lesions_are_found_where_they_were_painted(demonstrated: Path, segment: Segment) -> None:
    (path,) = demonstrated.rglob(f"*-seg-{segment.value}.dcm")
    seg = hd.seg.segread(path)
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    voxels = volume.map_indices_to_reference(np.argwhere(np.asarray(volume.array) > 0))
    series = {Segment.LACUNE: "t1", Segment.INFARCT: "dwi", Segment.MICROBLEED: "t2_star"}[segment]
    painted = [
        np.array(lesion["centre_lps_mm"][series])
        for lesion in demo_truth()["lesions"]
        if lesion["segment"] == segment.value
    ]
    at_least, all_of_them = FOUND[segment]
    assert len(painted) == all_of_them
    hit = [bool((np.linalg.norm(voxels - place, axis=1) <= NEAR_MM).any()) for place in painted]
    assert sum(hit) >= at_least, hit


def test_choice_of_series_is_kept_beside_the_results(demonstrated: Path) -> None:
    (path,) = demonstrated.rglob("*-selection.json")
    record = json.loads(path.read_text())
    assert record["unavailable"] == {}
