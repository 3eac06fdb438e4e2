from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.model import SourceVolume
from node.results.build import build_results
from node.results.errors import EncodingFailedError, MaskMismatchError
from node.results.files import encode
from node.results.result_object import ResultObject
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation, mask_on_source
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.source_header import read_source_header
from tests.support import header_patterns as patterns
from tests.support.phantoms import (
    DiffusionVolume,
    PhantomKind,
    orientation_matrix,
    phantom_grid,
    phantom_volume,
    write_enhanced,
    write_mosaic,
)
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    SERIES_OF,
    STUDY_UID,
    ResultStudy,
    context,
    finding,
    model_of,
    source_from,
)
from tests.support.seg_reading import frames_of, largest_distance_mm, lps_points, mask_points
from tests.support.series_files import Order

ROLES = [f"seg-{segment.value}" for segment in Segment]


def read_back(made: ResultObject) -> Dataset:
    return pydicom.dcmread(BytesIO(encode(made)))


def segmentation_of(source: SourceVolume, *masks: np.ndarray) -> Dataset:
    plan = SegmentationPlan(
        "seg-test", 9001, "test", "TEST",
        tuple(SegmentMask(one, mask, model_of(one), ()) for one, mask in zip(Segment, masks, strict=False)),
    )  # fmt: skip
    header = read_source_header(source, source.study_uid)
    return read_back(ResultObject(plan.role, build_segmentation(plan, source, header, context())))


@pytest.mark.parametrize("segment", Segment)
def test_segmentation_of_a_series_is_of_one_coded_segment(
    results: dict[str, ResultObject], segment: Segment
) -> None:
    dataset, concept = read_back(results[f"seg-{segment.value}"]), SEGMENT_CONCEPTS[segment]
    (described,) = dataset.SegmentSequence
    assert (dataset.SOPClassUID, dataset.Modality, dataset.SegmentationType) == (
        SegmentationStorage,
        "SEG",
        "BINARY",
    )
    assert (described.SegmentNumber, described.SegmentLabel) == (1, segment.label)
    assert described.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert described.SegmentedPropertyTypeCodeSequence[0].CodeValue == concept.property_type.value
    assert described.AnatomicRegionSequence[0].CodeValue == concept.site.value
    assert described.SegmentAlgorithmType == "AUTOMATIC"
    assert described.SegmentAlgorithmName == model_of(segment).name
    (algorithm,) = described.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (model_of(segment).name, "1.2.0")
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert described.TrackingID == segment.label
    assert described.TrackingUID.startswith("2.25.")


@pytest.mark.parametrize("segment", Segment)
def test_display_colour_is_that_of_the_segment(results: dict[str, ResultObject], segment: Segment) -> None:
    (described,) = results[f"seg-{segment.value}"].dataset.SegmentSequence
    colour = CIELabColor.from_dicom_value(list(described.RecommendedDisplayCIELabValue)).to_rgb()
    assert np.abs(np.array(colour) - SEGMENT_CONCEPTS[segment].rgb).max() <= 2


@pytest.mark.parametrize("segment", Segment)
def test_voxels_return_at_the_lps_points_of_the_mask(
    study: ResultStudy, results: dict[str, ResultObject], segment: Segment
) -> None:
    found = study.findings.of(segment)
    assert found is not None
    expected = mask_points(found.mask.array, found.mask.grid.affine)
    assert largest_distance_mm(lps_points(read_back(results[f"seg-{segment.value}"]), 1), expected) < 1e-3


def test_combined_holds_all_segments_on_the_flair(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    dataset = read_back(results["seg-combined"])
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == [segment.label for segment in Segment]
    for number, segment in enumerate(Segment, 1):
        mask = study.findings.combined[segment]
        expected = mask_points(mask.array, mask.grid.affine)
        assert largest_distance_mm(lps_points(dataset, number), expected) < 1e-3
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == study.sources[SeriesType.T2_FLAIR].series_uid


def test_tracking_uid_of_a_segment_is_the_same_wherever_it_is_drawn(results: dict[str, ResultObject]) -> None:
    combined = [item.TrackingUID for item in results["seg-combined"].dataset.SegmentSequence]
    assert combined == [results[role].dataset.SegmentSequence[0].TrackingUID for role in ROLES]


@pytest.mark.parametrize("role", [*ROLES, "seg-combined"])
def test_every_frame_refers_to_the_image_at_its_place(
    study: ResultStudy, results: dict[str, ResultObject], role: str
) -> None:
    kind = SeriesType.T2_FLAIR if role == "seg-combined" else SERIES_OF[Segment(role.removeprefix("seg-"))]
    images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, study.paths[kind])}
    for _, groups, _ in frames_of(read_back(results[role])):
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        source = images[reference.ReferencedSOPInstanceUID]
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        assert reference.SpatialLocationsPreserved == "YES"
        assert "ReferencedFrameNumber" not in reference
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(place, source.ImagePositionPatient, atol=1e-3)


