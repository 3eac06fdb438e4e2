"""How much of a head a grid covers, against shares and distances calculated by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engines.alignment import Alignment
from engines.coverage import cover, coverage_remarks
from engines.findings import RegistrationRecord
from engines.head import head_points
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from tests.support.head import axial_grid

FLAIR, T1, DWI, T2_STAR = SeriesType.T2_FLAIR, SeriesType.T1, SeriesType.DWI_B1000, SeriesType.T2_STAR

UNMOVED = Alignment(FLAIR, ())

TURNED = Rotation.from_euler("x", 30, degrees=True)

ACROSS = (40, 40)
"""Rows and columns of a slice: with 6 mm each way it reaches 120 mm to each side."""


def slab(slices: int, thick_mm: float, lowest_mm: float, turn: Rotation | None = None) -> Grid:
    """Return a grid whose lowest slice is centred over the origin, or turned about it, at a height."""
    upright = axial_grid((slices, *ACROSS), (thick_mm, 6.0, 6.0))
    affine = upright.affine.copy()
    affine[2, 3] = lowest_mm
    if turn is not None:
        affine[:3] = turn.as_matrix() @ affine[:3]
    return Grid(upright.shape, affine)


def line(axis: int) -> np.ndarray:
    """Return 100 points along an axis of patient space, at 0.5 to 99.5 mm."""
    points = np.zeros((100, 3))
    points[:, axis] = np.arange(100) + 0.5
    return points


@pytest.mark.parametrize(
    ("grid", "share", "beyond_mm"),
    [
        pytest.param(slab(11, 10.0, 0.0), 1.0, {}, id="all"),
        pytest.param(slab(5, 10.0, 0.0), 0.45, {"above": 54.5}, id="thick-slices-end-at-45-mm"),
        pytest.param(slab(12, 4.0, 0.0), 0.46, {"above": 53.5}, id="thin-slices-end-at-46-mm"),
        pytest.param(slab(5, 10.0, 30.0), 0.5, {"below": 24.5, "above": 24.5}, id="25-to-75-mm"),
        pytest.param(slab(10, 10.0, 19.0), 0.86, {"below": 13.5}, id="from-14-mm"),
        pytest.param(slab(5, 10.0, 200.0), 0.0, {"below": 194.5}, id="no-overlap"),
        # Heights along the normal are cos 30 deg of those along z: 45 mm are reached at z = 51.96 mm, and
        # the last point lies at 99.5 * 0.8660 = 86.17 mm.
        pytest.param(
            slab(5, 10.0, 0.0, Rotation.from_euler("x", 30, degrees=True)),
            0.52,
            {"above": 41.17},
            id="oblique",
        ),
    ],
)
def test_cover_counts_points_in_voxels_and_says_where_the_rest_lies(
    grid: Grid, share: float, beyond_mm: Mapping[str, float]
) -> None:
    covered = cover(line(2), grid)
    assert covered.share == pytest.approx(share)
    assert covered.beyond_mm == pytest.approx(beyond_mm, abs=0.01)


@pytest.mark.parametrize(
    ("axis", "sign", "side"),
    [(0, 1, "left of"), (0, -1, "right of"), (1, 1, "behind"), (1, -1, "in front of")],
)
def test_field_of_view_may_be_too_small_in_plane(axis: int, sign: int, side: str) -> None:
    """Ten rows and columns of 6 mm reach 30 mm to each side: 30 of 100 points, 69.5 mm too few."""
    covered = cover(sign * line(axis), axial_grid((5, 10, 10), (6.0, 6.0, 6.0)))
    assert covered.share == pytest.approx(0.3)
    assert covered.beyond_mm == pytest.approx({side: 69.5})


def column(grid: Grid, bottom_mm: float = -300.0) -> Volume:
    """Image a head as a square column, 144 mm wide, from the vertex at z = 0 down."""
    points = grid.to_lps(np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3))
    x, y, z = points.T
    inside = (np.abs(x) < 72) & (np.abs(y) < 72) & (z < 0) & (z > bottom_mm)
    return Volume(np.where(inside, 100.0, 0.0).reshape(grid.shape).astype(np.float32), grid)


def scanned(top_mm: float, bottom_mm: float) -> Volume:
    """Image the column in slices of 5 mm from one height to another."""
    return column(slab(round((top_mm - bottom_mm) / 5), 5.0, bottom_mm + 2.5))


def remarks(volumes: Mapping[SeriesType, Volume], alignment: Alignment = UNMOVED) -> list[str]:
    looked_on = {FLAIR: [Segment.WMH], T2_STAR: [Segment.MICROBLEED]}
    there = {k: v for k, v in looked_on.items() if k in volumes}
    return list(coverage_remarks(there, {}, volumes, alignment))


def test_head_is_the_largest_bright_part() -> None:
    image = scanned(10.0, -50.0)
    image.array[11, :3, :3] = 100.0
    points = head_points(image)
    # 24 by 24 voxels of 6 mm on ten of twelve slices.
    assert len(points) == 24 * 24 * 10
    assert points[:, 2].max() == pytest.approx(-2.5)


def test_series_that_ends_too_early_is_told_with_its_segments() -> None:
    """Of 28 slices of the FLAIR in 140 mm it holds 20; the last is centred at -137.5 mm."""
    (said,) = remarks({FLAIR: scanned(10, -150), T2_STAR: scanned(10.4, -99.6)})
    assert said == (
        "T2* covers 71% of the head that T2-FLAIR shows, counted to 140 mm below the vertex; "
        "what lies up to 38 mm below it was not looked at (cerebral microbleed)"
    )


@pytest.mark.parametrize(
    ("lowest_mm", "expected"),
    [
        pytest.param(-120, "", id="86-percent"),
        pytest.param(
            -100,
            "T2-FLAIR covers 71% of the head that T1 shows, counted to 140 mm below the vertex; "
            "what lies up to 38 mm below it was looked at without T2-FLAIR (lacune)",
            id="71-percent",
        ),
    ],
)
def test_second_series_that_a_network_saw_and_that_ends_too_early_is_told(
    lowest_mm: float, expected: str
) -> None:
    """DWI shows more than either and is none of the network's business."""
    volumes = {FLAIR: scanned(10, lowest_mm), T1: scanned(10, -150), DWI: scanned(30, -200)}
    beside = {(T1, FLAIR): [Segment.LACUNE]}
    assert "".join(coverage_remarks({}, beside, volumes, UNMOVED)) == expected


