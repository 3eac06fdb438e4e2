"""Each choice of forms gets what belongs to it, and its report refers to what its readers have."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from engines.exclusion import disjoint
from engines.findings import RegistrationRecord
from engines.segments import Segment, SeriesType
from node.results import codes
from node.results.build import build_results
from node.results.errors import EncodingFailedError
from node.results.forms import DEFAULT_CHOICE, ENCODINGS, Form, FormChoice, Masks, form_of
from node.results.result_object import ResultObject
from tests.support.head import grid_points
from tests.support.result_studies import ResultStudy, context


@pytest.fixture(scope="module")
def study(study: ResultStudy) -> ResultStudy:
    """The Study with combined masks that nowhere overlap, as the pipeline makes them."""
    found = study.findings
    return ResultStudy(replace(found, combined=disjoint(found.combined)), study.sources, study.paths)


LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


def choice(*forms: Form, masks: Masks = Masks.BOTH) -> FormChoice:
    return FormChoice(frozenset(forms), masks)


def made(study: ResultStudy, *choices: FormChoice) -> dict[str, ResultObject]:
    objects = build_results(study.findings, study.sources, context(), choices)
    return {one.role: one for one in objects}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (choice(Form.BINARY, masks=Masks.PER_SERIES), ["seg-WMH"]),
        (choice(Form.BINARY, masks=Masks.COMBINED), ["seg-combined"]),
        (choice(Form.BINARY, Form.REPORT), ["seg-WMH", "seg-combined", "sr"]),
        (choice(Form.LABELMAP, Form.REPORT), ["seg-labelmap-WMH", "sr-labelmap"]),
        (choice(Form.REPORT), ["sr-without-masks"]),
        (choice(Form.KEY_IMAGES, Form.PDF), ["key-image-001", "pdf"]),
        (choice(Form.PRESENTATION_STATE), ["presentation-state-WMH"]),
    ],
)
def test_choice_gets_what_belongs_to_it(wanted: FormChoice, expected: list[str]) -> None:
    roles = [
        "seg-WMH", "seg-combined", "seg-labelmap-WMH", "sr", "sr-labelmap", "sr-without-masks",
        "key-image-001", "pdf", "presentation-state-WMH",
    ]  # fmt: skip
    assert wanted.wanted(roles) == expected


def test_without_a_combined_segmentation_those_of_each_series_take_its_place() -> None:
    wanted = choice(Form.BINARY, Form.REPORT, masks=Masks.COMBINED)
    assert wanted.wanted(["seg-LACUNE", "sr-combined"]) == ["seg-LACUNE", "sr-combined"]


def test_unknown_role_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        form_of("nonsense")


def test_only_what_is_wanted_is_made_and_each_once(study: ResultStudy) -> None:
    roles = list(made(study, DEFAULT_CHOICE, choice(Form.BINARY, masks=Masks.COMBINED)))
    assert roles == ["seg-WMH", "seg-LACUNE", "seg-INFARCT", "seg-MICROBLEED", "seg-combined", "sr"]
    assert list(made(study, choice(Form.LABELMAP, masks=Masks.COMBINED))) == ["seg-labelmap-combined"]


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_names_of_segmentations_fit_their_value_representations(study: ResultStudy, encoding: Form) -> None:
    for one in made(study, choice(encoding)).values():
        assert re.fullmatch(r"[A-Z0-9 _]{1,16}", one.dataset.ContentLabel)  # CS
        assert len(one.dataset.SeriesDescription) <= 64  # LO


def segments_of(report: Dataset) -> set[tuple[str, str, int]]:
    """Return SOP Class, Instance and segment number of each Referenced Segment."""
    found = set()
    for item in report.ContentSequence:
        if item.ValueType == "IMAGE" and item.ConceptNameCodeSequence[0].CodeValue == "121191":
            (reference,) = item.ReferencedSOPSequence
            found.add(
                (
                    str(reference.ReferencedSOPClassUID),
                    str(reference.ReferencedSOPInstanceUID),
                    int(reference.ReferencedSegmentNumber),
                )
            )
        if "ContentSequence" in item:
            found |= segments_of(item)
    return found


@pytest.mark.parametrize("encoding", [Form.BINARY, Form.FRACTIONAL, Form.LABELMAP])
@pytest.mark.parametrize("masks", list(Masks))
def test_report_refers_to_the_segmentations_of_its_choice(
    study: ResultStudy, encoding: Form, masks: Masks
) -> None:
    objects = made(study, choice(encoding, Form.REPORT, masks=masks))
    (report,) = [one for role, one in objects.items() if form_of(role) is Form.REPORT]
    segmentations = {
        role: one for role, one in objects.items() if form_of(role) is encoding and "combined" not in role
    }
    expected = {(one.sop_class_uid, one.sop_instance_uid, 1) for one in segmentations.values()}
    if masks is Masks.COMBINED:
        (combined,) = [one for role, one in objects.items() if form_of(role) is encoding]
        numbers = range(1, len(Segment) + 1)
        expected = {(combined.sop_class_uid, combined.sop_instance_uid, n) for n in numbers}
    assert segments_of(report.dataset) == expected
    evidence = {
        instance.ReferencedSOPInstanceUID
        for item in report.dataset.CurrentRequestedProcedureEvidenceSequence
        for series in item.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    of_encoding = {one.sop_instance_uid for role, one in objects.items() if form_of(role) is encoding}
    assert of_encoding <= evidence


def test_report_without_masks_has_groups_without_a_region(study: ResultStudy) -> None:
    (report,) = made(study, choice(Form.REPORT)).values()
    assert segments_of(report.dataset) == set()
    measurements = next(
        item
        for item in report.dataset.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.IMAGING_MEASUREMENTS.value
    )
    templates = {
        group.ContentTemplateSequence[0].TemplateIdentifier for group in measurements.ContentSequence
    }
    assert templates == {"1501"}
    statements = report.dataset.ContentSequence[-1].ContentSequence
    assert any("goes without segmentations" in item.get("TextValue", "") for item in statements)


def test_fractional_segmentation_holds_the_probabilities_of_the_mask(study: ResultStudy) -> None:
    found = study.findings.of(Segment.WMH)
    assert found is not None
    voxels = found.mask.array
    found.probability.array[voxels] = np.linspace(0.001, 1.0, int(voxels.sum()), dtype=np.float32)
    dataset = made(study, choice(Form.FRACTIONAL, masks=Masks.PER_SERIES))["seg-fractional-WMH"].dataset
    assert (dataset.SegmentationType, dataset.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert (dataset.BitsAllocated, dataset.MaximumFractionalValue) == (8, 255)
    stored = np.frombuffer(dataset.PixelData, np.uint8)[: dataset.NumberOfFrames * voxels[0].size]
    planes = voxels.any(axis=(1, 2))
    frames = stored.reshape(-1, *voxels.shape[1:])
    np.testing.assert_array_equal(frames > 0, voxels[planes])
    expected = found.probability.array[planes][voxels[planes]]
    assert np.abs(frames[voxels[planes]] / 255 - expected).max() <= 1 / 255
    found.probability.array[:] = voxels


def test_combined_probabilities_lie_where_the_registration_puts_them(study: ResultStudy) -> None:
    """Each is (x + 100) / 200 of its own Series; the T1's patient space is 20 mm off in x."""
    moved = np.eye(4)
    moved[0, 3] = 20.0
    found = tuple(
        replace(
            one,
            probability=one.mask.with_array(
                ((grid_points(one.mask.grid)[:, 0] + 100) / 200)
                .clip(0, 1)
                .reshape(one.mask.array.shape)
                .astype(np.float32)
            ),
        )
        for one in study.findings.findings
    )
    records = (RegistrationRecord(SeriesType.T2_FLAIR, SeriesType.T1, moved, 0.0, 20.0, True, ""),)
    registered = ResultStudy(
        replace(study.findings, findings=found, registrations=records), study.sources, study.paths
    )
    dataset = made(registered, choice(Form.FRACTIONAL, masks=Masks.COMBINED))[
        "seg-fractional-combined"
    ].dataset
    place = 0
    for one in found:
        mask = study.findings.combined[one.segment]
        planes = mask.array.any(axis=(1, 2))
        size = int(planes.sum()) * mask.array[0].size
        frames = np.frombuffer(dataset.PixelData, np.uint8)[place : place + size]
        place += size
        stored = frames.reshape(-1, *mask.array.shape[1:])[mask.array[planes]]
        x_mm = mask.grid.to_lps(np.argwhere(mask.array))[:, 0] + (
            20 if one.series_type is SeriesType.T1 else 0
        )
        # The nearest voxel's centre lies half a voxel away at most, which is less than 4 mm.
        assert len(stored) > 0
        assert np.abs(stored / 255 - (x_mm + 100) / 200).max() < 4 / 200 + 1 / 255
        assert abs(np.mean(stored / 255 - (x_mm + 100) / 200)) < 0.01
    assert place <= len(dataset.PixelData) <= place + 1


