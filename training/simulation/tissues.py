"""Tissues of the head and what they are for a scanner: proton density, T1, T2, T2*, diffusivity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """What fills a voxel of an anatomy; the value indexes every table of this package."""

    AIR = 0
    WHITE_MATTER = 1
    CORTEX = 2
    SULCAL_CSF = 3
    VENTRICLE = 4
    THALAMUS = 5
    CAUDATE = 6
    PUTAMEN = 7
    PALLIDUM = 8
    HIPPOCAMPUS = 9
    BRAINSTEM = 10
    CEREBELLAR_WHITE = 11
    CEREBELLAR_CORTEX = 12
    CHOROID = 13
    ARTERY = 14
    VEIN = 15
    EYE = 16
    FAT = 17
    MUSCLE = 18
    MUCOSA = 19
    SKIN = 20
    BONE = 21
    MARROW = 22
    NERVE = 23


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Magnetic properties of one or many tissues.

    Attributes:
        density: proton density, 1 for water.
        t1_ms, t2_ms, t2_star_ms: relaxation times, ms.
        diffusivity: mean apparent diffusivity, 1e-3 mm2/s.
    """

    density: NDArray[np.float64]
    t1_ms: NDArray[np.float64]
    t2_ms: NDArray[np.float64]
    t2_star_ms: NDArray[np.float64]
    diffusivity: NDArray[np.float64]


AT_1_5_TESLA = np.array(
    [
        [0.00, 1000, 50, 10, 1.0],
        [0.70, 620, 80, 66, 0.75],
        [0.81, 1060, 98, 84, 0.85],
        [1.00, 4300, 2000, 900, 3.0],
        [1.00, 4300, 2000, 1000, 3.0],
        [0.78, 850, 86, 66, 0.78],
        [0.81, 1000, 90, 59, 0.78],
        [0.80, 950, 84, 55, 0.75],
        [0.75, 780, 70, 38, 0.78],
        [0.83, 1100, 100, 80, 0.88],
        [0.74, 740, 82, 62, 0.74],
        [0.72, 680, 80, 62, 0.70],
        [0.82, 1000, 96, 78, 0.75],
        [0.90, 1300, 130, 60, 1.7],
        [0.30, 1440, 140, 60, 2.5],
        [0.75, 1440, 100, 45, 2.5],
        [1.00, 3800, 1000, 400, 2.8],
        [0.90, 290, 85, 40, 0.1],
        [0.75, 980, 44, 32, 1.4],
        [0.88, 1100, 110, 30, 1.7],
        [0.70, 420, 55, 30, 0.8],
        [0.06, 700, 15, 2, 0.5],
        [0.60, 380, 70, 18, 0.3],
        [0.74, 750, 85, 66, 0.9],
    ]
)
"""Rows by ``Tissue``: density, T1, T2, T2* (ms), diffusivity (1e-3 mm2/s), at 1.5 T.

T1 and T2 of white and grey matter are chosen around Stanisz et al., Magn Reson Med 2005 (T1 884 and 1124 ms,
T2 72 and 95 ms), but for a shorter T1 of white matter; those of deep nuclei are chosen between them. Source
of T2* of grey and white matter, caudate and putamen: Peters et al., Magn Reson Imaging 2007; of
diffusivities: normal adult brain 0.7 to 0.9, free water at 37 degrees 3.0. The outer tissues are chosen to
look like themselves; only their order matters. CSF gets a long T2* on purpose: a table with 58 ms would make
ventricles darker than grey matter on T2*.
"""

AT_3_TESLA = np.array(
    [
        [0.00, 1000, 50, 10, 1.0],
        [0.70, 880, 72, 53, 0.75],
        [0.81, 1400, 95, 66, 0.85],
        [1.00, 4300, 1900, 700, 3.0],
        [1.00, 4300, 1900, 800, 3.0],
        [0.78, 1120, 80, 50, 0.78],
        [0.81, 1300, 82, 42, 0.78],
        [0.80, 1240, 75, 34, 0.75],
        [0.75, 990, 58, 24, 0.78],
        [0.83, 1450, 98, 60, 0.88],
        [0.74, 1000, 76, 48, 0.74],
        [0.72, 900, 72, 48, 0.70],
        [0.82, 1350, 90, 60, 0.75],
        [0.90, 1600, 120, 40, 1.7],
        [0.30, 1650, 120, 45, 2.5],
        [0.75, 1650, 60, 26, 2.5],
        [1.00, 4000, 900, 300, 2.8],
        [0.90, 370, 90, 30, 0.1],
        [0.75, 1350, 40, 26, 1.4],
        [0.88, 1500, 105, 22, 1.7],
        [0.70, 520, 52, 25, 0.8],
        [0.06, 800, 15, 1, 0.5],
        [0.60, 480, 65, 12, 0.3],
        [0.74, 980, 80, 50, 0.9],
    ]
)
"""As ``AT_1_5_TESLA``, at 3 T; T1 of white and grey matter between Wansapura et al., J Magn Reson Imaging
1999 (832, 1331 ms) and Stanisz et al. 2005 (1084, 1820 ms), of deep nuclei within the spread that Bojorquez
et al., Magn Reson Imaging 2017, review for 3 T."""

SPREAD = np.array([0.03, 0.06, 0.06, 0.10, 0.06])
"""Standard deviation of the logarithm of each property between subjects, chosen to cover the ranges that the
sources of the tables give for one field strength."""


FOLLOWERS = {
    Tissue.CORTEX: Tissue.WHITE_MATTER,
    Tissue.BRAINSTEM: Tissue.WHITE_MATTER,
    Tissue.CEREBELLAR_WHITE: Tissue.WHITE_MATTER,
    Tissue.NERVE: Tissue.WHITE_MATTER,
    Tissue.HIPPOCAMPUS: Tissue.CORTEX,
    Tissue.CEREBELLAR_CORTEX: Tissue.CORTEX,
}
"""Tissues that vary with another one, not on their own."""


def draw_tissues(rng: np.random.Generator) -> Relaxation:
    """Draw one subject's tissues at a field between 1.5 and 3 T.

    Returns: properties as (24,) arrays in the order of ``Tissue``.
    """
    strength = float(rng.choice([0.0, 1.0, rng.random()], p=[0.4, 0.4, 0.2]))
    table = AT_1_5_TESLA * (1 - strength) + AT_3_TESLA * strength
    table = table * np.exp(rng.normal(size=table.shape) * SPREAD)
    # one body: what moves white matter moves the brain stem with it, and one cortex is like the other
    for follower, leader in FOLLOWERS.items():
        both = (AT_1_5_TESLA[follower] / AT_1_5_TESLA[leader]) * (1 - strength)
        both += (AT_3_TESLA[follower] / AT_3_TESLA[leader]) * strength
        table[follower] = table[leader] * both * np.exp(rng.normal(size=5) * SPREAD * 0.5)
    table[Tissue.SULCAL_CSF] = table[Tissue.VENTRICLE]
    return Relaxation(*table.T)


def one_tissue(
    density: float, t1_ms: float, t2_ms: float, t2_star_ms: float, diffusivity: float
) -> Relaxation:
    """Return a single material, as (1,) arrays."""
    return Relaxation(*(np.array([value]) for value in (density, t1_ms, t2_ms, t2_star_ms, diffusivity)))
