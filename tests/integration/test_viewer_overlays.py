"""The OHIF Viewer shows the node's results where the node found them.

A Segmentation over the voxels that the node marked; a report with each group on its own Series. The viewer
shows nothing of a report if one of its groups has no point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.segments import Segment, SeriesType
from node.deliveries import DeliveryState
from node.model import SourceVolume
from node.outbound import DestinationSettings, SenderSettings
from node.results.build import build_results
from node.results.files import write_results
from node.results.forms import Form, FormChoice
from node.sender import send
from tests.support.peers import LOOPBACK, Orthanc, orthanc
from tests.support.phantoms import uid_from
from tests.support.result_studies import context, four_series
from tests.viewer.browser import Browser, Inspection, ReportInspection
from tests.viewer.cases import RECIPES, WINDOW, Case, make_case, make_series
from tests.viewer.overlay import compare, label_map
from tests.viewer.segmentations import slice_references, telling_slices, write_segmentation
from tests.viewer.site import Site, viewer_installed
from tests.viewer.study import FinishedStudy, make_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not viewer_installed(), reason="`make viewer-tools` installs viewer and browser"),
]

REFORMATTED = {"oblique": [(30.0, -20.0, 12.0)]}
"""Cases that are also cut along three planes through points inside lesions, LPS mm."""

LABELS = {
    Segment.WMH: "White matter hyperintensity",
    Segment.LACUNE: "Lacune",
    Segment.INFARCT: "Recent small subcortical infarct",
    Segment.MICROBLEED: "Cerebral microbleed",
}

LABEL_MAP = "label-map"
"""The case whose Segmentation is a label map; all others are binary."""

READABLE = 90
"""Least difference between the channels of a colour that is to be told from grey, of 255."""


Moved = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A Series under a Segmentation, and what the viewer showed.

    Attributes:
        case: the Series with its masks.
        segments: of the Segmentation, by segment number.
        slices: slice index by SOP Instance UID and frame.
        inspection: what was seen.
    """

    case: Case
    segments: dict[int, Segment]
    slices: dict[tuple[str, int], int]
    inspection: Inspection

    def labels(self) -> NDArray[np.uint8]:
        return label_map([self.case.masks[segment] for segment in self.segments.values()])

    def colours(self) -> dict[int, tuple[int, int, int]]:
        return {number: segment.colour for number, segment in self.inspection.segments.items()}

    def has_lesions(self) -> bool:
        return any(mask.any() for mask in self.case.masks.values())


@dataclass(frozen=True, slots=True)
class Stage:
    """One archive, one site and one browser for all cases."""

    archive: Orthanc
    site: Site
    browser: Browser

    def look(
        self,
        case: Case,
        source: SourceVolume,
        segmentation_uid: str,
        segments: tuple[Segment, ...],
        folder: Path,
        images: int = 1,
    ) -> Seen:
        """Look at a Segmentation that reaches the viewer last, just after the Series that it lies on.

        The viewer lays a Segmentation over the first of the Series that it names to have come.

        Args:
            case: what the Series shows.
            source: the Series.
            segmentation_uid: Series Instance UID of the Segmentation.
            segments: that it holds.
            folder: for the screenshots.
            images: how many Series of images the Study has.
        """
        references = slice_references(source)
        telling = telling_slices({segment: case.masks[segment] for segment in segments})
        inspection = self.browser.inspect(
            self.site.study_url(case.study_uid),
            segmentation_uid,
            [references[index] for index in telling],
            WINDOW,
            folder,
            REFORMATTED.get(case.name, ()),
            {source.series_uid: images - 1, segmentation_uid: images},
        )
        slices = {(image.instance, image.frame): index for index, image in enumerate(references)}
        return Seen(case, dict(enumerate(segments, 1)), slices, inspection)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("archive")
    with orthanc(folder, dicomweb=True) as archive, Site(archive.http_port) as site, Browser() as browser:
        yield Stage(archive, site, browser)


