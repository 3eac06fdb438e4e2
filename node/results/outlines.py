"""The borders of masks as closed lines along the edges of pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def outlines(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    """Trace each border of a mask, those of holes too.

    Args:
        mask: (rows, columns).

    Yields: (n, 2) column and row of corners, the first one again at the end; the upper left corner of the
        upper left pixel is (0, 0), as in Pixel units of a Graphic Annotation (PS3.3 C.10.5.1.2).
    """
    following = _edges(mask)
    while following:
        start = next(iter(following))
        line, heading = [start], None
        while True:
            options = following[line[-1]]
            # Where two pixels touch by a corner, turning right keeps them apart.
            step = (
                options[0]
                if len(options) == 1 or heading is None
                else _right_turn(heading, options, line[-1])
            )
            options.remove(step)
            if not options:
                del following[line[-1]]
            heading = (step[0] - line[-1][0], step[1] - line[-1][1])
            line.append(step)
            if step == start:
                break
        yield np.array(_without_straight_corners(line), dtype=np.float64)


_Corner = tuple[int, int]


def _edges(mask: NDArray[np.bool_]) -> dict[_Corner, list[_Corner]]:
    """Return each edge of the mask by its first corner, with the mask at its right hand."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    following: dict[_Corner, list[_Corner]] = {}
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # at the right: down
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # below: to the left
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # at the left: up
    )
    for neighbour, first, last in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            begin = (column + first[0], row + first[1])
            following.setdefault(begin, []).append((column + last[0], row + last[1]))
    return following


def _right_turn(heading: _Corner, options: list[_Corner], at: _Corner) -> _Corner:
    right = (-heading[1], heading[0])
    wanted = (at[0] + right[0], at[1] + right[1])
    return wanted if wanted in options else options[0]


def _without_straight_corners(line: list[_Corner]) -> list[_Corner]:
    ring = line[:-1]
    kept = [
        corner
        for before, corner, after in zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
        if (corner[0] - before[0]) * (after[1] - corner[1])
        != (corner[1] - before[1]) * (after[0] - corner[0])
    ]
    return [*kept, kept[0]]
