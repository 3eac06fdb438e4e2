from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engines.errors import RunnerError
from engines.findings import StudyFindings
from engines.lesions import METHOD_LIMITS_MM
from engines.pipeline import PipelineSettings, segment_study
from engines.registration import RegistrationSpec
from engines.runners.base import Notice, unheard
from engines.runners.choice import open_runner
from engines.segmentation import Segmentor
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from tests.support.head import axial_grid, grid_points, head
from tests.support.onnx_models import write_threshold_bundle

WMH, LACUNE, INFARCT, MICROBLEED = Segment.WMH, Segment.LACUNE, Segment.INFARCT, Segment.MICROBLEED
FLAIR, T1, DWI, T2_STAR = SeriesType.T2_FLAIR, SeriesType.T1, SeriesType.DWI_B1000, SeriesType.T2_STAR

GRIDS = {
    FLAIR: axial_grid((20, 64, 64), (6.5, 3.2, 3.2)),
    T1: axial_grid((26, 64, 64), (5.0, 3.0, 3.0), centre_mm=(2.0, -3.0, 1.0)),
    DWI: axial_grid((20, 56, 56), (6.5, 3.6, 3.6), centre_mm=(0.0, 2.0, 0.0)),
    T2_STAR: axial_grid((24, 64, 64), (5.5, 3.1, 3.1)),
}

LEVEL, GAIN = 3.0, 20.0
"""The models find what is brighter than three times white matter; scalp on T1 stays below two."""

BRIGHT = 6.0
"""Intensity of a painted lesion, in units of white matter."""

WHITE = {FLAIR: 400.0, T1: 900.0, DWI: 190.0, T2_STAR: 560.0}


@pytest.fixture(scope="module")
def segmentors(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Segment, Segmentor]:
    folder = tmp_path_factory.mktemp("bundles")
    bundles = {
        one: write_threshold_bundle(folder / one.lower(), one, level=LEVEL, gain=GAIN) for one in Segment
    }
    return {one: Segmentor(bundle, open_runner(bundle)) for one, bundle in bundles.items()}


@pytest.fixture(scope="module")
def still(segmentors: Mapping[Segment, Segmentor]) -> StudyFindings:
    """Findings of the study whose patient lay still."""
    return segment_study(study(), segmentors)


def said_of(findings: StudyFindings, what: str) -> list[str]:
    return [remark for remark in findings.remarks if what in remark]


def ball(grid: Grid, centre_mm: tuple[float, ...], diameter_mm: float) -> np.ndarray:
    """Return the voxels whose centres lie in a ball of patient space."""
    distance = np.linalg.norm(grid_points(grid) - np.array(centre_mm), axis=1)
    return (distance <= diameter_mm / 2).reshape(grid.shape)


def imaged(series_type: SeriesType, *balls: tuple[tuple[float, ...], float], seed: int = 0) -> Volume:
    """Image the head with bright balls."""
    image = head(GRIDS[series_type], series_type, seed=seed)
    for centre, diameter in balls:
        image.array[ball(image.grid, centre, diameter)] = BRIGHT * WHITE[series_type]
    return image


def study() -> dict[SeriesType, Volume]:
    """Lay three overlapping lesions and one alone: WMH, lacune and infarct in a row to the left."""
    return {
        FLAIR: imaged(FLAIR, ((20, 20, 20), 30.0), seed=1),
        T1: imaged(T1, ((32, 20, 20), 14.0), seed=2),
        DWI: imaged(DWI, ((40, 20, 20), 18.0), seed=3),
        T2_STAR: imaged(T2_STAR, ((-30, -20, 10), 12.0), seed=4),
    }


