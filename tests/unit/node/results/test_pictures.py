from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from engines.findings import NotAssessed, StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from node.model import FrameReference
from node.results.picture_slices import head_box, side, telling_slices, to_grey, view_of
from node.results.picture_tiles import Tile, draw_tile
from node.results.pictures import PANEL_PX, TILE_PX, overlay_sheet, slice_name, slice_side
from node.results.segment_concepts import SEGMENT_CONCEPTS
from tests.support.phantoms import orientation_matrix, phantom_grid, rigid
from tests.support.result_studies import ResultStudy, finding

YELLOW = SEGMENT_CONCEPTS[Segment.WMH].rgb


def pixels(sheet: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(BytesIO(sheet)).convert("RGB")).astype(int)


def near(image: NDArray[np.int64], rgb: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(image - np.array(rgb)).max(axis=-1) < 40)


def reversed_axes(*signs: float) -> NDArray[np.float64]:
    return orientation_matrix("axial") * np.array(signs)


@pytest.mark.parametrize(
    ("axes", "letters"),
    [
        pytest.param("axial", ("R", "L", "A", "P"), id="axial"),
        pytest.param("sagittal", ("A", "P", "H", "F"), id="sagittal"),
        pytest.param("coronal", ("R", "L", "H", "F"), id="coronal"),
        pytest.param(reversed_axes(1, 1, -1), ("R", "L", "A", "P"), id="row-cosine-negated"),
        pytest.param(reversed_axes(1, -1, 1), ("R", "L", "A", "P"), id="column-cosine-negated"),
        pytest.param(reversed_axes(1, -1, -1), ("R", "L", "A", "P"), id="both-negated"),
        pytest.param(
            orientation_matrix("axial")[:, [0, 2, 1]], ("R", "L", "A", "P"), id="rows-and-columns-swapped"
        ),
        pytest.param(
            rigid((0, 0, 30), (0, 0, 0))[:3, :3] @ orientation_matrix("axial"),
            ("RA", "LP", "AL", "PR"),
            id="head-turned-by-30-degrees",
        ),
        pytest.param(
            rigid((10, 0, 0), (0, 0, 0))[:3, :3] @ orientation_matrix("axial"),
            ("R", "L", "A", "P"),
            id="tilted-by-10-degrees",
        ),
    ],
)
def test_slices_are_shown_the_way_readers_expect(
    axes: str | NDArray[np.float64], letters: tuple[str, str, str, str]
) -> None:
    assert view_of(phantom_grid((5, 8, 9), (5, 1, 2), axes)).letters == letters


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_voxel_at_the_left_front_is_shown_at_the_upper_right(
    signs: tuple[float, float, float], is_swapped: bool
) -> None:
    axes = reversed_axes(*signs)
    grid = phantom_grid((1, 20, 30), (5, 1, 1), axes[:, [0, 2, 1]] if is_swapped else axes)
    index = grid.to_index(np.array([[7.0, -6.0, 0.0]]))[0].round().astype(int)  # left, anterior
    image = np.zeros(grid.shape)
    image[tuple(index)] = 1
    shown = view_of(grid).shown(image[0])
    ((down, right),) = np.argwhere(shown)
    assert down < shown.shape[0] / 2
    assert right > shown.shape[1] / 2


@pytest.mark.parametrize(
    ("direction", "named"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, 1, 0), "P"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "H"),
        ((0, 0, -1), "F"),
    ],
)
def test_sides_are_named_in_lps(direction: tuple[float, float, float], named: str) -> None:
    assert side(np.array(direction, dtype=float)) == named


def test_slice_that_shows_a_new_lesion_comes_before_more_of_the_same() -> None:
    labels = np.zeros((6, 10, 10), dtype=np.int32)
    labels[1, :5, :5], labels[2, :6, :6] = 1, 1  # a large lesion on two slices
    labels[4, 8:, 8:] = 2  # a small one elsewhere
    assert telling_slices(labels, 2) == [2, 4]
    assert telling_slices(labels, 9) == [1, 2, 4]


def test_slices_of_one_large_lesion_are_spread_over_it() -> None:
    """A confluent lesion fills most slices; its four largest areas lie side by side."""
    labels = np.zeros((40, 20, 20), dtype=np.int32)
    for index in range(2, 38):
        size = 18 if 10 <= index < 14 else 12
        labels[index, :size, :size] = 1
    chosen = telling_slices(labels, 4)
    assert min(np.diff(chosen)) >= 36 // 4 - 1
    assert chosen[0] < 14 < chosen[-1]