@pytest.fixture(scope="module", params=[*RECIPES, LABEL_MAP])
def seen(request: pytest.FixtureRequest, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One Series and one Segmentation of all segments on it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == LABEL_MAP:
        recipe, study_uid = RECIPES["negative-cosines"], uid_from("viewer", LABEL_MAP)
        case, encoding = make_series(LABEL_MAP, recipe, folder / "source", study_uid), Form.LABELMAP
    else:
        case, encoding = make_case(request.param, folder / "source"), Form.BINARY
    written = write_segmentation(case, folder / "segmentation.dcm", encoding)
    stage.archive.upload([*case.files, written.path])
    return stage.look(case, written.source, written.series_uid, tuple(Segment), folder / "screenshots")


@pytest.fixture(scope="module")
def finished(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """Four Series in the archive, and all results sent to it by the node."""
    study = make_study(tmp_path_factory.mktemp("study"))
    stage.archive.upload(study.files)
    archive = DestinationSettings(
        ae_title=stage.archive.ae_title, host=LOOPBACK, port=stage.archive.dicom_port
    )
    outcomes = send(study.written, archive, SenderSettings())
    assert {outcome.state for outcome in outcomes} == {DeliveryState.DELIVERED}
    return study


@pytest.fixture(scope="module")
def opened_report(
    stage: Stage, finished: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> ReportInspection:
    report, folder = finished.result("sr"), tmp_path_factory.mktemp("report")
    return stage.browser.read_report(stage.site.study_url(finished.study_uid), report.series_uid, folder)


def assert_voxels_are_those_of_the_masks(seen: Seen) -> None:
    assert set(seen.inspection.segments) == set(seen.segments)
    for number, segment in seen.segments.items():
        held = np.zeros_like(seen.case.masks[segment])
        for image, plane in seen.inspection.segments[number].voxels.items():
            held[seen.slices[image.instance, image.frame]] |= plane
        np.testing.assert_array_equal(held, seen.case.masks[segment], err_msg=segment.value)


def assert_overlay_is_that_of_the_masks(seen: Seen) -> None:
    for photograph in seen.inspection.photographs:
        # an inclined plane through a volume blends voxels: there a segment is judged by its place alone
        colours = seen.colours() if photograph.slice else {}
        agreement = compare(photograph, seen.case.picture.grid, seen.labels(), colours, seen.inspection.fill)
        assert agreement.exact, agreement
        assert (agreement.expected > 0) == seen.has_lesions()


def test_viewer_holds_every_voxel_of_every_mask_and_no_other(seen: Seen) -> None:
    assert_voxels_are_those_of_the_masks(seen)


def test_overlay_lies_over_the_mask_and_over_the_lesions_of_the_picture(seen: Seen) -> None:
    assert_overlay_is_that_of_the_masks(seen)


def test_viewer_lists_all_segments_with_name_and_readable_colour(seen: Seen) -> None:
    assert {n: s.name for n, s in seen.inspection.segments.items()} == dict(enumerate(LABELS.values(), 1))
    colours = list(seen.colours().values())
    assert len(set(colours)) == len(Segment)
    assert all(max(colour) - min(colour) >= READABLE for colour in colours), colours


def test_viewer_meets_no_fault(seen: Seen) -> None:
    assert sorted(seen.inspection.modalities) == ["MR", "SEG"]
    assert not seen.inspection.faults


@pytest.mark.parametrize("seen", ["oblique"], indirect=True)
@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(lambda labels: labels[:, :, ::-1], id="left-right"),
        pytest.param(lambda labels: labels[:, ::-1], id="front-back"),
        pytest.param(lambda labels: labels[::-1], id="slices-reversed"),
        pytest.param(lambda labels: np.roll(labels, 1, axis=2), id="one-voxel-aside"),
        pytest.param(lambda labels: np.roll(labels, 1, axis=0), id="one-slice-off"),
        pytest.param(lambda labels: np.where(labels == 1, 2, labels), id="wrong-segment"),
    ],
)
def test_comparison_notices_a_mask_that_lies_elsewhere(seen: Seen, moved: Moved) -> None:
    labels, grid, fill = moved(seen.labels()), seen.case.picture.grid, seen.inspection.fill
    slices = [photograph for photograph in seen.inspection.photographs if photograph.slice is not None]
    assert not all(compare(one, grid, labels, seen.colours(), fill).exact for one in slices)


@pytest.mark.parametrize(
    ("role", "kind", "segments"),
    [
        pytest.param("seg-combined", SeriesType.T2_FLAIR, tuple(Segment), id="all-on-flair"),
        pytest.param("seg-MICROBLEED", SeriesType.T2_STAR, (Segment.MICROBLEED,), id="one-on-its-own"),
        pytest.param("seg-LACUNE", SeriesType.T1, (Segment.LACUNE,), id="one-found-on-two"),
        pytest.param("seg-INFARCT", SeriesType.DWI_B1000, (Segment.INFARCT,), id="one-on-b1000-alone"),
    ],
)
def test_viewer_shows_each_result_of_a_whole_study_on_its_own_series(
    role: str,
    kind: SeriesType,
    segments: tuple[Segment, ...],
    stage: Stage,
    finished: FinishedStudy,
    tmp_path: Path,
) -> None:
    uid = finished.result(role).series_uid
    case, source = finished.series[kind], finished.sources[kind]
    seen = stage.look(case, source, uid, segments, tmp_path, len(finished.series))
    assert_voxels_are_those_of_the_masks(seen)
    assert_overlay_is_that_of_the_masks(seen)
    assert Counter(seen.inspection.modalities) == {"MR": 4, "SEG": 5, "SR": 1}
    assert not seen.inspection.faults


def test_viewer_marks_every_group_of_the_report_on_its_own_series(
    finished: FinishedStudy, opened_report: ReportInspection
) -> None:
    expected: list[tuple[str, str, str]] = []
    for found in finished.findings.findings:
        name, series = LABELS[found.segment], finished.sources[found.series_type].series_uid
        expected.append((name, series, f"{found.volume_ml:.2f} ml"))
        expected += [
            (f"{name} {lesion.number}", series, f"{lesion.volume_ml:.2f} ml") for lesion in found.lesions
        ]
    shown = [(group.name, group.series_uid, group.labels["Volume"]) for group in opened_report.groups]
    assert shown == expected
    assert len({group.uid for group in opened_report.groups}) == len(expected)
    assert not opened_report.faults


def test_viewer_points_at_the_centroid_of_each_lesion(
    finished: FinishedStudy, opened_report: ReportInspection
) -> None:
    points = {group.name: group.point for group in opened_report.groups}
    for found in finished.findings.findings:
        grid = finished.sources[found.series_type].volume.grid
        for lesion in found.lesions:
            shown = points[f"{LABELS[found.segment]} {lesion.number}"]
            off = np.diff(grid.to_index(np.array([shown, lesion.centroid_lps_mm])), axis=0)[0]
            assert abs(off[0]) <= 0.5  # the nearest slice
            assert np.abs(off[1:]).max() < 0.01


def test_viewer_writes_the_summary_over_the_image_of_the_first_segment(
    finished: FinishedStudy, opened_report: ReportInspection
) -> None:
    first = finished.findings.findings[0]
    assert f"Number of lesions: {len(first.lesions)}.00" in opened_report.texts
    assert f"Volume: {first.volume_ml:.2f} ml" in opened_report.texts
    green = (opened_report.picture == (0, 255, 0)).all(axis=-1)
    assert green.sum() > 100  # the arrow and its text


def test_viewer_shows_key_images_pixel_for_pixel(stage: Stage, tmp_path: Path) -> None:
    study = four_series(tmp_path / "source")
    wanted = FormChoice(frozenset({Form.KEY_IMAGES}))
    made = build_results(study.findings, study.sources, context(), [wanted])
    images = [path for paths in study.paths.values() for path in paths]
    stage.archive.upload([*images, *write_results(made, tmp_path / "results")])
    first = made[0]
    url = stage.site.study_url(context().study_uid)
    shown = stage.browser.read_picture(url, first.series_uid, first.sop_instance_uid, tmp_path / "shots")
    rows, columns = first.dataset.Rows, first.dataset.Columns
    drawn = np.frombuffer(first.dataset.PixelData, np.uint8).reshape(rows, columns, 3)
    np.testing.assert_array_equal(shown, drawn)
