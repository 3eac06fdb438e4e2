"""JavaScript libraries that viewers are built of read the results back, every voxel and every group."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from engines.segments import Segment
from node.model import SourceVolume
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.texts import lesion_line
from tests.support.result_studies import context, four_series
from tests.viewer.cases import RECIPES, Case, make_case
from tests.viewer.segmentations import WrittenSegmentation, slice_references, write_segmentation
from tests.viewer.site import FOLDER, NODE, viewer_installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not viewer_installed(), reason="`make viewer-tools` installs the libraries"),
]

PLANE_TOLERANCE = 1e-3
"""Share of the slice distance by which a frame may miss its slice."""


def slice_at(source: SourceVolume, position: list[float]) -> int:
    index = source.volume.grid.to_index(np.array([position]))[0]
    assert abs(index[0] - round(index[0])) < PLANE_TOLERANCE
    return round(float(index[0]))


def volumes(frames: list[dict[str, Any]], source: SourceVolume) -> dict[int, NDArray[np.bool_]]:
    """Return (slices, rows, columns) masks by segment number from frames with indices of voxels."""
    places = {(image.instance, image.frame): i for i, image in enumerate(slice_references(source))}
    found = {number: np.zeros(source.volume.grid.shape, dtype=bool) for number in range(1, len(Segment) + 1)}
    for frame in frames:
        if "position" in frame:
            plane = slice_at(source, frame["position"])
        else:
            plane = places[frame["instance"], frame["frame"]]
        found[frame["segment"]][plane].flat[frame["voxels"]] = True
    return found


def read(written: WrittenSegmentation, case: Case) -> Any:
    command = [str(NODE), "read_segmentation.mjs", str(written.path), *map(str, case.files)]
    answer = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(answer.stdout)


def assert_every_voxel(frames: list[dict[str, Any]], written: WrittenSegmentation, case: Case) -> None:
    masks = volumes(frames, written.source)
    for number, segment in enumerate(Segment, 1):
        np.testing.assert_array_equal(masks[number], case.masks[segment], err_msg=segment.value)


ENCODED = [
    *(pytest.param(Form.BINARY, name, id=name) for name in RECIPES),
    *(
        pytest.param(Form.LABELMAP, name, id=f"labelmap-{name}")
        for name in ("negative-cosines", "enhanced", "without-lesions")
    ),
]


@pytest.mark.parametrize(("encoding", "name"), ENCODED)
def test_dcmjs_and_the_adapters_read_every_voxel_and_no_other(
    encoding: Form, name: str, tmp_path: Path
) -> None:
    case = make_case(name, tmp_path / "source")
    written = write_segmentation(case, tmp_path / "segmentation.dcm", encoding)
    found = read(written, case)
    assert found["segments"] == [1, 2, 3, 4]
    for library in ("dcmjs", "adapters"):
        assert_every_voxel(found[library], written, case)


def test_dcmjs_reads_every_voxel_of_probabilities_which_the_adapters_refuse(tmp_path: Path) -> None:
    """The adapters read a fractional Segmentation only where all its values are zero or the maximum."""
    case = make_case("oblique", tmp_path / "source")
    written = write_segmentation(case, tmp_path / "segmentation.dcm", Form.FRACTIONAL)
    found = read(written, case)
    assert_every_voxel(found["dcmjs"], written, case)
    assert found["adapters"] == "Fractional segmentations are not yet supported"


def test_the_case_of_many_frames_has_more_than_four_hundred(tmp_path: Path) -> None:
    written = write_segmentation(make_case("many-frames", tmp_path / "source"), tmp_path / "seg.dcm")
    assert dcmread(written.path, stop_before_pixels=True).NumberOfFrames == 4 * 104


def test_dcmjs_reads_every_group_of_the_report_and_the_adapters_every_lesion(tmp_path: Path) -> None:
    study = four_series(tmp_path / "source")
    made = build_results(study.findings, study.sources, context())
    paths = {one.role: path for one, path in zip(made, write_results(made, tmp_path), strict=True)}
    command = [str(NODE), "read_report.mjs", str(paths["sr"])]
    answer = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True, timeout=120)
    told = json.loads(answer.stdout)
    segmentations = {one.role: one.sop_instance_uid for one in made}
    expected = []
    for found in study.findings.findings:
        concept, segmentation = SEGMENT_CONCEPTS[found.segment], segmentations[f"seg-{found.segment.value}"]
        named = [(found.segment.label, found.volume_ml)]
        named += [(f"{found.segment.label} {lesion.number}", lesion.volume_ml) for lesion in found.lesions]
        expected += [
            (name, concept.finding.value, segmentation, 1, pytest.approx(volume_ml, abs=1e-6))
            for name, volume_ml in named
        ]
    groups = told["groups"]
    assert [
        (group["name"], group["finding"], group["segmentation"], group["segment"], group["numbers"]["Volume"])
        for group in groups
    ] == expected
    assert len({group["uid"] for group in groups}) == len(expected)
    # the adapters take a group for a point to be drawn; a summary is of no point
    names = {group["name"]: group["uid"] for group in groups}
    assert told["annotations"] == [
        {
            "tool": "Probe",
            "uid": names[f"{found.segment.label} {lesion.number}"],
            "finding": SEGMENT_CONCEPTS[found.segment].finding.value,
            "label": lesion_line(found, lesion),
            "points": [pytest.approx(lesion.centroid_lps_mm, abs=1e-3)],
        }
        for found in study.findings.findings
        for lesion in found.lesions
    ]
