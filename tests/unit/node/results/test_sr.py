from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from engines.findings import NotAssessed, StudyFindings
from engines.segments import Segment, SeriesType
from node.results import codes
from node.results.build import build_results
from node.results.context import SupersededReport
from node.results.files import encode
from node.results.result_object import ResultObject
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.uids import model_device_uid, node_device_uid
from tests.support.result_studies import ResultStudy, context, finding, four_series, model_of


def report_of(results: dict[str, ResultObject]) -> Dataset:
    return pydicom.dcmread(BytesIO(encode(results["sr"])))


def name_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def children(item: Dataset, code: Code) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", []) if name_of(child) == code.value]


def child(item: Dataset, code: Code) -> Dataset:
    (found,) = children(item, code)
    return found


def in_space(group: Dataset, code: Code) -> Dataset:
    (found,) = [item for item in children(group, code) if item.ValueType == "SCOORD3D"]
    return found


def groups_of(report: Dataset) -> list[Dataset]:
    return list(child(report, codes.IMAGING_MEASUREMENTS).ContentSequence)


def summaries(report: Dataset) -> dict[str, Dataset]:
    """Return the group of each segment as a whole, by finding."""
    return {
        child(group, codes.FINDING).ConceptCodeSequence[0].CodeValue: group
        for group in groups_of(report)
        if children(group, codes.NUMBER_OF_LESIONS)
    }


def lesions(report: Dataset, segment: Segment) -> list[Dataset]:
    finding_code = SEGMENT_CONCEPTS[segment].finding.value
    return [
        group
        for group in groups_of(report)
        if children(group, codes.CENTER)
        and child(group, codes.FINDING).ConceptCodeSequence[0].CodeValue == finding_code
    ]


def value_of(group: Dataset, code: Code) -> tuple[float, str]:
    (measured,) = child(group, code).MeasuredValueSequence
    return float(measured.NumericValue), str(measured.MeasurementUnitsCodeSequence[0].CodeValue)


def answer(group: Dataset, code: Code) -> str:
    return str(child(group, code).ConceptCodeSequence[0].CodeValue)


def walk(item: Dataset) -> Iterator[Dataset]:
    for each in item.get("ContentSequence", []):
        yield each
        yield from walk(each)


def sentences(report: Dataset, code: Code) -> list[str]:
    return [item.TextValue for item in children(child(report, codes.QUALITATIVE_EVALUATIONS), code)]


def test_report_is_an_unverified_comprehensive_3d_measurement_report(
    results: dict[str, ResultObject],
) -> None:
    report = report_of(results)
    assert (report.SOPClassUID, report.Modality, report.ValueType) == (
        Comprehensive3DSRStorage,
        "SR",
        "CONTAINER",
    )
    assert name_of(report) == "126000"
    (template,) = report.ContentTemplateSequence
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.CompletionFlag == "COMPLETE"
    assert sentences(report, codes.REVIEW_STATUS)[0].startswith("AI result, not reviewed")


def test_report_says_its_language_procedure_and_observer(results: dict[str, ResultObject]) -> None:
    report = report_of(results)
    assert answer(report, codes.LANGUAGE) == "en-US"
    assert answer(report, codes.PROCEDURE_REPORTED) == "24590-2"
    assert answer(report, codes.OBSERVER_TYPE) == "121007"
    assert child(report, codes.DEVICE_OBSERVER_UID).UID == node_device_uid(context()) == report.DeviceUID
    assert child(report, codes.DEVICE_OBSERVER_NAME).TextValue == "CSVD"


