"""The phantom lies where it says, in every orientation, and moves as it is told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.segments import Segment
from engines.volume import Volume
from tests.support.phantoms import (
    ANTERIOR_LANDMARK,
    LEFT_LANDMARK,
    SUPERIOR_LANDMARK,
    PhantomKind,
    Sphere,
    phantom_grid,
    phantom_volume,
    rigid,
)

BLEED = Sphere(Segment.MICROBLEED, (-30.0, 40.0, 20.0), 10.0)


def _centroid(volume: Volume, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(volume.grid.to_lps(np.argwhere(mask)).mean(axis=0))


def _bright_near(volume: Volume, centre: tuple[float, float, float], radius_mm: float) -> NDArray[np.bool_]:
    points = volume.grid.to_lps(np.argwhere(np.ones(volume.grid.shape, dtype=bool)))
    near = (np.linalg.norm(points - np.array(centre), axis=1) < radius_mm).reshape(volume.grid.shape)
    return np.asarray(near & (volume.array > 850))


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize(
    "landmark", [LEFT_LANDMARK, ANTERIOR_LANDMARK, SUPERIOR_LANDMARK], ids=["left", "anterior", "superior"]
)
def test_landmarks_lie_at_their_place_in_every_orientation(orientation: str, landmark: Sphere) -> None:
    grid = phantom_grid((60, 70, 70), (3.0, 3.0, 3.0), orientation)
    volume = phantom_volume("T2_FLAIR", grid, noise=0.0)
    bright = _bright_near(volume, landmark.centre_lps, landmark.diameter_mm)
    np.testing.assert_allclose(_centroid(volume, bright), landmark.centre_lps, atol=1.0)


def test_landmarks_tell_left_from_right_and_front_from_back() -> None:
    assert LEFT_LANDMARK.centre_lps[0] > 0  # x grows to the left
    assert ANTERIOR_LANDMARK.centre_lps[1] < 0  # y grows to the back
    assert SUPERIOR_LANDMARK.centre_lps[2] > 0  # z grows upwards
    volume = phantom_volume("T1", phantom_grid((31, 31, 31), (6.0, 6.0, 6.0)), noise=0.0)
    for axis in range(3):
        assert not np.array_equal(volume.array, np.flip(volume.array, axis))


def test_motion_carries_the_head_along() -> None:
    motion = rigid((0.0, 0.0, 90.0), (5.0, 0.0, -3.0))
    # a quarter turn about z takes x to y and y to -x
    expected = (-40.0 + 5.0, -30.0, 20.0 - 3.0)
    grid = phantom_grid((80, 100, 100), (2.0, 2.0, 2.0))
    volume = phantom_volume("T2_STAR", grid, lesions=[BLEED], motion=motion, noise=0.0)
    plain = phantom_volume("T2_STAR", grid, motion=motion, noise=0.0)
    np.testing.assert_allclose(_centroid(volume, volume.array != plain.array), expected, atol=0.7)


def test_lesions_show_only_in_their_contrasts() -> None:
    grid = phantom_grid((40, 50, 50), (4.0, 4.0, 4.0))
    for kind, seen in ((PhantomKind.T2_STAR, True), (PhantomKind.T1, False), (PhantomKind.T2_FLAIR, False)):
        plain = phantom_volume(kind, grid, noise=0.0)
        marked = phantom_volume(kind, grid, lesions=[BLEED], noise=0.0)
        assert (not np.array_equal(plain.array, marked.array)) is seen


def test_noise_follows_the_seed() -> None:
    grid = phantom_grid((3, 20, 20), (30.0, 10.0, 10.0))
    first, same, other = (phantom_volume("T1", grid, seed=seed).array for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