def moved(volume: Volume, angles_deg: tuple[float, ...], shift_mm: tuple[float, ...]) -> Volume:
    movement = np.eye(4)
    movement[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    movement[:3, 3] = shift_mm
    return Volume(volume.array, Grid(volume.grid.shape, movement @ volume.grid.affine))


def reasons(findings: StudyFindings) -> dict[Segment, str]:
    return {absent.segment: absent.reason for absent in findings.not_assessed}


def test_a_study_of_four_series_is_assessed_in_full(segmentors: Mapping[Segment, Segmentor]) -> None:
    heard: list[str] = []
    findings = segment_study(study(), segmentors, progress=lambda step: heard.append(step.words))
    assert [found.segment for found in findings.findings] == list(Segment)
    assert findings.not_assessed == ()
    for found in findings.findings:
        assert found.series_type is found.segment.series_type
        assert found.mask.grid is GRIDS[found.series_type]
        assert found.mask.array.dtype == np.bool_
        assert found.probability.array.dtype == np.float32
        np.testing.assert_array_equal(found.labels > 0, found.mask.array)
        assert len(found.lesions) == 1
        assert found.model.name == f"threshold-{found.segment.lower()}"
        assert found.model.runner.startswith("onnxruntime")
        assert found.size_limits_mm == METHOD_LIMITS_MM.get(found.segment)
    assert findings.of(MICROBLEED).lesions[0].centroid_lps_mm == pytest.approx((-30, -20, 10), abs=2.5)
    assert [record.moving for record in findings.registrations] == [T1, DWI, T2_STAR]
    assert not any(record.applied or record.refused for record in findings.registrations)
    assert [record.performed for record in findings.exclusions] == [True, True, True]
    assert "segmenting LACUNE on T1" in heard
    assert "registering DWI b1000 to T2-FLAIR" in heard


def test_series_without_its_lower_third_is_assessed_and_that_is_said(
    segmentors: Mapping[Segment, Segmentor], still: StudyFindings
) -> None:
    """It ends at -22 mm: of an ellipsoid of 72 mm between -65 and 65 mm 72% lie above."""
    whole = study()[T2_STAR]
    affine = whole.grid.affine.copy()
    affine[:3, 3] += 8 * affine[:3, 0]
    cut = Volume(whole.array[8:], Grid((16, *whole.grid.shape[1:]), affine))
    findings = segment_study(study() | {T2_STAR: cut}, segmentors)
    assert not said_of(still, "covers")
    (said,) = said_of(findings, "covers")
    assert 70 <= int(said.removeprefix("T2* covers ").partition("%")[0]) <= 74
    assert said.endswith("below it was not looked at (cerebral microbleed)")
    assert len(findings.of(MICROBLEED).lesions) == 1


def test_no_voxel_belongs_to_two_excluding_segments(still: StudyFindings) -> None:
    for record in still.exclusions:
        assert record.removed_voxels > 0
    wmh, infarct, lacune = (still.of(one).mask for one in (WMH, INFARCT, LACUNE))
    for minuend, others in ((wmh, (infarct, lacune)), (lacune, (infarct,))):
        points = minuend.grid.to_lps(np.argwhere(minuend.array))
        for other in others:
            at = np.floor(other.grid.to_index(points) + 0.5 + 1e-6).astype(int)
            inside = ((at >= 0) & (at < other.grid.shape)).all(axis=1)
            assert not other.array[tuple(at[inside].T)].any()


@pytest.mark.parametrize("min_lesion_ml", [0.0, 1.0])
def test_edge_that_another_segment_leaves_is_a_lesion_only_if_it_is_as_large_as_one(
    segmentors: Mapping[Segment, Segmentor], min_lesion_ml: float
) -> None:
    """Of a ball of 18 mm an infarct of 16 mm in its middle leaves half a millilitre."""
    where = (20.0, 20.0, 20.0)
    volumes = {FLAIR: imaged(FLAIR, (where, 18.0), seed=1), DWI: imaged(DWI, (where, 16.0), seed=3)}
    manifest = segmentors[WMH].manifest
    spec = manifest.postprocessing.model_copy(update={"min_lesion_ml": min_lesion_ml})
    changed = manifest.model_copy(update={"postprocessing": spec})
    strict = replace(segmentors[WMH], bundle=replace(segmentors[WMH].bundle, manifest=changed))
    findings = segment_study(volumes, {WMH: strict, INFARCT: segmentors[INFARCT]})
    assert findings.exclusions[0].removed_voxels > 0
    assert bool(findings.of(WMH).lesions) is (min_lesion_ml == 0)
    said = said_of(
        findings, "White matter hyperintensity: 0.53 ml that the subtraction of other segments left"
    )
    assert bool(said) is (min_lesion_ml > 0)


def test_combined_masks_lie_on_the_flair(still: StudyFindings) -> None:
    assert set(still.combined) == set(Segment)
    for segment, mask in still.combined.items():
        assert mask.grid is GRIDS[FLAIR]
        found = still.of(segment)
        centre = mask.grid.to_lps(np.argwhere(mask.array).mean(axis=0)[None])[0]
        assert centre == pytest.approx(found.lesions[0].centroid_lps_mm, abs=3.5)
    np.testing.assert_array_equal(still.combined[WMH].array, still.of(WMH).mask.array)


def test_a_patient_who_moved_is_registered_before_exclusion(
    segmentors: Mapping[Segment, Segmentor], still: StudyFindings
) -> None:
    """After a movement of 14 mm the infarct's voxels are again taken from the same tissue."""
    volumes = study()
    volumes[DWI] = moved(volumes[DWI], (3, -2, 6), (-8, 9, -7))
    findings = segment_study(volumes, segmentors)
    record = next(one for one in findings.registrations if one.moving is DWI)
    assert record.applied, record.reason
    for before, after in zip(still.exclusions, findings.exclusions, strict=True):
        assert after.removed_ml == pytest.approx(before.removed_ml, rel=0.25, abs=0.1)
    mask, expected = findings.combined[INFARCT].array, still.combined[INFARCT].array
    assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) > 0.75