@pytest.mark.parametrize("role", [*ROLES, "seg-combined"])
def test_series_that_the_mask_lies_on_is_named_with_all_its_images_and_no_other(
    study: ResultStudy, results: dict[str, ResultObject], role: str
) -> None:
    kind = SeriesType.T2_FLAIR if role == "seg-combined" else SERIES_OF[Segment(role.removeprefix("seg-"))]
    dataset = results[role].dataset
    (series,) = dataset.ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert series.SeriesInstanceUID == study.sources[kind].series_uid
    assert named == {frame.sop_instance_uid for frame in study.sources[kind].frames}
    assert "SourceImageSequence" not in dataset


@pytest.mark.parametrize("role", [*ROLES, "seg-combined"])
def test_each_segment_names_the_series_that_its_network_saw(
    study: ResultStudy, results: dict[str, ResultObject], role: str
) -> None:
    for described in read_back(results[role]).SegmentSequence:
        found = next(one for one in study.findings.findings if one.segment.label == described.SegmentLabel)
        (algorithm,) = described.SegmentationAlgorithmIdentificationSequence
        seen = [f"input {kind.label}: Series {study.sources[kind].series_uid}" for kind in found.inputs]
        assert algorithm.AlgorithmParameters == "; ".join(seen)
        assert len(seen) == (2 if found.segment is Segment.LACUNE else 1)


def test_combined_says_all_only_where_no_segment_is_absent(
    results: dict[str, ResultObject], results_without_lesions: dict[str, ResultObject]
) -> None:
    made = [all_or_some["seg-combined"] for all_or_some in (results, results_without_lesions)]
    assert [one.dataset.SeriesDescription for one in made] == [
        "All on T2-FLAIR (AI result, not reviewed)",
        "3 of 4 on T2-FLAIR (AI result, not reviewed)",
    ]


