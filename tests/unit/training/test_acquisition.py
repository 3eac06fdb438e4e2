from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engines.segments import SeriesType
from training.simulation import artefacts
from training.simulation.acquisition import Geometry, Sampler, dephase, distort, draw_geometry, field_hz
from training.simulation.anatomy import COARSE_MM, Anatomy, Site

SHAPE = (60, 80, 72)


def anatomy(field_ppm: np.ndarray | None = None) -> Anatomy:
    tissue = np.ones(SHAPE, np.uint8)
    coarse = tuple(size // COARSE_MM for size in SHAPE)
    return Anatomy(
        "block",
        tissue,
        tissue > 0,
        np.full(SHAPE, 30, np.float16),
        np.zeros(coarse, np.float32) if field_ppm is None else field_ppm,
        {site: np.zeros((0, 3), np.int16) for site in Site},
        np.eye(4),
    )


def geometry(angle_deg: float = 0.0, slice_mm: float = 4.0, zoom: float = 1.0) -> Geometry:
    rotation = Rotation.from_euler("xyz", [angle_deg, angle_deg / 2, -angle_deg], degrees=True).as_matrix()
    return Geometry(5, 20, 16, 1.5, slice_mm, 1.0, (40, 32), rotation, np.array([29.0, 40.0, 35.0]), zoom)


def sampler(of: Geometry) -> Sampler:
    return Sampler(of, np.zeros((3, of.slices, of.rows, of.columns), np.float32))


@pytest.mark.parametrize("angle_deg", [0.0, 12.0])
@pytest.mark.parametrize("zoom", [1.0, 1.1])
def test_voxels_show_what_lies_where_the_affine_says(angle_deg: float, zoom: float) -> None:
    where = np.stack(np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij")).astype(np.float32)
    of = geometry(angle_deg, zoom=zoom)
    got = sampler(of).average(where)
    plain = Geometry(
        of.slices, of.rows, of.columns, of.pixel_mm, of.slice_mm, of.gap_mm,
        (of.rows, of.columns), of.rotation, of.centre, of.zoom,
    )  # fmt: skip
    indices = np.argwhere(np.ones(got.shape[1:]))
    left, back, up = plain.grid().to_lps(indices).T
    expected = np.stack([up, back, left]) * zoom + of.centre[:, None]
    np.testing.assert_allclose(got.reshape(3, -1), expected, atol=2e-2)


def test_interpolation_to_a_finer_matrix_keeps_the_place_and_the_field_of_view() -> None:
    of = geometry(8.0)
    fine = of.grid()
    assert fine.shape == (5, 40, 32)
    np.testing.assert_allclose(fine.spacing_mm, (5.0, 0.75, 0.75))
    np.testing.assert_allclose(fine.to_lps(np.array([[2, 19.5, 15.5]])), [[0, 0, 0]], atol=1e-9)


@pytest.mark.parametrize("method", ["zero fill", "cubic"])
def test_enlarged_blob_stays_where_it_was(method: str) -> None:
    y, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    plane = np.exp(-((y - 12.3) ** 2 + (x - 18.6) ** 2) / 18)[None].astype(np.float32)
    if method == "cubic":
        large = artefacts.resize(plane, (64, 64), "bicubic")
    else:
        large = artefacts.zero_fill(plane, (64, 64))
    weight = np.clip(large[0], 0.05, None) - 0.05
    rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    centre = (rows * weight).sum() / weight.sum(), (columns * weight).sum() / weight.sum()
    # pixel i of the fine grid covers (i + 0.5) / 2 - 0.5 of the coarse one
    np.testing.assert_allclose((np.array(centre) + 0.5) / 2 - 0.5, (12.3, 18.6), atol=0.1)


def test_thick_slice_averages_what_is_inside_of_it() -> None:
    field = np.zeros((1, *SHAPE), np.float32)
    field[0, 29:] = 1.0  # the slice of 4 mm around 29 is filled from 28.5 upwards
    got = sampler(geometry()).average(field)
    assert got[0, 2].mean() == pytest.approx(2.5 / 4, abs=0.13)
    assert got[0, 0].max() == 0
    assert got[0, 4].min() == 1


def test_field_of_ten_hertz_shifts_echo_planar_rows_by_readout_times_pixel() -> None:
    uniform = anatomy(np.full(tuple(size // COARSE_MM for size in SHAPE), 0.1, np.float32))
    moved, piled = distort(sampler(geometry()), uniform, hz_per_ppm=100.0, readout_s=0.05)
    # 0.1 ppm * 100 Hz * 0.05 s = 0.5 pixels of 1.5 mm
    np.testing.assert_allclose(moved.bend_mm[1], 0.75, atol=1e-5)
    np.testing.assert_allclose(piled, 1.0, atol=1e-5)


def test_gradient_of_one_turn_through_a_slice_leaves_nothing() -> None:
    ramp = np.arange(SHAPE[0] // COARSE_MM, dtype=np.float32)[:, None, None] * COARSE_MM
    field = np.broadcast_to(ramp, tuple(size // COARSE_MM for size in SHAPE)).astype(np.float32)
    # 1 ppm per mm, 4 mm slices, 50 Hz per ppm: 200 Hz; one turn in 5 ms, half a turn in 2.5 ms
    one, half = (dephase(sampler(geometry()), anatomy(field), 50.0, echo_ms) for echo_ms in (5.0, 2.5))
    np.testing.assert_allclose(one, 0.0, atol=1e-3)
    np.testing.assert_allclose(half, 2 / np.pi, atol=1e-3)


def test_field_scales_with_the_strength_of_the_magnet() -> None:
    uniform = anatomy(np.full(tuple(size // COARSE_MM for size in SHAPE), 0.1, np.float32))
    np.testing.assert_allclose(field_hz(sampler(geometry()), uniform, 127.7), 12.77, rtol=1e-4)


@pytest.mark.parametrize("series", list(SeriesType))
def test_drawn_geometries_stay_within_what_the_segmentors_are_meant_for(series: SeriesType) -> None:
    for seed in range(60):
        drawn = draw_geometry(series, anatomy(), np.random.default_rng(seed))
        assert 1.0 <= drawn.slice_mm <= 8.0
        assert 0 <= drawn.gap_mm <= 0.3 * drawn.slice_mm
        assert 6 <= drawn.slices <= 40
        assert 0.36 <= drawn.grid().spacing_mm[1] <= 2.6


def test_rician_noise_lifts_the_background_to_its_mean() -> None:
    rng = np.random.default_rng(0)
    noisy = artefacts.add_noise(np.zeros((4, 200, 200), np.float32), 1000.0, rng)
    sigma = np.sqrt((noisy.astype(float) ** 2).mean() / 2)
    # without signal the mean is sigma sqrt(pi / 2); Gudbjartsson and Patz 1995
    assert noisy.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)


def test_stripped_skull_is_zero_and_brain_stays() -> None:
    brain = np.zeros((3, 60, 60), np.float32)
    brain[:, 15:45, 15:45] = 1
    stripped = artefacts.strip_skull(
        np.full((3, 60, 60), 7, np.float32), brain, 1.0, np.random.default_rng(1)
    )
    assert stripped[:, 20:40, 20:40].min() == 7
    assert stripped[brain == 0].max() == 0


def test_pixels_are_integers_of_a_vendor_like_scale() -> None:
    planes = np.full((1, 4, 4), 0.3, np.float32)
    for seed in range(40):
        pixels = artefacts.scale_to_integers(planes, 0.3, np.random.default_rng(seed))
        assert pixels.dtype == np.int16
        assert 60 <= pixels.max() <= 6000