def test_an_implausible_registration_leaves_the_scanner_geometry(
    segmentors: Mapping[Segment, Segmentor],
) -> None:
    volumes = {FLAIR: study()[FLAIR], T1: moved(study()[T1], (0, 0, 9), (8, 0, 0))}
    settings = PipelineSettings(registration=RegistrationSpec(max_rotation_deg=3))
    findings = segment_study(volumes, segmentors, settings)
    (record,) = findings.registrations
    assert record.refused
    np.testing.assert_array_equal(record.fixed_to_moving, np.eye(4))
    assert any("T1 may lie askew to T2-FLAIR" in remark for remark in findings.remarks)


@pytest.mark.parametrize(
    ("present", "assessed", "registered"),
    [
        pytest.param({FLAIR}, {WMH}, [], id="flair-only"),
        pytest.param({T2_STAR}, {MICROBLEED}, [], id="t2-star-only"),
        pytest.param({T1, DWI}, {LACUNE, INFARCT}, [(T1, DWI)], id="no-flair"),
        pytest.param({T1, T2_STAR}, {LACUNE, MICROBLEED}, [], id="nothing-meets"),
        pytest.param({FLAIR, T2_STAR}, {WMH, MICROBLEED}, [(FLAIR, T2_STAR)], id="combined-only"),
    ],
)
def test_a_study_without_a_series_gets_the_rest(
    segmentors: Mapping[Segment, Segmentor],
    present: set[SeriesType],
    assessed: set[Segment],
    registered: list[tuple[SeriesType, SeriesType]],
) -> None:
    volumes = {kind: volume for kind, volume in study().items() if kind in present}
    findings = segment_study(volumes, segmentors)
    assert {found.segment for found in findings.findings} == assessed
    expected = {
        one: f"There is no {one.series_type.label} Series in the Study."
        for one in Segment
        if one not in assessed
    }
    assert reasons(findings) == expected
    assert [(record.fixed, record.moving) for record in findings.registrations] == registered
    assert set(findings.combined) == (assessed if FLAIR in present else set())
    unavailable = any("no usable T2-FLAIR" in remark for remark in findings.remarks)
    assert unavailable == (FLAIR not in present)


