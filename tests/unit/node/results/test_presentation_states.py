"""A Presentation State of enhanced images, and of images that one Modality LUT does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from engines.segments import Segment, SeriesType
from node.results.build import build_results
from node.results.forms import Form, FormChoice
from tests.support import header_patterns as patterns
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume, write_enhanced, write_series
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    STUDY_UID,
    context,
    findings_on,
    source_from,
)

STATES_AND_MASKS = (FormChoice(frozenset({Form.BINARY, Form.PRESENTATION_STATE})),)


def results_on_enhanced(
    folder: Path, slopes: Sequence[float], change: Callable[[Path], None] = lambda _: None
) -> dict[str, Dataset]:
    """Lesions on the lower of twelve frames, which stand in the file from the last slice to the first."""
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((12, 48, 52), (9.0, 3.6, 3.6)))
    path = write_enhanced(
        volume, patterns.SIEMENS_FLAIR_TSE, folder / "e.dcm", study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1, order="descending",
        slopes=slopes, intercept=5.0,
    )  # fmt: skip
    change(path)
    sources = {SeriesType.T2_FLAIR: source_from([path])}
    findings = findings_on(sources, {Segment.WMH: (((30.0, 20.0, -40.0), 20.0),)})
    return {one.role: one.dataset for one in build_results(findings, sources, context(), STATES_AND_MASKS)}


def test_frames_that_are_rescaled_alike_share_one_modality_lut(tmp_path: Path) -> None:
    made = results_on_enhanced(tmp_path, [2.0])
    state = made["presentation-state-WMH"]
    assert (state.RescaleSlope, state.RescaleIntercept, state.RescaleType) == (2.0, 5.0, "US")
    numbers = [
        annotation.ReferencedImageSequence[0].ReferencedFrameNumber
        for annotation in state.GraphicAnnotationSequence
    ]
    segmentation = made["seg-WMH"]
    drawn_on = [
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for frame in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == drawn_on
    assert len(numbers) > 1


def state_on_classic(folder: Path, **attributes: object) -> Dataset:
    """Return the state of a segment without a lesion on images with these attributes.

    None takes one away; bytes are written as they are, in VR DS.
    """
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((4, 16, 16), (9, 12, 12)))
    uids = {"study_uid": STUDY_UID, "frame_of_reference_uid": FRAME_OF_REFERENCE_UID}
    paths = write_series(volume, patterns.SIEMENS_FLAIR_TSE, folder, series_number=1, **uids)
    for path in paths:
        image = dcmread(path)
        for keyword, value in attributes.items():
            image.pop(keyword, None)
            if isinstance(value, bytes):
                tag = Tag(keyword)
                image[tag] = RawDataElement(tag, "DS", len(value), value, 0, False, True)
            elif value is not None:
                setattr(image, keyword, value)
        image.save_as(path)
    sources = {SeriesType.T2_FLAIR: source_from(paths)}
    made = build_results(findings_on(sources, {}), sources, context(), STATES_AND_MASKS)
    (state,) = [one.dataset for one in made if one.role == "presentation-state-WMH"]
    return state


def test_whole_image_is_displayed_and_said_to_be_no_tile(tmp_path: Path) -> None:
    (area,) = state_on_classic(tmp_path).DisplayedAreaSelectionSequence
    corners = (area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner)
    assert corners == ([1, 1], [16, 16])
    assert "PixelOriginInterpretation" not in area


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [
        pytest.param("nan", "100", None, id="no-number"),
        pytest.param("40", b"80,5", None, id="decimal-comma"),
        pytest.param(b"about 40", "80", None, id="words"),
        pytest.param("100", "inf", None, id="no-end"),
        pytest.param("100", "0", None, id="no-width"),
        pytest.param("100", None, None, id="center-alone"),
        pytest.param(["100", "200"], ["50"], None, id="no-pairs"),
        pytest.param("100", "200", "BENT", id="unknown-function"),
    ],
)
def test_window_that_shows_nothing_is_left_out(
    tmp_path: Path,
    center: str | bytes | list[str],
    width: str | bytes | list[str] | None,
    function: str | None,
) -> None:
    state = state_on_classic(tmp_path, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    assert "SoftcopyVOILUTSequence" not in state


def test_window_goes_before_a_table_beside_it(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [2, 0, 16], b"\x00\x00\xff\xff"
    state = state_on_classic(
        tmp_path, VOILUTSequence=[table], WindowCenter="100", WindowWidth="200", VOILUTFunction=None
    )
    (shown,) = state.SoftcopyVOILUTSequence
    assert (shown.WindowCenter, shown.WindowWidth) == (100, 200)
    assert "VOILUTSequence" not in shown


def test_slope_without_intercept_is_that_of_values_that_begin_at_zero(tmp_path: Path) -> None:
    state = state_on_classic(tmp_path, RescaleSlope="2", RescaleIntercept=None)
    assert (state.RescaleSlope, state.RescaleIntercept) == (2.0, 0.0)


@pytest.mark.parametrize("shared", ["empty", "absent"])
def test_images_whose_frames_share_nothing_have_a_state(shared: str, tmp_path: Path) -> None:
    """So older objects are written: what frames have in common stands with each."""

    def move_shared(path: Path) -> None:
        image = dcmread(path)
        (common,) = image.SharedFunctionalGroupsSequence
        for groups in image.PerFrameFunctionalGroupsSequence:
            groups.update(common)
        image.SharedFunctionalGroupsSequence = []
        if shared == "absent":
            del image.SharedFunctionalGroupsSequence
        image.save_as(path)

    assert "presentation-state-WMH" in results_on_enhanced(tmp_path, [2.0], move_shared)


def window_of(center: str | None, width: str | None) -> Dataset:
    window = Dataset()
    window.WindowCenter, window.WindowWidth = center, width
    return window


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param([window_of("nan", "100")], id="no-number"),
        pytest.param([window_of("100", "inf")], id="no-end"),
        pytest.param([window_of("100", "0")], id="no-width"),
        pytest.param([window_of(None, None)], id="empty"),
        pytest.param([Dataset()], id="nothing-said"),
        pytest.param([], id="none"),
    ],
)
@pytest.mark.parametrize("place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_window_of_frames_that_shows_nothing_is_left_out(
    tmp_path: Path, place: str, windows: list[Dataset]
) -> None:
    def set_window(path: Path) -> None:
        image = dcmread(path)
        for groups in image.PerFrameFunctionalGroupsSequence:
            groups.pop("FrameVOILUTSequence", None)
        for groups in image[place].value:
            groups.FrameVOILUTSequence = windows
        image.save_as(path)

    state = results_on_enhanced(tmp_path, [2.0], set_window)["presentation-state-WMH"]
    assert "SoftcopyVOILUTSequence" not in state


def test_frames_that_are_rescaled_differently_have_no_state_but_all_else(tmp_path: Path) -> None:
    assert set(results_on_enhanced(tmp_path, [1.0, 2.0])) == {"seg-WMH", "seg-combined"}