def test_middle_slice_stands_for_no_lesions() -> None:
    assert telling_slices(np.zeros((7, 4, 4), dtype=np.int32), 4) == [3]


def test_window_is_that_of_the_whole_volume() -> None:
    volume = np.zeros((2, 10, 10), dtype=np.float32)
    volume[0, 2:8, 2:8], volume[1, 2:8, 2:8] = 100, 400
    assert to_grey(volume[0], volume).max() < 100 < 200 < to_grey(volume[1], volume).max()


def test_fat_at_the_base_of_the_skull_does_not_leave_the_brain_in_the_dark() -> None:
    volume = np.zeros((20, 60, 60), dtype=np.float32)
    volume[:, 5:55, 5:55] = np.linspace(50, 100, 50)
    volume[:7, 25:35, 25:35] = 400  # in a third of the slices, some of them in the middle of the head
    assert to_grey(volume[12], volume).max() >= 200


def test_constant_volume_is_drawn_without_error() -> None:
    volume = np.full((3, 8, 8), 5.0, dtype=np.float32)
    assert to_grey(volume[0], volume).shape == (8, 8)
    assert head_box(volume, (1.0, 1.0), 2.0) == (slice(0, 8), slice(0, 8))


def test_box_holds_the_head_and_not_the_noise() -> None:
    volume = np.abs(np.random.default_rng(0).normal(0, 12, (20, 60, 60))).astype(np.float32)
    volume[:, 20:40, 10:50] += 500
    assert head_box(volume, (2.0, 1.0), 4.0) == (slice(18, 42), slice(6, 54))


def test_pixels_have_their_true_proportions() -> None:
    # 20 rows of 4 mm and 40 columns of 1 mm: 80 mm by 40 mm, at 2 px a mm 160 by 80 px.
    grid = phantom_grid((1, 20, 40), (5, 4, 1))
    tile = Tile(np.full((20, 40), 200, np.uint8), np.zeros((20, 40), np.int32), view_of(grid), YELLOW, "")
    drawn = np.asarray(draw_tile(tile, (300, 300), 2.0)).astype(int)
    grey = np.abs(drawn - 200).max(axis=-1) < 3
    rows, columns = np.flatnonzero(grey[:, 150]), np.flatnonzero(grey[150])
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (160, 80)


def test_outline_lies_around_the_lesion_and_leaves_it_visible() -> None:
    grid = phantom_grid((1, 40, 40), (5, 1, 1))
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 25:35] = 1
    tile = Tile(np.full((40, 40), 120, np.uint8), labels, view_of(grid), YELLOW, "")
    drawn = np.asarray(draw_tile(tile, (400, 400), 10.0)).astype(int)
    outline = np.argwhere(near(drawn, YELLOW))
    assert np.abs(outline.min(axis=0) - [98, 248]).max() <= 3
    assert np.abs(outline.max(axis=0) - [201, 351]).max() <= 3
    inside = drawn[110:190, 260:340].reshape(-1, 3).mean(axis=0)
    assert np.abs(inside - 120).max() < 25


def test_scale_bar_is_50_mm_long() -> None:
    grid = phantom_grid((1, 40, 40), (5, 1, 1))
    tile = Tile(np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.int32), view_of(grid), YELLOW, "")
    drawn = np.asarray(draw_tile(tile, (300, 300), 2.0)).astype(int)
    line = np.flatnonzero((drawn[294] > 200).all(axis=-1))
    assert abs(np.ptp(line) - 100) <= 2


def test_small_lesion_gets_a_ring() -> None:
    grid = phantom_grid((1, 100, 100), (5, 1, 1))
    labels = np.zeros((100, 100), np.int32)
    labels[50:53, 60:63] = 1
    tile = Tile(np.zeros((100, 100), np.uint8), labels, view_of(grid), YELLOW, "")
    drawn = np.argwhere(near(np.asarray(draw_tile(tile, (200, 200), 2.0)).astype(int), YELLOW))
    assert np.ptp(drawn, axis=0).min() > 14  # the lesion is 6 px wide


def test_sheet_shows_the_lesions_of_the_left_side_on_the_right(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T2_FLAIR]
    mask = np.zeros(source.volume.grid.shape, dtype=bool)
    indices = np.indices(mask.shape).reshape(3, -1).T
    points = source.volume.grid.to_lps(indices)
    near_left = np.linalg.norm(points - (45.0, -20.0, 10.0), axis=1) < 12  # left, anterior
    mask.ravel()[near_left] = True
    found = finding(Segment.WMH, SeriesType.T2_FLAIR, mask, source.volume.grid)
    first_tile = pixels(overlay_sheet(StudyFindings((found,), ()), study.sources))[
        64 : 64 + TILE_PX[1], 8 + PANEL_PX : 8 + PANEL_PX + TILE_PX[0]
    ]
    rows, columns = np.nonzero(near(first_tile, YELLOW))
    assert columns.mean() > TILE_PX[0] / 2
    assert rows.mean() < TILE_PX[1] / 2