@pytest.mark.parametrize(
    ("frame", "max_rotation_deg", "performed", "combined", "remark"),
    [
        pytest.param("1", 1.0, True, True, "DWI b1000 may lie askew to T2-FLAIR", id="same-frame-refused"),
        pytest.param("2", 15.0, True, True, "", id="another-frame-registered"),
        pytest.param(
            "2", 1.0, False, False, "DWI b1000 lies in another Frame of Reference than T2-FLAIR, and",
            id="another-frame-refused",
        ),
    ],
)  # fmt: skip
def test_scanner_geometry_counts_within_one_frame_of_reference_only(
    segmentors: Mapping[Segment, Segmentor],
    frame: str,
    max_rotation_deg: float,
    performed: bool,
    combined: bool,
    remark: str,
) -> None:
    volumes = study()
    volumes[DWI] = moved(volumes[DWI], (4, -3, 7), (9, -8, 6))
    spec = RegistrationSpec(max_rotation_deg=max_rotation_deg)
    frames = dict.fromkeys(SeriesType, "1") | {DWI: frame}
    settings = PipelineSettings(registration=spec)
    findings = segment_study(volumes, segmentors, settings, frames=frames)
    steps = {(one.minuend, one.subtrahend): one.performed for one in findings.exclusions}
    assert steps[WMH, INFARCT] is performed
    assert (INFARCT in findings.combined) is combined
    assert any(said.startswith(remark) for said in findings.remarks) or not remark
    only = "infarct is only in the segmentation of the DWI b1000, whose place in the T2-FLAIR is not known"
    assert bool(said_of(findings, only)) is not combined


def test_a_series_without_an_image_costs_only_its_segment(segmentors: Mapping[Segment, Segmentor]) -> None:
    volumes = study()
    volumes[T1] = volumes[T1].with_array(np.full(volumes[T1].grid.shape, np.nan, np.float32))
    volumes[T2_STAR] = volumes[T2_STAR].with_array(np.zeros(volumes[T2_STAR].grid.shape))
    findings = segment_study(volumes, segmentors)
    assert [found.segment for found in findings.findings] == [WMH, INFARCT]
    assert "T1 Series: Some voxels are not finite" in reasons(findings)[LACUNE]
    assert "T2* Series: All voxels have the same value" in reasons(findings)[MICROBLEED]
    assert findings.remarks == (), "a reason is told once"
    assert [record.performed for record in findings.exclusions] == [True, False, False]


def test_a_segment_without_a_model_is_not_assessed(segmentors: Mapping[Segment, Segmentor]) -> None:
    findings = segment_study(study(), {WMH: segmentors[WMH]})
    assert [found.segment for found in findings.findings] == [WMH]
    assert reasons(findings)[INFARCT] == "No model for recent small subcortical infarct is configured."


def test_every_series_that_a_segment_needs_and_the_study_lacks_has_its_reason(
    segmentors: Mapping[Segment, Segmentor],
) -> None:
    """The network needs both; who calls knows why one of them is not there."""
    manifest = segmentors[LACUNE].manifest.model_copy(update={"inputs": (T1, FLAIR)})
    needs_both = replace(segmentors[LACUNE], bundle=replace(segmentors[LACUNE].bundle, manifest=manifest))
    for present, expected in (
        ({T1}, "Only reformats of a T2-FLAIR."),
        (set(), "There is no T1 Series in the Study. / Only reformats of a T2-FLAIR."),
    ):
        volumes = {kind: volume for kind, volume in study().items() if kind in present}
        told = {FLAIR: "Only reformats of a T2-FLAIR."}
        findings = segment_study(volumes, {LACUNE: needs_both}, unavailable=told)
        assert reasons(findings)[LACUNE] == expected