def test_label_map_holds_one_frame_a_plane(study: ResultStudy) -> None:
    dataset = made(study, choice(Form.LABELMAP, masks=Masks.COMBINED))["seg-labelmap-combined"].dataset
    assert (dataset.SOPClassUID, dataset.SegmentationType) == (LABEL_MAP, "LABELMAP")
    masks = [study.findings.combined[found.segment].array for found in study.findings.findings]
    planes = np.any(masks, axis=(0, 2, 3))
    assert dataset.NumberOfFrames == planes.sum()
    stored = np.frombuffer(dataset.PixelData, np.uint8)[: planes.sum() * masks[0][0].size]
    frames = stored.reshape(-1, *masks[0].shape[1:])
    for number, mask in enumerate(masks, 1):
        np.testing.assert_array_equal(frames == number, mask[planes])


def test_label_map_describes_its_segments_and_no_background(study: ResultStudy) -> None:
    """A viewer paints all that is described."""
    dataset = made(study, choice(Form.LABELMAP, masks=Masks.COMBINED))["seg-labelmap-combined"].dataset
    assert [segment.SegmentNumber for segment in dataset.SegmentSequence] == [1, 2, 3, 4]
    assert dataset.PixelPaddingValue == 0


def test_label_map_of_overlapping_segments_is_refused(study: ResultStudy) -> None:
    combined = dict.fromkeys(study.findings.combined, study.findings.combined[Segment.WMH])
    overlapping = ResultStudy(replace(study.findings, combined=combined), study.sources)
    with pytest.raises(EncodingFailedError, match="overlap"):
        made(overlapping, choice(Form.LABELMAP, masks=Masks.COMBINED))


def test_equal_choices_give_equal_uids_whatever_is_made_beside(study: ResultStudy) -> None:
    alone = made(study, DEFAULT_CHOICE)
    beside = made(study, DEFAULT_CHOICE, choice(Form.FRACTIONAL, Form.REPORT))
    assert {role: one.sop_instance_uid for role, one in alone.items()} == {
        role: beside[role].sop_instance_uid for role in alone
    }
    assert len({one.sop_instance_uid for one in beside.values()}) == len(beside)
