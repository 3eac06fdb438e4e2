"""Outlines run along the edges of pixels and close."""

from __future__ import annotations

import numpy as np
import pytest

from node.results.outlines import outlines


def area(line: np.ndarray) -> float:
    """Return the area that a closed line encloses, positive if clockwise on the screen (shoelace formula)."""
    x, y = line[:-1].T
    following_x, following_y = line[1:].T
    return float((x * following_y - following_x * y).sum() / 2)


@pytest.mark.parametrize(
    ("picture", "areas"),
    [
        pytest.param(["#"], [1], id="one-pixel"),
        pytest.param(["##", "##"], [4], id="square"),
        pytest.param(["###", "#.#", "###"], [9, -1], id="ring"),
        pytest.param(["#.", ".#"], [1, 1], id="corner-to-corner"),
        pytest.param(["#..", "##.", ".##"], [5], id="stairs"),
        pytest.param(["...", "..."], [], id="empty"),
    ],
)
def test_outlines_enclose_the_mask(picture: list[str], areas: list[float]) -> None:
    mask = np.array([[sign == "#" for sign in row] for row in picture])
    lines = list(outlines(mask))
    assert sorted(area(line) for line in lines) == sorted(areas)
    for line in lines:
        assert tuple(line[0]) == tuple(line[-1])


def test_corners_are_in_columns_and_rows_from_the_upper_left() -> None:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1, 2:5] = True  # row 1, columns 2 to 4
    (line,) = outlines(mask)
    assert {tuple(corner) for corner in line} == {(2, 1), (5, 1), (5, 2), (2, 2)}
    assert len(line) == 5