def test_nothing_at_all_is_an_answer(segmentors: Mapping[Segment, Segmentor]) -> None:
    findings = segment_study({}, segmentors)
    assert findings.findings == ()
    assert set(reasons(findings)) == set(Segment)


def test_a_study_without_lesions_has_explicit_zeros(segmentors: Mapping[Segment, Segmentor]) -> None:
    findings = segment_study({kind: head(GRIDS[kind], kind) for kind in SeriesType}, segmentors)
    assert [len(found.lesions) for found in findings.findings] == [0, 0, 0, 0]
    assert [found.volume_ml for found in findings.findings] == [0, 0, 0, 0]
    assert [mask.array.any() for mask in findings.combined.values()] == [False] * 4


def test_the_same_study_gives_the_same_findings(segmentors: Mapping[Segment, Segmentor]) -> None:
    volumes = study()
    volumes[T1] = moved(volumes[T1], (2, 3, -4), (5, -4, 3))
    first, second = (segment_study(volumes, segmentors) for _ in range(2))
    for one, other in zip(first.findings, second.findings, strict=True):
        np.testing.assert_array_equal(one.mask.array, other.mask.array)
        np.testing.assert_array_equal(one.probability.array, other.probability.array)
        assert one.lesions == other.lesions
    for segment, mask in first.combined.items():
        np.testing.assert_array_equal(mask.array, second.combined[segment].array)
    assert first.exclusions == second.exclusions
    assert first.remarks == second.remarks


def test_lesions_between_the_slices_of_the_flair_are_told(segmentors: Mapping[Segment, Segmentor]) -> None:
    """FLAIR centres lie at 9.75 and 16.25 mm; the microbleed reaches from 12 to 14 mm."""
    fine = axial_grid((66, 64, 64), (2.0, 3.1, 3.1))
    image = head(fine, T2_STAR)
    # Slice 39 of 66, every 2 mm around 0, is centred at 13 mm.
    image.array[39][ball(fine, (-30, -20, 13), 16.0)[39]] = BRIGHT * WHITE[T2_STAR]
    findings = segment_study({FLAIR: study()[FLAIR], T2_STAR: image}, segmentors)
    assert len(findings.of(MICROBLEED).lesions) == 1
    assert not findings.combined[MICROBLEED].array.any()
    said = "1 of 1 lesions (cerebral microbleed) between the slices of the T2-FLAIR or outside it: only in"
    assert any(said in remark for remark in findings.remarks)


def test_lesions_that_give_way_to_other_segments_are_told(segmentors: Mapping[Segment, Segmentor]) -> None:
    """Microbleeds take no part in the exclusion, yet claim their voxels where no two masks may overlap."""
    where = (20.0, 20.0, 20.0)
    volumes = {FLAIR: imaged(FLAIR, (where, 9.0)), T2_STAR: imaged(T2_STAR, (where, 24.0))}
    findings = segment_study(volumes, segmentors)
    assert (len(findings.of(WMH).lesions), len(findings.of(MICROBLEED).lesions)) == (1, 1)
    assert not findings.combined[WMH].array.any()
    (said,) = said_of(findings, "lesions (")
    assert said == (
        "1 of 1 lesions (white matter hyperintensity) lie wholly in lesions of other segments, which keep "
        "the voxels in the segmentation of all segments, and are only in that of the T2-FLAIR alone"
    )


def test_limits_of_the_manifest_replace_those_of_the_method(tmp_path: Path) -> None:
    bundle = write_threshold_bundle(
        tmp_path / "own",
        INFARCT,
        level=LEVEL,
        gain=GAIN,
        size_limits_mm=(None, 5.0),
        drop_outside_limits=True,
    )
    segmentor = Segmentor(bundle, open_runner(bundle))
    assert segmentor.limits_mm == (0.0, 5.0)
    (found,) = segment_study({DWI: study()[DWI]}, {INFARCT: segmentor}).findings
    assert found.lesions == ()
    assert not found.mask.array.any()
    assert found.probability.array.max() > 0.9


