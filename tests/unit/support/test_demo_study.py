"""The demo Study is complete, small, coherent, and its lesions lie where truth.json says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from engines.segments import SeriesType
from node.header_reader import read_image_header
from node.identification import identify
from node.identification_rules import DEFAULT_RULES
from node.stacks import split_stacks
from tests.support.demo_study import DEMO_STUDY, demo_files, demo_flair_label, demo_truth
from tests.support.shared_data import SHARED, needs_shared

TRUTH = demo_truth()
SEEN_ON = {"LACUNE": ("t1", "t2_flair"), "INFARCT": ("dwi",), "MICROBLEED": ("t2_star",)}


class _Series:
    """Slices of one Series in ascending order with index (slice, row, column) to LPS."""

    def __init__(self, folder: str, b_value: int | None = None) -> None:
        slices = [pydicom.dcmread(path) for path in demo_files(folder)]
        if b_value is not None:
            slices = [ds for ds in slices if int(ds[0x0019, 0x100C].value) == b_value]
        cosines = np.array(slices[0].ImageOrientationPatient, dtype=float)
        normal = np.cross(cosines[:3], cosines[3:])
        slices.sort(key=lambda ds: float(normal @ np.array(ds.ImagePositionPatient, dtype=float)))
        first, second = (np.array(ds.ImagePositionPatient, dtype=float) for ds in slices[:2])
        row_mm, column_mm = (float(value) for value in slices[0].PixelSpacing)
        self.axes = np.stack([second - first, cosines[3:] * row_mm, cosines[:3] * column_mm], axis=1)
        self.origin = first
        self.array = np.stack([ds.pixel_array.astype(float) for ds in slices])

    def distances_mm(self, centre: list[float]) -> NDArray[np.float64]:
        indices = np.indices(self.array.shape).reshape(3, -1)
        points = self.axes @ indices + self.origin.reshape(3, 1)
        offsets = np.linalg.norm(points - np.array(centre).reshape(3, 1), axis=0)
        return np.asarray(offsets.reshape(self.array.shape))


def _lesions(*segments: str) -> list[Any]:
    return [
        pytest.param(lesion, folder, id=f"{lesion['segment']}-{lesion['place']}-{folder}".replace(" ", "-"))
        for lesion in TRUTH["lesions"]
        if lesion["segment"] in segments
        for folder in SEEN_ON[lesion["segment"]]
    ]


@pytest.fixture(scope="module")
def series() -> dict[str, _Series]:
    folders = {"t2_flair": None, "t1": None, "t2_star": None, "dwi": 1000}
    return {folder: _Series(folder, b_value) for folder, b_value in folders.items()}


def test_study_fits_into_15_megabytes() -> None:
    assert sum(path.stat().st_size for path in DEMO_STUDY.rglob("*") if path.is_file()) <= 15e6


@pytest.mark.parametrize("folder", sorted(TRUTH["series"]))
def test_each_series_has_its_instances_and_its_matrix(folder: str) -> None:
    slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in demo_files(folder)]
    known = TRUTH["series"][folder]
    assert len(slices) == known["instances"]
    assert {ds.SeriesInstanceUID for ds in slices} == {known["series_uid"]}
    assert {(ds.Rows, ds.Columns) for ds in slices} == {tuple(known["shape"][1:])}
    assert len({ds.SOPInstanceUID for ds in slices}) == len(slices)


def test_all_series_belong_to_one_synthetic_patient_and_one_frame_of_reference() -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in demo_files()]
    assert {ds.StudyInstanceUID for ds in headers} == {TRUTH["study_uid"]}
    assert {ds.FrameOfReferenceUID for ds in headers} == {TRUTH["frame_of_reference_uid"]}
    assert {(str(ds.PatientName), ds.PatientID) for ds in headers} == {("CSVD^DEMO", "CSVD-DEMO-1")}


def test_four_transfer_syntaxes_are_used() -> None:
    found = {
        pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path in demo_files()
    }
    assert found == {ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless}


def test_wanted_series_lie_on_different_grids() -> None:
    grids = [
        (tuple(TRUTH["series"][folder]["shape"]), tuple(TRUTH["series"][folder]["spacing_mm"]))
        for folder in ("t2_flair", "t1", "dwi", "t2_star")
    ]
    assert len(set(grids)) == 4
    assert all(20 <= shape[0] <= 24 for shape, _ in grids)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("t2_flair", [SeriesType.T2_FLAIR]), ("t1", [SeriesType.T1]), ("t2_star", [SeriesType.T2_STAR]),
        ("dwi", [None, SeriesType.DWI_B1000]), ("adc", [None]), ("localizer", [None, None, None]),
    ],
)  # fmt: skip
def test_series_are_taken_for_what_they_are(folder: str, expected: list[SeriesType | None]) -> None:
    stacks = split_stacks([read_image_header(path) for path in demo_files(folder)])
    found = [identify(stack, DEFAULT_RULES).series_type for stack in stacks]
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("folder", ["t1", "dwi", "t2_star"])
def test_head_moved_rigidly_by_one_to_three_degrees_and_millimetres(folder: str) -> None:
    known = TRUTH["series"][folder]
    rotation = np.array(known["flair_to_series"])[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-7)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    angle_deg = np.rad2deg(np.arccos((np.trace(rotation) - 1) / 2))
    assert angle_deg == pytest.approx(known["rotation_deg"], abs=1e-3)
    assert 1.0 < angle_deg < 3.5
    assert 1.0 < np.linalg.norm(known["shift_of_head_centre_mm"]) < 2.5


def test_lesion_positions_follow_the_motion_of_their_series() -> None:
    for lesion in TRUTH["lesions"]:
        centres = lesion["centre_lps_mm"]
        for folder, centre in centres.items():
            motion = np.array(TRUTH["series"][folder]["flair_to_series"])
            moved = motion @ np.append(centres["t2_flair"], 1.0)
            np.testing.assert_allclose(moved[:3], centre, atol=2e-3)


def test_numbers_and_sizes_of_lesions_lie_in_the_bounds_of_the_method() -> None:
    limits_mm = {"LACUNE": (3, 15), "INFARCT": (0, 20), "MICROBLEED": (2, 10)}
    segments = [lesion["segment"] for lesion in TRUTH["lesions"]]
    assert {segment: segments.count(segment) for segment in limits_mm} == {
        "LACUNE": 2, "INFARCT": 2, "MICROBLEED": 6,
    }  # fmt: skip
    for lesion in TRUTH["lesions"]:
        smallest, largest = limits_mm[lesion["segment"]]
        assert smallest <= max(lesion["diameters_mm"]) <= largest


def test_lesions_lie_in_the_brain_outside_ventricles_and_on_the_side_they_are_named_by(
    series: dict[str, _Series],
) -> None:
    flair = series["t2_flair"]
    brain, ventricle = demo_flair_label("brain"), demo_flair_label("ventricle")
    for lesion in TRUTH["lesions"]:
        centre = lesion["centre_lps_mm"]["t2_flair"]
        index = np.rint(np.linalg.inv(flair.axes) @ (np.array(centre) - flair.origin)).astype(int)
        assert brain[tuple(index)], lesion["place"]
        assert not ventricle[tuple(index)], lesion["place"]
        is_left = centre[0] > TRUTH["head_centre_lps_mm"][0]
        assert lesion["place"].startswith("left" if is_left else "right")


@pytest.mark.parametrize(("lesion", "folder"), _lesions("LACUNE", "MICROBLEED", "INFARCT"))
def test_lesion_stands_out_at_its_place(
    lesion: dict[str, Any], folder: str, series: dict[str, _Series]
) -> None:
    volume = series[folder]
    distance = volume.distances_mm(lesion["centre_lps_mm"][folder])
    largest = max(lesion["diameters_mm"])
    nearest = np.unravel_index(np.argmin(distance), distance.shape)
    around = np.median(volume.array[(distance > largest / 2 + 3) & (distance < largest / 2 + 8)])
    ratio = volume.array[nearest] / around
    assert ratio > 1.5 if lesion["segment"] == "INFARCT" else ratio < 0.75


def test_labelled_white_matter_hyperintensities_are_brighter_than_the_brain(
    series: dict[str, _Series],
) -> None:
    flair = series["t2_flair"].array
    wmh, brain = demo_flair_label("wmh"), demo_flair_label("brain")
    assert np.median(flair[wmh]) > np.percentile(flair[brain & ~wmh], 95)


@needs_shared
def test_flair_lies_in_patient_space_where_the_published_image_lies(series: dict[str, _Series]) -> None:
    # SimpleITK brings NIfTI into LPS by itself, so that a flip on the way to DICOM would show
    published: Any = SimpleITK.ReadImage(str(SHARED / "mri" / "ms3seg_112776" / "flair.nii.gz"))
    flair = series["t2_flair"]
    generator = np.random.default_rng(0)
    for index in generator.integers((0, 40, 40), (20, 216, 216), (200, 3)):
        point = flair.axes @ index + flair.origin
        if min(_distance_to_lesions(point)) > 15:
            value = published.GetPixel(published.TransformPhysicalPointToIndex(point.tolist()))
            assert flair.array[tuple(index)] == pytest.approx(max(value, 0) / 4, abs=0.51)


def _distance_to_lesions(point: NDArray[np.float64]) -> list[float]:
    centres = [lesion["centre_lps_mm"]["t2_flair"] for lesion in TRUTH["lesions"]]
    return [float(np.linalg.norm(point - np.array(centre))) for centre in centres]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("folder", sorted(TRUTH["series"]))
def test_dciodvfy_finds_no_errors(folder: str) -> None:
    files: list[Path] = demo_files(folder)
    for path in (files[0], files[-1]):
        report = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert [line for line in report.splitlines() if line.startswith("Error")] == []