def test_sheet_is_the_same_each_time_and_holds_pixels_only(study: ResultStudy) -> None:
    first = overlay_sheet(study.findings, study.sources)
    assert first == overlay_sheet(study.findings, study.sources)
    assert Image.open(BytesIO(first)).info == {}


def test_every_segment_has_its_colour_on_the_sheet(study: ResultStudy) -> None:
    image = pixels(overlay_sheet(study.findings, study.sources))
    for segment in Segment:
        assert near(image, SEGMENT_CONCEPTS[segment].rgb).sum() > 500


def test_sheet_of_no_lesions_shows_a_slice_without_outlines(study_without_lesions: ResultStudy) -> None:
    empty = study_without_lesions
    tiles = pixels(overlay_sheet(empty.findings, empty.sources))[64:, 8 + PANEL_PX :]
    assert tiles.max() > 200
    assert not any(near(tiles, SEGMENT_CONCEPTS[segment].rgb).any() for segment in Segment)


def test_sheet_without_anything_assessed_is_drawn() -> None:
    nothing = StudyFindings((), tuple(NotAssessed(segment, "No Series. " * 12) for segment in Segment))
    assert pixels(overlay_sheet(nothing, {})).max() > 200


def test_slices_of_any_orientation_fit_their_tile(study: ResultStudy) -> None:
    grid = Grid((6, 40, 300), np.diag([5.0, 1.0, 1.0, 1.0]))
    volume = Volume(np.full(grid.shape, 100, np.float32), grid)
    source = replace(study.sources[SeriesType.T2_FLAIR], volume=volume)
    found = finding(Segment.WMH, SeriesType.T2_FLAIR, np.zeros(grid.shape, bool), grid)
    assert overlay_sheet(StudyFindings((found,), ()), {SeriesType.T2_FLAIR: source})


def test_slice_is_called_as_viewers_call_it(study: ResultStudy) -> None:
    source = study.sources[SeriesType.T1]
    files = [dcmread(path, stop_before_pixels=True) for path in study.paths[SeriesType.T1]]
    number_of = {file.SOPInstanceUID: file.InstanceNumber for file in files}
    series = files[0].SeriesNumber
    expected = [f"Series {series}, image {number_of[frame.sop_instance_uid]}" for frame in source.frames]
    assert [slice_name(source, index) for index in range(len(source.frames))] == expected
    assert expected[0] != f"Series {series}, image 1", "the Instances are numbered in another order"


@pytest.mark.parametrize(
    ("axes", "first", "last"),
    [
        pytest.param("sagittal", ", L 42 mm", ", R 38 mm", id="sagittal"),
        pytest.param(
            rigid((0, 10, 0), (0, 0, 0))[:3, :3] @ orientation_matrix("sagittal"), ", L 41 mm", ", R 37 mm",
            id="sagittal-turned-by-10-degrees",
        ),
        pytest.param("axial", "", "", id="axial"),
        pytest.param("coronal", "", "", id="coronal"),
    ],
)  # fmt: skip
def test_only_a_sagittal_slice_is_called_by_its_side(
    axes: str | NDArray[np.float64], first: str, last: str
) -> None:
    """Nine slices 10 mm apart about x = 2 mm; those of a sagittal stack ascend to the right."""
    grid = phantom_grid((9, 20, 20), (10, 1, 1), axes, centre_lps=(2.0, 30.0, -20.0))
    assert (slice_side(grid, 0), slice_side(grid, 8)) == (first, last)


@pytest.mark.parametrize(
    ("frame", "is_mosaic", "expected"),
    [
        pytest.param(FrameReference("1.2", "1.3", 7, 1), False, "frame 7", id="multi-frame"),
        pytest.param(FrameReference("1.2", "1.3", None, 1), True, "slice 2 of 3", id="mosaic"),
        pytest.param(FrameReference("1.2", "1.3", None), False, "slice 2 of 3", id="without-number"),
    ],
)
def test_slice_without_an_image_of_its_own_is_called_by_frame_or_place(
    study: ResultStudy, frame: FrameReference, is_mosaic: bool, expected: str
) -> None:
    source = replace(
        study.sources[SeriesType.T1], frames=(frame,) * 3, is_mosaic=is_mosaic, series_number=None
    )
    assert slice_name(source, 1) == expected