@pytest.mark.parametrize(
    ("written", "limits"),
    [((None, None), None), ((3.0, None), (3.0, np.inf)), (None, METHOD_LIMITS_MM[INFARCT])],
)
def test_open_bounds(tmp_path: Path, written: object, limits: object) -> None:
    bundle = write_threshold_bundle(tmp_path / "own", INFARCT, size_limits_mm=written)
    assert Segmentor(bundle, open_runner(bundle)).limits_mm == limits


def two_inputs(folder: Path) -> Segmentor:
    bundle = write_threshold_bundle(
        folder,
        LACUNE,
        channels=2,
        level=LEVEL,
        gain=GAIN,
        inputs=(T1, FLAIR),
        optional_inputs=(FLAIR,),
    )
    return Segmentor(bundle, open_runner(bundle))


class Recorder:
    """A runner that keeps what it was shown."""

    name = "recorder"

    def __init__(self) -> None:
        self.shown = np.zeros(0)

    def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
        self.shown = slices
        return np.full((len(slices), 1, *slices.shape[2:]), -9, np.float32)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_second_input_is_brought_onto_the_grid_of_the_first(tmp_path: Path) -> None:
    """The lateral ventricles, dark on both, coincide in the two channels although the patient moved."""
    recorder = Recorder()
    segmentor = Segmentor(two_inputs(tmp_path / "two").bundle, recorder)
    volumes = {T1: moved(study()[T1], (4, -3, 7), (9, -8, 6)), FLAIR: study()[FLAIR]}
    findings = segment_study(volumes, {LACUNE: segmentor})
    assert findings.registrations[0].applied
    assert findings.findings[0].other_inputs == (FLAIR,)
    first, second = recorder.shown[:, 0], recorder.shown[:, 1]
    middle = slice(8, 18)
    brain = first[middle] > 0.8
    assert np.corrcoef(first[middle].ravel() > 0.2, second[middle].ravel() > 0.2)[0, 1] > 0.8
    assert np.median(second[middle][brain]) == pytest.approx(1, abs=0.25)


def test_a_second_input_of_unknown_place_is_not_guessed(tmp_path: Path) -> None:
    """The network needs both; what it would see of the second one lies anywhere."""
    whole = two_inputs(tmp_path / "two")
    manifest = whole.manifest.model_copy(update={"optional_inputs": ()})
    segmentor = Segmentor(replace(whole.bundle, manifest=manifest), Recorder())
    volumes = {T1: moved(study()[T1], (4, -3, 7), (9, -8, 6)), FLAIR: study()[FLAIR]}
    strict = PipelineSettings(registration=RegistrationSpec(max_rotation_deg=1))
    findings = segment_study(volumes, {LACUNE: segmentor}, strict, frames={T1: "1", FLAIR: "2"})
    assert findings.findings == ()
    assert reasons(findings)[LACUNE] == (
        "T1 Series: T2-FLAIR lies in another Frame of Reference, and where is not known"
    )
    within = segment_study(volumes, {LACUNE: segmentor}, strict, frames={T1: "1", FLAIR: "1"})
    assert [found.other_inputs for found in within.findings] == [(FLAIR,)]


def test_a_second_input_shows_air_where_it_ends(tmp_path: Path) -> None:
    """A scanner's offset puts air at -1000: then zero, beyond the end of the T2-FLAIR, would be bright."""
    recorder = Recorder()
    segmentor = Segmentor(two_inputs(tmp_path / "two").bundle, recorder)
    whole = study()[FLAIR]
    affine = whole.grid.affine.copy()
    affine[:3, 3] = whole.grid.to_lps(np.array([[8, 0, 0]]))[0]
    upper = Volume(whole.array[8:] - 1000, Grid((12, *whole.grid.shape[1:]), affine))
    segment_study({T1: study()[T1], FLAIR: upper}, {LACUNE: segmentor})
    seen = recorder.shown[:, 1]
    assert seen[-4].max() > 0.8
    np.testing.assert_array_equal(seen[:6], 0)