@pytest.mark.parametrize("pair", [(T1, FLAIR), (FLAIR, T1)])
def test_second_series_whose_place_is_not_known_is_compared_with_none(
    pair: tuple[SeriesType, SeriesType],
) -> None:
    volumes = {FLAIR: scanned(10, -100), T1: scanned(10, -150)}
    apart = Alignment(FLAIR, (), {FLAIR: "1.2", T1: "1.3"})
    assert list(coverage_remarks({}, {pair: [Segment.LACUNE]}, volumes, apart)) == []


def test_small_trims_are_normal() -> None:
    """120 of 140 mm are 86%."""
    assert remarks({FLAIR: scanned(10, -150), T2_STAR: scanned(10, -120)}) == []


def test_neck_that_another_series_shows_does_not_count() -> None:
    assert remarks({FLAIR: scanned(10, -140), T1: scanned(10, -240)}) == []


def test_vertex_that_only_the_series_itself_shows_counts() -> None:
    """T2* begins 60 mm below the vertex; what it shows 140 mm below it and further is neck."""
    (said,) = remarks({FLAIR: scanned(10, -140), T2_STAR: scanned(-60, -220)})
    assert said.startswith("T2* covers 57% of the head that T2-FLAIR shows")
    assert "up to 58 mm above it" in said


def test_the_fullest_other_series_is_named() -> None:
    volumes = {FLAIR: scanned(10, -110), T1: scanned(10, -200), T2_STAR: scanned(10, -80)}
    assert [said.partition(",")[0] for said in remarks(volumes)] == [
        "T2-FLAIR covers 78% of the head that T1 shows",
        "T2* covers 57% of the head that T1 shows",
    ]


def test_registration_decides_where_a_series_lies() -> None:
    """The patient moved 80 mm up between the two: the scanner's geometry alone would miss that."""
    lying = scanned(10, -150)
    up = np.eye(4)
    up[2, 3] = 80.0
    volumes = {FLAIR: lying, T2_STAR: Volume(lying.array, Grid(lying.grid.shape, up @ lying.grid.affine))}
    found = RegistrationRecord(FLAIR, T2_STAR, up, 0.0, 80.0, True, "")
    assert remarks(volumes, Alignment(FLAIR, (found,))) == []
    assert len(remarks(volumes)) == 1


def test_series_whose_place_is_not_known_is_compared_with_none() -> None:
    """Each shows another part of the head, if they lay in one Frame of Reference."""
    volumes = {FLAIR: scanned(10, -80), T2_STAR: scanned(-60, -200)}
    refused = RegistrationRecord(FLAIR, T2_STAR, np.eye(4), 0.0, 0.0, False, "", refused=True)
    for frames, told in (({FLAIR: "1.2", T2_STAR: "1.2"}, 2), ({FLAIR: "1.2", T2_STAR: "1.3"}, 0)):
        assert len(remarks(volumes, Alignment(FLAIR, (refused,), frames))) == told
        assert len(remarks(volumes, Alignment(FLAIR, (), frames))) == told


def test_series_elsewhere_covers_nothing() -> None:
    far = slab(20, 5.0, 400.0)
    elsewhere = Volume(scanned(10, -90).array, far)
    (said, other) = remarks({FLAIR: scanned(10, -150), T2_STAR: elsewhere})
    assert said.startswith("T2-FLAIR covers 0% of the head that T2* shows")
    assert other.startswith("T2* covers 0% of the head that T2-FLAIR shows")


def test_blank_slices_of_a_resampled_series_cover_nothing() -> None:
    padded = scanned(10, -150)
    padded.array[:10] = 0.0
    (said,) = remarks({FLAIR: scanned(10, -150), T2_STAR: padded})
    assert said.startswith("T2* covers 71% of the head")
