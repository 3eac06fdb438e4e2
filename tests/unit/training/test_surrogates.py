"""Images that are made of T2-FLAIR: what of it stays, and what goes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.volume import Grid, Volume
from training.simulation.surrogates import (
    BRIGHT_CSF,
    BRIGHTEST_TISSUE,
    FAT_LEFT,
    FLUID_LEFT,
    LEVEL,
    as_diffusion,
    as_flair,
    as_t2_star,
)

Mask = NDArray[np.bool_]

SCALP, BRAIN, LESION, VENTRICLE = 900.0, 300.0, 480.0, 60.0
"""Signals of a head on T2-FLAIR."""

IN_SCALP, IN_BRAIN, IN_LESION, IN_VENTRICLE = (2, 32, 0), (2, 20, 20), (2, 32, 45), (2, 32, 32)
"""The middle of each."""


@pytest.fixture
def head() -> tuple[Volume, Mask]:
    """Return a T2-FLAIR of scalp, brain, a lesion and a ventricle, in slices of 5 mm, and the brain."""
    array = np.full((5, 64, 64), SCALP, np.float32)
    brain = np.zeros(array.shape, np.bool_)
    brain[:, 8:56, 8:56] = True
    array[brain] = BRAIN
    array[2, 28:37, 41:50] = LESION
    array[:, 27:38, 27:38] = VENTRICLE
    grid = Grid((5, 64, 64), np.diag([5.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    return Volume(array, grid), brain


def test_diffusion_shows_no_fat_and_what_t2_leaves_of_a_lesion(head: tuple[Volume, Mask]) -> None:
    image = as_diffusion(*head)
    assert image[IN_BRAIN] == pytest.approx(LEVEL, rel=0.01)
    assert image[IN_LESION] == pytest.approx(1.12 * LEVEL, rel=0.02)
    assert image[IN_VENTRICLE] == pytest.approx(0.2 * LEVEL, rel=0.05)
    # three times as bright as brain on T2-FLAIR, so 1.4 times with less contrast
    assert image[IN_SCALP] == pytest.approx(FAT_LEFT * 1.4 * LEVEL, rel=0.05)


def test_diffusion_is_blurred_in_plane_alone(head: tuple[Volume, Mask]) -> None:
    image = as_diffusion(*head)
    border = (2, 32, 41)
    assert 1.02 * LEVEL < image[border] < 1.1 * LEVEL
    assert image[1, 32, 45] == pytest.approx(LEVEL, rel=0.01)


def test_a_gradient_echo_has_dark_or_bright_fluid(head: tuple[Volume, Mask]) -> None:
    dark, bright = (as_t2_star(*head, bright_csf=wanted) for wanted in (False, True))
    assert dark[IN_VENTRICLE] == pytest.approx(0.2 * LEVEL)
    assert bright[IN_VENTRICLE] == pytest.approx(BRIGHT_CSF * LEVEL)
    for elsewhere in (IN_BRAIN, IN_LESION, IN_SCALP):
        assert bright[elsewhere] == dark[elsewhere]


def test_what_is_dark_outside_the_brain_is_no_fluid(head: tuple[Volume, Mask]) -> None:
    flair, brain = head
    flair.array[:, :, :2] = 0
    assert as_t2_star(flair, brain, bright_csf=True)[2, 32, 0] == 0


@pytest.mark.parametrize("contrast", [1.0, 0.5])
def test_a_healthy_t2_becomes_a_flair_with_dark_fluid_and_dimmed_cortex(
    head: tuple[Volume, Mask], contrast: float
) -> None:
    t2, brain = head
    t2.array[:, 27:38, 27:38] = 4 * BRAIN
    t2.array[:, 28:37, 41:50] = BRIGHTEST_TISSUE * BRAIN
    half = (4 + BRIGHTEST_TISSUE) / 2 * BRAIN
    t2.array[:, 27:38, 26] = half
    image = as_flair(t2, brain, grey_contrast=contrast)
    cortex = (1 + contrast * (BRIGHTEST_TISSUE - 1)) * LEVEL
    assert image[IN_BRAIN] == pytest.approx(LEVEL)
    assert image[IN_LESION] == pytest.approx(cortex)
    assert image[IN_VENTRICLE] == pytest.approx(FLUID_LEFT * LEVEL, rel=0.01)
    assert image[2, 32, 26] == pytest.approx((cortex + FLUID_LEFT * LEVEL) / 2), "half of it is fluid"
