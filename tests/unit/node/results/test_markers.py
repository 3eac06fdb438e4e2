"""Every group of the report has a place in the images: without one the OHIF Viewer shows no group at all."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from engines.segments import Segment, SeriesType
from node.results import codes
from node.results.build import build_results
from node.results.content_items import document
from node.results.files import encode
from node.results.markers import lesion_marker
from node.results.result_object import ResultObject
from tests.support import header_patterns as patterns
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume, write_enhanced, write_mosaic
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    SERIES_OF,
    STUDY_UID,
    ResultStudy,
    context,
    findings_on,
    source_from,
)


def groups(results: Mapping[str, ResultObject]) -> list[Dataset]:
    report = pydicom.dcmread(BytesIO(encode(results["sr"])))
    (measurements,) = [
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    return list(measurements.ContentSequence)


def graphics(group: Dataset) -> list[Dataset]:
    return [item for item in group.ContentSequence if item.ValueType in ("SCOORD", "SCOORD3D")]


def place(item: Dataset, image: Dataset) -> np.ndarray:
    """Return where a point on an image lies, LPS mm: PS3.3 C.7.6.2.1.1, pixel centres at 0.5 (C.18.6.1.1)."""
    column, row = item.GraphicData
    cosines, spacing = np.array(image.ImageOrientationPatient), image.PixelSpacing
    along_row, along_column = cosines[:3] * spacing[1], cosines[3:] * spacing[0]
    return image.ImagePositionPatient + along_row * (column - 0.5) + along_column * (row - 0.5)


@pytest.mark.parametrize("made", ["results", "results_without_lesions"])
def test_every_group_has_a_point_on_an_image_before_the_one_in_space(
    made: str, request: pytest.FixtureRequest
) -> None:
    found = groups(request.getfixturevalue(made))
    assert found
    for group in found:
        assert [(item.ValueType, item.GraphicType) for item in graphics(group)] == [
            ("SCOORD", "POINT"),
            ("SCOORD3D", "POINT"),
        ]


def test_point_on_an_image_lies_in_the_slice_that_holds_the_point_in_space(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    images = {
        image.SOPInstanceUID: image for paths in study.paths.values() for image in map(pydicom.dcmread, paths)
    }
    for group in groups(results):
        flat, solid = graphics(group)
        (selected,) = flat.ContentSequence
        (reference,) = selected.ReferencedSOPSequence
        image = images[reference.ReferencedSOPInstanceUID]
        assert (selected.RelationshipType, selected.ValueType) == ("SELECTED FROM", "IMAGE")
        assert 0 <= flat.GraphicData[0] <= image.Columns
        assert 0 <= flat.GraphicData[1] <= image.Rows
        off = np.array(solid.GraphicData) - place(flat, image)
        assert np.abs(off[:2]).max() < 0.01  # axial: in the plane the same point
        assert abs(off[2]) <= image.SpacingBetweenSlices / 2 + 0.01


def test_marker_lies_on_the_series_that_the_segment_was_found_on(
    study: ResultStudy, results: dict[str, ResultObject]
) -> None:
    of_series = {
        frame.sop_instance_uid: kind for kind, source in study.sources.items() for frame in source.frames
    }
    kinds = [
        of_series[graphics(group)[0].ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
        for group in groups(results)
    ]
    wanted = [
        SERIES_OF[found.segment] for found in study.findings.findings for _ in range(1 + len(found.lesions))
    ]
    assert kinds == wanted


def test_summary_of_an_empty_segment_is_shown_in_the_corner_of_the_middle_slice(
    study_without_lesions: ResultStudy, results_without_lesions: dict[str, ResultObject]
) -> None:
    flat = graphics(groups(results_without_lesions)[0])[0]
    reference = flat.ContentSequence[0].ReferencedSOPSequence[0]
    source = study_without_lesions.sources[SeriesType.T2_FLAIR]
    assert flat.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99CSVD"  # nobody takes it for a lesion
    assert reference.ReferencedSOPInstanceUID == source.frames[10].sop_instance_uid  # of 20
    assert list(flat.GraphicData) == [6.5, 6.5]  # 6% of 104 columns and of 100 rows


def test_point_names_the_frame_of_an_enhanced_source(tmp_path: Path) -> None:
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((6, 20, 20), (5, 9, 9)))
    path = write_enhanced(
        volume, patterns.SIEMENS_FLAIR_TSE, tmp_path / "e.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1, order="descending",
    )  # fmt: skip
    source = source_from([path])
    centroid = tuple(source.volume.grid.to_lps(np.array([[4.2, 7.0, 8.0]]))[0])
    report = document(codes.FINDING, lesion_marker(centroid, source), "1500")
    flat, _ = report.ContentSequence
    (reference,) = flat.ContentSequence[0].ReferencedSOPSequence
    assert reference.ReferencedFrameNumber == 2  # slice 4 of 0 to 5, written from the last one
    assert list(flat.GraphicData) == [8.5, 7.5]


def test_mosaic_has_only_points_in_space(tmp_path: Path) -> None:
    path = write_mosaic(
        phantom_volume(PhantomKind.DWI_B1000, phantom_grid((7, 32, 32), (6.0, 5.0, 5.0))),
        patterns.SIEMENS_EP2D_TRACEW_B1000, tmp_path / "m.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=3,
    )  # fmt: skip
    sources = {SeriesType.DWI_B1000: source_from([path])}
    findings = findings_on(sources, {Segment.INFARCT: (((0.0, 0.0, 0.0), 26.0),)})
    made = {one.role: one for one in build_results(findings, sources, context())}
    found = groups(made)
    assert len(found) == 2
    assert [[item.ValueType for item in graphics(group)] for group in found] == [["SCOORD3D"], ["SCOORD3D"]]
