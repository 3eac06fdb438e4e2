from __future__ import annotations

import numpy as np
import pytest

from engines.segments import SeriesType
from training.simulation.anatomy import air_field_ppm
from training.simulation.contrast import (
    DiffusionWeighted,
    InversionRecovery,
    SpinEcho,
    SpoiledGradientEcho,
    draw_contrast,
)
from training.simulation.fields import smooth_field
from training.simulation.tissues import AT_1_5_TESLA, AT_3_TESLA, Relaxation, Tissue, draw_tissues, one_tissue

WATER = one_tissue(1.0, 1000.0, 100.0, 50.0, 1.0)


def one(value: np.ndarray) -> float:
    assert value.shape == (1,)
    return float(value[0])


def test_spin_echo_decays_to_a_half_at_t2_times_log_two() -> None:
    contrast = SpinEcho(1e9, 100 * np.log(2), 1.0)
    assert one(contrast.signal(WATER)) == pytest.approx(0.5)


def test_spin_echo_recovers_to_a_half_at_t1_times_log_two() -> None:
    assert one(SpinEcho(1000 * np.log(2), 0.0, 1.0).signal(WATER)) == pytest.approx(0.5)


def test_inversion_at_t1_times_log_two_nulls_a_tissue() -> None:
    assert one(InversionRecovery(1e9, 1000 * np.log(2), 0.0, 1.0).signal(WATER)) == pytest.approx(
        0, abs=1e-12
    )


def test_gradient_echo_at_ninety_degrees_saturates_like_a_spin_echo() -> None:
    contrast = SpoiledGradientEcho(1000 * np.log(2), 50 * np.log(2), 90.0, 1.0)
    assert one(contrast.signal(WATER)) == pytest.approx(0.25)


def test_diffusion_of_one_at_b_thousand_leaves_one_over_e() -> None:
    assert one(DiffusionWeighted(1e9, 0.0, 1000.0, 1.0).signal(WATER)) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("table", [AT_1_5_TESLA, AT_3_TESLA])
def test_tables_keep_the_orders_that_textbooks_give(table: np.ndarray) -> None:
    tissue = Relaxation(*table.T)
    white, grey, csf = Tissue.WHITE_MATTER, Tissue.CORTEX, Tissue.VENTRICLE
    assert tissue.t1_ms[white] < tissue.t1_ms[grey] < tissue.t1_ms[csf]
    assert tissue.t2_ms[white] < tissue.t2_ms[grey] < tissue.t2_ms[csf]
    assert (tissue.t2_star_ms <= tissue.t2_ms).all()
    assert tissue.t2_star_ms[Tissue.PALLIDUM] < tissue.t2_star_ms[Tissue.PUTAMEN] < tissue.t2_star_ms[grey]


def brightness(series: SeriesType, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tissues = draw_tissues(rng)
    signal = draw_contrast(series, tissues, rng).signal(tissues)
    return signal / signal[Tissue.WHITE_MATTER]


@pytest.mark.parametrize("seed", range(30))
def test_every_drawn_flair_has_dark_csf_and_cortex_at_least_as_bright_as_white_matter(seed: int) -> None:
    share = brightness(SeriesType.T2_FLAIR, seed)
    assert share[Tissue.VENTRICLE] < 0.3
    assert 0.95 < share[Tissue.CORTEX] < 1.8


@pytest.mark.parametrize("seed", range(30))
def test_every_drawn_t1_has_csf_below_cortex_below_white_matter(seed: int) -> None:
    share = brightness(SeriesType.T1, seed)
    assert share[Tissue.VENTRICLE] < share[Tissue.CORTEX] < 1


@pytest.mark.parametrize("seed", range(30))
def test_every_drawn_b1000_has_bright_cortex_and_dark_ventricles(seed: int) -> None:
    share = brightness(SeriesType.DWI_B1000, seed)
    assert share[Tissue.CORTEX] > 1
    assert share[Tissue.VENTRICLE] < 0.8 * share[Tissue.CORTEX]


@pytest.mark.parametrize("seed", range(30))
def test_every_drawn_t2_star_has_a_pallidum_darker_than_white_matter(seed: int) -> None:
    assert brightness(SeriesType.T2_STAR, seed)[Tissue.PALLIDUM] < 1


def test_field_around_a_ball_of_air_is_that_of_a_dipole() -> None:
    size, radius = 96, 8
    z, y, x = np.meshgrid(*([np.arange(size) - size // 2] * 3), indexing="ij")
    air = (z**2 + y**2 + x**2 <= radius**2).astype(np.float32)
    field = air_field_ppm(air)
    middle, away = size // 2, 20
    # outside a ball: chi / 3 (a / r)^3 (3 cos^2 - 1); Schenck 1996, equation for a sphere
    expected = 9.4 / 3 * (radius / away) ** 3
    assert field[middle + away, middle, middle] == pytest.approx(2 * expected, rel=0.15)
    assert field[middle, middle + away, middle] == pytest.approx(-expected, rel=0.15)


def test_smooth_field_has_unit_variance_and_the_wanted_grain() -> None:
    field = smooth_field((60, 60, 60), (6, 6, 6), np.random.default_rng(0))
    assert field.std() == pytest.approx(1, abs=0.01)
    neighbours = np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]
    distant = np.corrcoef(field[24:].ravel(), field[:-24].ravel())[0, 1]
    assert neighbours > 0.9
    assert abs(distant) < 0.15


def test_mirrored_field_is_alike_on_both_sides() -> None:
    field = smooth_field((40, 40, 80), (8, 8, 8), np.random.default_rng(0), mirrored=True)
    assert np.corrcoef(field.ravel(), field[..., ::-1].ravel())[0, 1] > 0.5