def test_geometry_is_that_of_the_source(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    dataset, source = results["seg-WMH"].dataset, study.sources[SeriesType.T2_FLAIR]
    image = pydicom.dcmread(study.paths[SeriesType.T2_FLAIR][0])
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == image.ImageOrientationPatient
    assert shared.PixelMeasuresSequence[0].PixelSpacing == image.PixelSpacing
    assert shared.PixelMeasuresSequence[0].SpacingBetweenSlices == source.volume.grid.spacing_mm[0]
    assert shared.PixelMeasuresSequence[0].SliceThickness == source.volume.grid.spacing_mm[0]
    assert dataset.FrameOfReferenceUID == FRAME_OF_REFERENCE_UID
    assert (dataset.Rows, dataset.Columns) == (image.Rows, image.Columns)


def test_segment_is_named_with_each_frame_and_not_in_the_shared_groups(
    results: dict[str, ResultObject],
) -> None:
    for role in ROLES:
        dataset = read_back(results[role])
        assert "SegmentIdentificationSequence" not in dataset.SharedFunctionalGroupsSequence[0]
        assert {number for number, _, _ in frames_of(dataset)} == {1}


def test_empty_segmentation_has_one_empty_frame_in_the_middle(
    study_without_lesions: ResultStudy, results_without_lesions: dict[str, ResultObject]
) -> None:
    dataset = read_back(results_without_lesions["seg-WMH"])
    source = study_without_lesions.sources[SeriesType.T2_FLAIR]
    ((number, groups, voxels),) = frames_of(dataset)
    assert (number, voxels.sum(), dataset.NumberOfFrames) == (1, 0, 1)
    reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.frames[10].sop_instance_uid
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 20


def test_segment_without_lesions_beside_others_keeps_a_frame(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    full = np.zeros(source.volume.grid.shape, dtype=bool)
    full[4:6, 3:5, 3:5] = True
    dataset = segmentation_of(source, full, np.zeros_like(full), full)
    found = [(number, int(voxels.sum())) for number, _, voxels in frames_of(dataset)]
    assert found == [(1, 4), (1, 4), (2, 0), (3, 4), (3, 4)]
    assert dataset.SegmentsOverlap == "YES"


def test_contiguous_stack_of_one_segment_is_three_dimensional(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    stack, gap = np.zeros((2, *source.volume.grid.shape), dtype=bool)
    stack[4:7, 3, 3] = gap[[4, 7], 3, 3] = True
    assert segmentation_of(source, stack).DimensionOrganizationType == "3D"
    assert "DimensionOrganizationType" not in segmentation_of(source, gap)


def test_dimension_indices_ascend_with_the_planes(results: dict[str, ResultObject]) -> None:
    for role in (*ROLES, "seg-combined"):
        indices = [
            tuple(groups.FrameContentSequence[0].DimensionIndexValues)
            for _, groups, _ in frames_of(read_back(results[role]))
        ]
        assert indices == sorted(set(indices))
        assert {place for _, place in indices} == set(range(1, 1 + len({place for _, place in indices})))


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_frames_of_an_enhanced_source_are_referred_to_by_number(tmp_path: Path, order: Order) -> None:
    grid = phantom_grid((9, 40, 36), (5.0, 4.0, 4.5))
    kinds = ((0.0, "NONE", PhantomKind.DWI_B0), (1000.0, "ISOTROPIC", PhantomKind.DWI_B1000))
    path = write_enhanced(
        [DiffusionVolume(b, way, phantom_volume(kind, grid)) for b, way, kind in kinds],
        patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path / "e.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=3, order=order,
    )  # fmt: skip
    source = source_from([path], "b 1000")
    mask = np.zeros(source.volume.grid.shape, dtype=bool)
    mask[2:7, 10:13, 8:12] = True
    image = pydicom.dcmread(path)
    frames = list(frames_of(segmentation_of(source, mask)))
    assert len(frames) == 5
    for _, groups, _ in frames:
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        origin = image.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
        assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert origin.MRDiffusionSequence[0].DiffusionBValue == 1000
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(place, origin.PlanePositionSequence[0].ImagePositionPatient, atol=1e-3)


def test_enhanced_source_is_named_once(tmp_path: Path) -> None:
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((6, 20, 20), (5, 9, 9)))
    path = write_enhanced(
        volume, patterns.SIEMENS_FLAIR_TSE, tmp_path / "e.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1,
    )  # fmt: skip
    dataset = segmentation_of(source_from([path]), np.zeros((6, 20, 20), dtype=bool))
    (instance,) = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID


def test_tiles_of_a_mosaic_lie_by_geometry_and_refer_to_the_whole_image(tmp_path: Path) -> None:
    grid = phantom_grid((7, 32, 28), (6.0, 5.0, 5.5))
    path = write_mosaic(
        phantom_volume(PhantomKind.DWI_B1000, grid), patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path / "m.dcm",
        study_uid=STUDY_UID, frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=3,
    )  # fmt: skip
    source = source_from([path])
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2:5, 10:13, 8:12] = True
    dataset = segmentation_of(source, mask)
    assert largest_distance_mm(lps_points(dataset, 1), mask_points(mask, grid.affine)) < 1e-3
    assert (dataset.Rows, dataset.Columns) == (32, 28)
    for _, groups, _ in frames_of(dataset):
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        assert reference.SpatialLocationsPreserved == "NO"
        assert "ReferencedFrameNumber" not in reference


def test_more_than_400_frames_of_non_square_pixels_return_voxel_for_voxel(study: ResultStudy) -> None:
    small = study.sources[SeriesType.T2_FLAIR]
    grid = phantom_grid((420, 30, 41), (0.4, 1.0, 2.5), "sagittal")
    source = replace(small, volume=Volume(np.zeros(grid.shape, np.float32), grid), frames=small.frames * 21)
    mask = np.random.default_rng(0).random(grid.shape) > 0.98
    dataset = segmentation_of(source, mask)
    assert dataset.NumberOfFrames == 420
    assert largest_distance_mm(lps_points(dataset, 1), mask_points(mask, grid.affine)) < 1e-3


def test_slices_against_the_normal_are_placed_by_geometry(study: ResultStudy) -> None:
    small = study.sources[SeriesType.T2_FLAIR]
    axes = orientation_matrix("axial") * (-1.0, 1.0, 1.0)
    grid = phantom_grid((20, 30, 41), (4.0, 1.0, 2.5), axes)
    source = replace(small, volume=Volume(np.zeros(grid.shape, np.float32), grid))
    mask = np.random.default_rng(0).random(grid.shape) > 0.98
    assert (
        largest_distance_mm(lps_points(segmentation_of(source, mask), 1), mask_points(mask, grid.affine))
        < 1e-3
    )


def test_mask_of_another_shape_is_refused(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    grid = Grid((3, 4, 5), source.volume.grid.affine)
    with pytest.raises(MaskMismatchError, match="shape") as raised:
        mask_on_source(Segment.WMH, np.zeros((3, 4, 5), dtype=bool), grid, source)
    assert (raised.value.study_uid, raised.value.series_uid) == (source.study_uid, source.series_uid)


def test_mask_that_lies_elsewhere_is_refused(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    affine = source.volume.grid.affine.copy()
    affine[0, 3] += 0.01
    moved = Grid(source.volume.grid.shape, affine)
    found = study.findings.of(Segment.WMH)
    assert found is not None
    with pytest.raises(MaskMismatchError, match=r"0\.01 mm off"):
        mask_on_source(Segment.WMH, found.mask.array, moved, source)


def test_finding_on_the_wrong_grid_makes_no_results(study: ResultStudy) -> None:
    grid = study.sources[SeriesType.T1].volume.grid
    wrong = finding(Segment.WMH, SeriesType.T2_FLAIR, np.zeros(grid.shape, dtype=bool), grid)
    with pytest.raises(MaskMismatchError):
        build_results(replace(study.findings, findings=(wrong,)), study.sources, context())


def test_what_highdicom_refuses_is_our_error(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    mask = SegmentMask(Segment.WMH, np.zeros(source.volume.grid.shape, dtype=bool), model_of(Segment.WMH), ())
    plan = SegmentationPlan("seg-test", 0, "test", "TEST", (mask,))  # Series Number 0
    with pytest.raises(EncodingFailedError, match="seg-test") as raised:
        build_segmentation(plan, source, read_source_header(source, STUDY_UID), context())
    assert isinstance(raised.value.__cause__, ValueError)
