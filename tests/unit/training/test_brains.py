"""Brains of whole heads that come without a mask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.simulation.brains import around_white_matter

SCALP, SKULL, FLUID, GREY, WHITE, MUSCLE = 1600.0, 40.0, 150.0, 550.0, 1000.0, 700.0
"""Signals on T1."""


@pytest.fixture
def head() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return a T1 of a round head of 80 mm on a neck, and the distance from the middle of its brain, mm."""
    z, y, x = np.meshgrid(np.arange(200) - 115.0, np.arange(180) - 90.0, np.arange(180) - 90.0, indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    image = np.zeros(radius.shape, np.float32)
    image[(np.hypot(y, x) < 50) & (z < 0)] = MUSCLE
    for outer, signal in ((80, SCALP), (75, SKULL), (68, FLUID), (65, GREY), (60, WHITE), (12, FLUID)):
        image[radius < outer] = signal
    return image, radius


def test_the_brain_of_a_whole_head_is_its_white_body_and_the_grey_around(
    head: tuple[NDArray[np.float32], NDArray[np.float64]],
) -> None:
    image, radius = head
    brain = around_white_matter(image)
    assert brain[(radius < 58) & (radius > 12)].mean() > 0.98
    assert brain[radius < 12].all(), "ventricles are part of it"
    assert not brain[radius > 68].any(), "neither skull nor scalp nor neck"