def test_a_missing_optional_input_is_told(tmp_path: Path) -> None:
    findings = segment_study({T1: study()[T1]}, {LACUNE: two_inputs(tmp_path / "two")})
    assert [(found.segment, found.other_inputs) for found in findings.findings] == [(LACUNE, ())]
    assert said_of(findings, "looked for without") == ["Lacune was looked for without T2-FLAIR"]


def test_an_optional_input_that_covers_less_is_told(tmp_path: Path) -> None:
    """Of 20 slices of the T2-FLAIR the upper eight are left, 52 mm; the T1 shows 130 mm."""
    whole = study()[FLAIR]
    affine = whole.grid.affine.copy()
    affine[:3, 3] = whole.grid.to_lps(np.array([[12, 0, 0]]))[0]
    upper = Volume(whole.array[12:], Grid((8, *whole.grid.shape[1:]), affine))
    findings = segment_study({T1: study()[T1], FLAIR: upper}, {LACUNE: two_inputs(tmp_path / "two")})
    assert findings.findings[0].other_inputs == (FLAIR,)
    (said,) = said_of(findings, "T2-FLAIR covers")
    assert "below it was looked at without T2-FLAIR (lacune)" in said


def test_an_optional_input_that_may_lie_askew_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder()
    segmentor = Segmentor(two_inputs(tmp_path / "two").bundle, recorder)
    strict = PipelineSettings(registration=RegistrationSpec(max_rotation_deg=1))
    volumes = {T1: moved(study()[T1], (4, -3, 7), (9, -8, 6)), FLAIR: study()[FLAIR]}
    findings = segment_study(volumes, {LACUNE: segmentor}, strict)
    assert findings.registrations[0].refused
    assert recorder.shown[:, 0].any()
    assert not recorder.shown[:, 1].any()
    assert findings.findings[0].other_inputs == ()
    assert said_of(findings, "looked for without") == [
        "Lacune was looked for without T2-FLAIR, which may lie askew to T1"
    ]


def test_what_a_network_that_crops_did_not_see_of_the_head_is_told(tmp_path: Path) -> None:
    """64 pixels of 1.5 mm are 96 mm; the head is 144 mm wide and 180 mm long."""
    spec = {"pixel_grid": (64, 64), "fit": "pad_crop", "normalisation": "white_matter_peak"}
    bundle = write_threshold_bundle(tmp_path / "crop", WMH, level=LEVEL, gain=GAIN, preprocessing=spec)
    fine = axial_grid((20, 128, 128), (6.5, 1.5, 1.5))
    segmentor = Segmentor(bundle, Recorder())
    findings = segment_study({FLAIR: head(fine, FLAIR)}, {WMH: segmentor})
    (said,) = said_of(findings, "field of the network")
    assert said.startswith("White matter hyperintensity was looked for on ")
    assert 40 < int(said.partition("%")[0].rpartition(" ")[2]) < 75
    for side in ("in front of", "behind", "right of", "left of"):
        assert f" mm {side} the field of the network" in said
    whole = head(axial_grid((20, 64, 64), (6.5, 3.2, 3.2)), FLAIR)
    assert not said_of(segment_study({FLAIR: whole}, {WMH: segmentor}), "field of the network")


class Broken(Recorder):
    """A runner whose runtime fails."""

    def run(self, slices: np.ndarray, notice: Notice = unheard) -> np.ndarray:
        raise RunnerError("out of memory")


def test_a_failing_runtime_fails_the_study_and_names_the_model(
    segmentors: Mapping[Segment, Segmentor],
) -> None:
    broken = Segmentor(segmentors[WMH].bundle, Broken())
    with pytest.raises(RunnerError, match=r"WMH with threshold-wmh 0.1.0: out of memory"):
        segment_study(study(), {WMH: broken})