def test_each_group_says_which_series_the_network_saw(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    t1, flair = (study.sources[kind].series_uid for kind in (SeriesType.T1, SeriesType.T2_FLAIR))
    report = report_of(results)
    concept = SEGMENT_CONCEPTS[Segment.LACUNE].finding.value
    for group in (summaries(report)[concept], *lesions(report, Segment.LACUNE)):
        parameters = [item.TextValue for item in children(group, codes.ALGORITHM_PARAMETERS)]
        assert "a lesion: probability from 0.2, 0.95 at its peak, at least 0.025 ml" in parameters[2]
        assert parameters[-2:] == [f"input T1: Series {t1}", f"input T2-FLAIR: Series {flair}"]
        assert [item.UID for item in children(group, codes.SOURCE_SERIES)] == [t1], "there is room for one"


@pytest.mark.parametrize("segment", Segment)
def test_each_segment_has_a_summary_with_number_volume_and_presence(
    study: ResultStudy, results: dict[str, ResultObject], segment: Segment
) -> None:
    found, concept = study.findings.of(segment), SEGMENT_CONCEPTS[segment]
    assert found is not None
    group = summaries(report_of(results))[concept.finding.value]
    assert value_of(group, codes.NUMBER_OF_LESIONS) == (len(found.lesions), "{counts}")
    assert value_of(group, codes.VOLUME) == (pytest.approx(found.volume_ml, abs=1e-6), "ml")
    assert answer(group, concept.finding) == codes.PRESENT.value
    assert answer(group, codes.FINDING_SITE) == concept.site.value
    assert child(group, codes.FINDING_SITE).RelationshipType == "HAS CONCEPT MOD"


@pytest.mark.parametrize("segment", [Segment.WMH, Segment.LACUNE, Segment.INFARCT])
def test_no_lesions_are_an_explicit_zero(
    results_without_lesions: dict[str, ResultObject], segment: Segment
) -> None:
    report, concept = report_of(results_without_lesions), SEGMENT_CONCEPTS[segment]
    group = summaries(report)[concept.finding.value]
    assert value_of(group, codes.NUMBER_OF_LESIONS)[0] == 0
    assert value_of(group, codes.VOLUME)[0] == 0
    assert answer(group, concept.finding) == codes.ABSENT.value
    assert lesions(report, segment) == []


def test_segment_that_was_not_assessed_has_a_reason_and_no_number(
    results_without_lesions: dict[str, ResultObject],
) -> None:
    report = report_of(results_without_lesions)
    concept = SEGMENT_CONCEPTS[Segment.MICROBLEED]
    assert concept.finding.value not in summaries(report)
    evaluations = child(report, codes.QUALITATIVE_EVALUATIONS)
    assert answer(evaluations, concept.finding) == codes.NOT_EVALUATED.value
    assert sentences(report, codes.NOT_ASSESSED) == [
        "Cerebral microbleed: not assessed, which does not mean absent. No Series was recognised as T2_STAR."
    ]
    assert report.CompletionFlag == "PARTIAL"
    assert report.SeriesDescription == "CSVD findings, 1 of 4 not assessed (AI result, not reviewed)"
    assert not any(
        "microbleed" in str(item.get("TextValue", "")) for group in groups_of(report) for item in walk(group)
    )


def test_report_without_any_assessed_segment_has_no_measurements(study: ResultStudy) -> None:
    absent = tuple(NotAssessed(segment, "The model is not installed.") for segment in Segment)
    nothing = replace(study.findings, findings=(), combined={}, not_assessed=absent)
    (report,) = build_results(nothing, study.sources, context())
    assert children(report.dataset, codes.IMAGING_MEASUREMENTS) == []
    assert len(sentences(report.dataset, codes.NOT_ASSESSED)) == len(Segment)


@pytest.mark.parametrize(
    ("rows", "columns", "volume_ml", "area_mm2", "size"),
    [
        # On two slices of 6 mm voxels of 1.8 x 1.8 mm: 19.44 mm3 each, 3.24 mm2 on a slice.
        pytest.param(2, 3, 0.23328, 19.44, codes.SMALL, id="small"),
        pytest.param(3, 4, 0.46656, 38.88, codes.MEDIUM, id="medium"),
        pytest.param(6, 8, 1.86624, 155.52, codes.LARGE, id="large"),
    ],
)
def test_cuboid_is_measured_as_by_hand(
    study: ResultStudy, rows: int, columns: int, volume_ml: float, area_mm2: float, size: Code
) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    mask = np.zeros(source.volume.grid.shape, dtype=bool)
    mask[9:11, 40 : 40 + rows, 50 : 50 + columns] = True
    found = finding(Segment.WMH, SeriesType.T2_FLAIR, mask, source.volume.grid)
    made = build_results(replace(study.findings, findings=(found,), combined={}), study.sources, context())
    report = made[-1].dataset
    (group,) = lesions(report, Segment.WMH)
    assert value_of(group, codes.VOLUME) == (pytest.approx(volume_ml, abs=1e-6), "ml")
    assert value_of(group, codes.AREA) == (pytest.approx(area_mm2, abs=1e-6), "mm2")
    assert answer(group, codes.SIZE_DESCRIPTOR) == size.value
    centre = source.volume.grid.to_lps(np.array([[9.5, 39.5 + rows / 2, 49.5 + columns / 2]]))[0]
    assert np.allclose(in_space(group, codes.CENTER).GraphicData, centre, atol=1e-3)


def test_every_lesion_has_its_own_group(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    report = report_of(results)
    for found in study.findings.findings:
        groups = lesions(report, found.segment)
        assert len(groups) == len(found.lesions)
        for group, lesion in zip(groups, found.lesions, strict=True):
            assert value_of(group, codes.VOLUME)[0] == pytest.approx(lesion.volume_ml, abs=1e-6)
            diameter = value_of(group, codes.MAXIMUM_3D_DIAMETER)
            assert diameter == (pytest.approx(lesion.max_diameter_mm, abs=1e-5), "mm")
            axial = value_of(group, codes.DIAMETER)
            assert axial == (pytest.approx(lesion.max_axial_diameter_mm, abs=1e-5), "mm")
            point = in_space(group, codes.CENTER)
            assert point.GraphicType == "POINT"
            assert np.allclose(point.GraphicData, lesion.centroid_lps_mm, atol=1e-3)
            source = study.sources[found.series_type]
            assert point.ReferencedFrameOfReferenceUID == source.frame_of_reference_uid


def modifiers(number: Dataset) -> dict[str, str]:
    """Return the codes under a number, by their names."""
    return {
        name_of(item): str(item.ConceptCodeSequence[0].CodeValue)
        for item in number.ContentSequence
        if item.ValueType == "CODE"
    }


def test_each_number_says_how_it_was_derived(results: dict[str, ResultObject]) -> None:
    """PS3.16 TID 1419: Measurement Method and Derivation."""
    report, derivation, method = report_of(results), codes.DERIVATION.value, codes.MEASUREMENT_METHOD.value
    total, maximum = {derivation: codes.TOTAL.value}, {derivation: codes.MAXIMUM.value}
    summed, on_a_slice = {method: codes.VOXEL_SUMMATION.value}, {method: codes.ON_ONE_AXIAL_SLICE.value}
    for group in summaries(report).values():
        assert modifiers(child(group, codes.NUMBER_OF_LESIONS)) == total
        assert modifiers(child(group, codes.VOLUME)) == total | summed
    for segment in Segment:
        for group in lesions(report, segment):
            assert modifiers(child(group, codes.VOLUME)) == summed
            assert modifiers(child(group, codes.MAXIMUM_3D_DIAMETER)) == maximum
            assert modifiers(child(group, codes.DIAMETER)) == maximum | on_a_slice
            assert modifiers(child(group, codes.AREA)) == maximum | on_a_slice
    for group in groups_of(report):
        assert answer(group, codes.FINDING_CATEGORY) == codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE.value


def test_lesions_outside_the_limits_are_flagged(study: ResultStudy, results: dict[str, ResultObject]) -> None:
    report = report_of(results)
    for found in study.findings.findings:
        for group, lesion in zip(lesions(report, found.segment), found.lesions, strict=True):
            if found.size_limits_mm is None:
                assert children(group, codes.DIAMETER_IN_LIMITS) == []
                continue
            expected = codes.YES if lesion.within_limits else codes.NO
            assert answer(group, codes.DIAMETER_IN_LIMITS) == expected.value
    infarct = lesions(report, Segment.INFARCT)[0]  # 26 mm, at most 20 are plausible
    assert answer(infarct, codes.DIAMETER_IN_LIMITS) == codes.NO.value


def test_groups_refer_to_the_segment_on_its_own_series(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    report = report_of(results)
    for segment in Segment:
        made, found = results[f"seg-{segment.value}"], study.findings.of(segment)
        assert found is not None
        for group in (summaries(report)[SEGMENT_CONCEPTS[segment].finding.value], *lesions(report, segment)):
            (reference,) = child(group, codes.REFERENCED_SEGMENT).ReferencedSOPSequence
            assert reference.ReferencedSOPClassUID == SegmentationStorage
            assert reference.ReferencedSOPInstanceUID == made.sop_instance_uid
            assert reference.ReferencedSegmentNumber == 1
            series = study.sources[found.series_type].series_uid
            assert series == child(group, codes.SOURCE_SERIES).UID


def test_tracking_uids_are_unique_and_the_summary_shares_that_of_its_segment(
    results: dict[str, ResultObject],
) -> None:
    report = report_of(results)
    uids = [child(group, codes.TRACKING_UNIQUE_IDENTIFIER).UID for group in groups_of(report)]
    assert len(set(uids)) == len(uids)
    for segment in Segment:
        group = summaries(report)[SEGMENT_CONCEPTS[segment].finding.value]
        (described,) = results[f"seg-{segment.value}"].dataset.SegmentSequence
        assert described.TrackingUID == child(group, codes.TRACKING_UNIQUE_IDENTIFIER).UID


def test_each_group_names_its_algorithm(results: dict[str, ResultObject]) -> None:
    report = report_of(results)
    for segment in Segment:
        for group in (summaries(report)[SEGMENT_CONCEPTS[segment].finding.value], *lesions(report, segment)):
            assert child(group, codes.ALGORITHM_NAME).TextValue == model_of(segment).name
            assert child(group, codes.ALGORITHM_VERSION).TextValue == "1.2.0"
            assert answer(group, codes.ALGORITHM_FAMILY) == "123110"


def test_viewers_find_a_name_on_every_item_and_content_under_every_number(
    results: dict[str, ResultObject],
) -> None:
    report = report_of(results)
    for item in walk(report):
        assert item.ConceptNameCodeSequence[0].CodeValue
    for group in groups_of(report):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1411"
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        assert numbers
        assert all(item.ContentSequence for item in numbers)
        # Viewers take the first UIDREF of a group for its Tracking Unique Identifier.
        first = next(item for item in group.ContentSequence if item.ValueType == "UIDREF")
        assert name_of(first) == codes.TRACKING_UNIQUE_IDENTIFIER.value


def test_image_library_holds_all_source_images_with_the_flair_first(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    groups = child(report_of(results), codes.IMAGE_LIBRARY).ContentSequence
    for kind, group in zip(SeriesType, groups, strict=True):
        named = [
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for item in group.ContentSequence
            if item.ValueType == "IMAGE"
        ]
        assert named == [frame.sop_instance_uid for frame in study.sources[kind].frames]
        assert value_of(group, codes.PIXEL_DATA_ROWS)[0] == study.sources[kind].volume.grid.shape[1]


def test_evidence_holds_all_images_and_all_segmentations(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    (evidence,) = report_of(results).CurrentRequestedProcedureEvidenceSequence
    listed = {
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    images = {
        (source.series_uid, frame.sop_instance_uid)
        for source in study.sources.values()
        for frame in source.frames
    }
    made = {(one.series_uid, one.sop_instance_uid) for role, one in results.items() if role != "sr"}
    assert listed == images | made


def test_registrations_exclusions_and_remarks_are_said(results: dict[str, ResultObject]) -> None:
    report = report_of(results)
    assert [line.split(":")[0] for line in sentences(report, codes.REGISTRATION_APPLIED)] == [
        "T1 to T2-FLAIR",
        "DWI b1000 to T2-FLAIR",
    ]
    assert "Rotation of 31 deg is implausible." in sentences(report, codes.REGISTRATION_APPLIED)[1]
    assert len(sentences(report, codes.EXCLUSION_APPLIED)) == 2
    assert sentences(report, codes.REMARK) == ["The T1 covers less of the head than the T2-FLAIR."]


def test_selection_is_said_as_it_is_given(study: ResultStudy) -> None:
    said = ("T2-FLAIR: Series 1 was taken, TI 2500 ms.",)
    report = build_results(study.findings, study.sources, context(selection=said))[-1].dataset
    assert sentences(report, codes.SERIES_SELECTION) == list(said)


def test_superseded_report_is_named_as_predecessor_and_in_words(study: ResultStudy) -> None:
    old = SupersededReport(Comprehensive3DSRStorage, "1.2.3.4", "1.2.3")
    report = build_results(study.findings, study.sources, context(superseded=(old,)))[-1].dataset
    (predecessor,) = report.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert (predecessor.StudyInstanceUID, series.SeriesInstanceUID) == (context().study_uid, "1.2.3")
    assert (instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID) == (
        Comprehensive3DSRStorage,
        "1.2.3.4",
    )
    assert "1.2.3.4" in sentences(report, codes.SUPERSEDED)[0]


def test_first_report_has_no_predecessor(results: dict[str, ResultObject]) -> None:
    assert "PredecessorDocumentsSequence" not in report_of(results)


def test_each_model_is_contributing_equipment_with_its_device_uid(results: dict[str, ResultObject]) -> None:
    for role, made in results.items():
        named = [Segment(role.removeprefix("seg-"))] if role[4:] in Segment.__members__ else list(Segment)
        items = made.dataset.ContributingEquipmentSequence
        assert [item.DeviceUID for item in items] == [model_device_uid(model_of(one)) for one in named]
        for item, segment in zip(items, named, strict=True):
            assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
            assert item.Manufacturer == "csvd-node"
            assert (item.ManufacturerModelName, item.SoftwareVersions) == (model_of(segment).name, "1.2.0")


def test_report_of_nothing_assessed_names_no_model(study: ResultStudy) -> None:
    absent = tuple(NotAssessed(segment, "All voxels have the same value") for segment in Segment)
    (report,) = build_results(StudyFindings((), absent), study.sources, context())
    assert len(sentences(report.dataset, codes.NOT_ASSESSED)) == len(Segment)
    # PS3.3 C.12.1: one or more items.
    assert "ContributingEquipmentSequence" not in report.dataset


def test_highdicom_reads_every_group_with_its_segment_and_numbers(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    report = hd.sr.Comprehensive3DSR.from_dataset(report_of(results))
    groups = iter(report.content.get_volumetric_roi_measurement_groups())
    for found in study.findings.findings:
        concept, made = SEGMENT_CONCEPTS[found.segment], results[f"seg-{found.segment.value}"]
        volumes = {found.segment.label: found.volume_ml} | {
            f"{found.segment.label} {lesion.number}": lesion.volume_ml for lesion in found.lesions
        }
        for name, volume_ml in volumes.items():
            group = next(groups)
            assert (group.tracking_identifier, group.finding_type) == (name, concept.finding)
            assert [site.value for site in group.finding_sites] == [concept.site]
            segment = group.referenced_segment
            assert segment.referenced_sop_instance_uid == made.sop_instance_uid
            assert list(segment.referenced_segment_numbers) == [1]
            assert segment.source_series_for_segmentation.value == study.sources[found.series_type].series_uid
            (volume,) = group.get_measurements(name=codes.VOLUME)
            assert (volume.value, volume.unit) == (pytest.approx(volume_ml, abs=1e-6), codes.MILLILITER)
    assert next(groups, None) is None


def test_report_speaks_only_of_the_series_there_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = four_series(
        tmp_path_factory.mktemp("t1"), left_out=[kind for kind in SeriesType if kind is not SeriesType.T1]
    )
    made = build_results(alone.findings, alone.sources, context())
    assert [one.role for one in made] == ["seg-LACUNE", "sr"]
    report = made[-1].dataset
    assert len(child(report, codes.IMAGE_LIBRARY).ContentSequence) == 1
    assert len(sentences(report, codes.NOT_ASSESSED)) == 3
