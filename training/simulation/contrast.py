"""Signal of tissues under the four kinds of Series: the equations, and protocols as found in clinics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.segments import SeriesType
from training.simulation.fields import smooth_field
from training.simulation.tissues import Relaxation, Tissue

Signal = NDArray[np.float64]

TRACT_MM = (24.0, 9.0, 9.0)
"""Distance over which tracts change their direction: up and down, forwards, sideways, mm. Chosen."""


class Contrast(Protocol):
    """A protocol that gives a tissue its brightness."""

    @property
    def fat_left(self) -> float:
        """What fat suppression leaves of fat, 0 to 1."""

    def signal(self, tissue: Relaxation) -> Signal:
        """Return the magnitude of each tissue, in the shape of its properties, arbitrary unit."""


@dataclass(frozen=True, slots=True)
class InversionRecovery:
    """FLAIR, or T1 with an inversion: an inversion pulse before a fast spin echo.

    Source: M = rho |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2), after Hajnal et al., J Comput Assist Tomogr
    1992.
    """

    repetition_ms: float
    inversion_ms: float
    echo_ms: float
    fat_left: float

    def signal(self, tissue: Relaxation) -> Signal:
        """Return the magnitude of each tissue."""
        recovered = (
            1 - 2 * np.exp(-self.inversion_ms / tissue.t1_ms) + np.exp(-self.repetition_ms / tissue.t1_ms)
        )
        magnitude: Signal = tissue.density * np.abs(recovered) * np.exp(-self.echo_ms / tissue.t2_ms)
        return magnitude


@dataclass(frozen=True, slots=True)
class SpinEcho:
    """M = rho (1 - exp(-TR/T1)) exp(-TE/T2)."""

    repetition_ms: float
    echo_ms: float
    fat_left: float

    def signal(self, tissue: Relaxation) -> Signal:
        """Return the magnitude of each tissue."""
        recovered = 1 - np.exp(-self.repetition_ms / tissue.t1_ms)
        magnitude: Signal = tissue.density * recovered * np.exp(-self.echo_ms / tissue.t2_ms)
        return magnitude


@dataclass(frozen=True, slots=True)
class SpoiledGradientEcho:
    """T1 with short times, T2* with long echo: the Ernst formula with T2* decay.

    Source: M = rho sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE/T2*), E1 = exp(-TR/T1).
    """

    repetition_ms: float
    echo_ms: float
    flip_deg: float
    fat_left: float

    def signal(self, tissue: Relaxation) -> Signal:
        """Return the magnitude of each tissue."""
        e1 = np.exp(-self.repetition_ms / tissue.t1_ms)
        flip = np.deg2rad(self.flip_deg)
        steady = np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1)
        magnitude: Signal = tissue.density * steady * np.exp(-self.echo_ms / tissue.t2_star_ms)
        return magnitude


@dataclass(frozen=True, slots=True)
class DiffusionWeighted:
    """Spin-echo EPI: M = rho (1 - exp(-TR/T1)) exp(-TE/T2) exp(-b D).

    ``b_value`` in s/mm2. Source: Stejskal and Tanner, J Chem Phys 1965.
    """

    repetition_ms: float
    echo_ms: float
    b_value: float
    fat_left: float

    def signal(self, tissue: Relaxation) -> Signal:
        """Return the magnitude of each tissue."""
        recovered = 1 - np.exp(-self.repetition_ms / tissue.t1_ms)
        decay = np.exp(-self.echo_ms / tissue.t2_ms - self.b_value * tissue.diffusivity * 1e-3)
        magnitude: Signal = tissue.density * recovered * decay
        return magnitude


def draw_contrast(series: SeriesType, tissues: Relaxation, rng: np.random.Generator) -> Contrast:
    """Draw a protocol for a kind of Series.

    The ranges are chosen to cover routine protocols at 1.5 and 3 T: FLAIR TR 6 to 11 s, TE 80 to 130 ms, TI
    at the null of CSF within 4%; T1 spin echo TR 400 to 700 ms, gradient echo 15 to 40 degrees, or inverted
    with TI near the null of CSF; DWI b 800 to 1200 s/mm2 (what counts as b1000), TE 60 to 100 ms; T2* TE 14
    to 30 ms, with the short TR of susceptibility-weighted protocols 18 to 34 ms.
    """
    if series is SeriesType.T2_FLAIR:
        return _draw_flair(tissues, rng)
    if series is SeriesType.T1:
        return _draw_t1(tissues, rng)
    if series is SeriesType.DWI_B1000:
        b_value = float(rng.choice([1000.0, rng.uniform(800, 1200)]))
        return DiffusionWeighted(
            rng.uniform(3000, 9000), rng.uniform(60, 100), b_value, rng.uniform(0.01, 0.15)
        )
    return _draw_t2_star(rng)


def _null_of_csf(tissues: Relaxation, repetition_ms: float) -> float:
    """Return the inversion time at which CSF gives no signal, ms."""
    csf_t1 = float(tissues.t1_ms[Tissue.VENTRICLE])
    return float(csf_t1 * (np.log(2) - np.log1p(np.exp(-repetition_ms / csf_t1))))


def _draw_flair(tissues: Relaxation, rng: np.random.Generator) -> Contrast:
    repetition = rng.uniform(6000, 11000)
    null = _null_of_csf(tissues, repetition)
    fat_left = float(rng.choice([1.0, rng.uniform(0.05, 0.5)]))
    return InversionRecovery(repetition, null * rng.normal(1.0, 0.02), rng.uniform(80, 130), fat_left)


def _draw_t1(tissues: Relaxation, rng: np.random.Generator) -> Contrast:
    kind = rng.choice(["spin echo", "gradient echo", "inverted"], p=[0.35, 0.4, 0.25])
    if kind == "spin echo":
        return SpinEcho(rng.uniform(400, 700), rng.uniform(8, 16), 1.0)
    if kind == "gradient echo":
        repetition = rng.uniform(8, 30)
        return SpoiledGradientEcho(repetition, rng.uniform(2.5, 5), rng.uniform(15, 25) + repetition / 3, 0.9)
    repetition = rng.uniform(1800, 2600)
    null = _null_of_csf(tissues, repetition)
    return InversionRecovery(repetition, null * rng.uniform(0.92, 1.02), rng.uniform(8, 16), 0.9)


def _draw_t2_star(rng: np.random.Generator) -> Contrast:
    fat_left = float(rng.choice([0.9, rng.uniform(0.1, 0.6)]))
    if rng.random() < 0.3:  # susceptibility-weighted protocols: short TR, small flip angle
        return SpoiledGradientEcho(rng.uniform(27, 55), rng.uniform(18, 34), rng.uniform(12, 18), fat_left)
    return SpoiledGradientEcho(rng.uniform(450, 1000), rng.uniform(14, 30), rng.uniform(15, 28), fat_left)


def tract_gain(
    shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw what the direction of diffusion weighting makes of white matter: tracts that shine or darken.

    In the most ordered tracts (fractional anisotropy 0.8; Pierpaoli and Basser, Magn Reson Med 1996) exp(-b
    D) at b 1000 is about four times as large across as along. Most voxels hold less order, and a trace leaves
    some percent of it: chosen are deviations of 2 to 6% or of 10 to 25% over the tracts.

    Args:
        shape: (slices, rows, columns), the columns from one side of the head to the other.
        voxel_mm: distances along them, mm.
        rng: of the amount and of the tracts, which both sides share.

    Returns: factors of the signal.
    """
    amount = float(rng.choice([rng.uniform(0.02, 0.06), rng.uniform(0.1, 0.25)], p=[0.6, 0.4]))
    scale = [max(1.0, mm / size) for mm, size in zip(TRACT_MM, voxel_mm, strict=True)]
    gain: NDArray[np.float32] = np.exp(amount * smooth_field(shape, scale, rng, mirrored=True)).astype(
        np.float32
    )
    return gain
