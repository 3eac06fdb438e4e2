"""Recommended display colours can be read on grey, by distance in CIELab and not by taste.

Source: PS3.3 C.10.7.1.1 (encoding of CIELab values); CIE 1976 colour difference, of which 2.3 are just
noticeable (Mahy, Van Eycken, Oosterlinck 1994); Machado, Oliveira, Fernandes 2009 (colour vision deficiency).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.segments import Segment
from node.results.result_object import ResultObject
from node.results.segment_concepts import SEGMENT_CONCEPTS

Colours = NDArray[np.float64]

JUST_NOTICEABLE = 2.3
AT_A_GLANCE = 15 * JUST_NOTICEABLE
"""What a colour keeps from every grey and from every other segment, for most eyes."""

TOLD_APART = 6 * JUST_NOTICEABLE
"""The same for eyes that lack one kind of cone."""

VISION = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
"""How linear red, green and blue are seen without one kind of cone (Machado 2009, severity 1)."""

GREYS: Colours = np.stack([np.linspace(0, 100, 256), np.zeros(256), np.zeros(256)], axis=1)
"""CIELab of every grey."""


def lab_of(described: object) -> Colours:
    """Decode Recommended Display CIELab Value."""
    lightness, a, b = (value / 65535 for value in described.RecommendedDisplayCIELabValue)  # type: ignore[attr-defined]
    return np.array([lightness * 100, a * 255 - 128, b * 255 - 128])


def to_lab(linear_rgb: Colours) -> Colours:
    """Turn linear sRGB of 0 to 1 into CIELab for the white point D65 (IEC 61966-2-1, CIE 15)."""
    xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    relative = xyz @ np.clip(linear_rgb, 0, 1) / (0.95047, 1.0, 1.08883)
    x, y, z = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def linear(rgb: tuple[int, int, int]) -> Colours:
    """Take the gamma from 8-bit sRGB."""
    share = np.array(rgb) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def from_greys(lab: Colours) -> float:
    return float(np.linalg.norm(GREYS - lab, axis=1).min())


@pytest.fixture(scope="module")
def encoded(results: dict[str, ResultObject]) -> list[Colours]:
    return [lab_of(item) for item in results["seg-combined"].dataset.SegmentSequence]


def test_colour_is_seen_on_any_grey(encoded: list[Colours]) -> None:
    assert min(map(from_greys, encoded)) >= AT_A_GLANCE


def test_colours_of_segments_differ_from_each_other(encoded: list[Colours]) -> None:
    assert min(np.linalg.norm(one - other) for one, other in combinations(encoded, 2)) >= AT_A_GLANCE


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_without_one_kind_of_cone(vision: str) -> None:
    seen = [to_lab(np.array(VISION[vision]) @ linear(concept.rgb)) for concept in SEGMENT_CONCEPTS.values()]
    assert min(map(from_greys, seen)) >= TOLD_APART
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) >= TOLD_APART


def test_encoded_colour_is_the_one_that_is_computed_from_its_rgb(encoded: list[Colours]) -> None:
    for lab, segment in zip(encoded, Segment, strict=True):
        assert np.linalg.norm(lab - to_lab(linear(SEGMENT_CONCEPTS[segment].rgb))) < JUST_NOTICEABLE


@pytest.mark.parametrize("grey", [(128, 128, 128), (140, 128, 120)])
def test_a_greyish_colour_would_be_noticed(grey: tuple[int, int, int]) -> None:
    assert from_greys(to_lab(linear(grey))) < TOLD_APART
