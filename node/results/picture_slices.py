"""Slices as a reader wants to see them: which ones, which way round, which grey.

Convention: a shown image is (down, right); the patient's left is on the viewer's right in axial and coronal
slices, the face on the viewer's left in sagittal ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.volume import Grid

_RIGHT_OF = {0: (0.0, 1.0, 0.0), 1: (1.0, 0.0, 0.0), 2: (1.0, 0.0, 0.0)}
_DOWN_OF = {0: (0.0, 0.0, -1.0), 1: (0.0, 0.0, -1.0), 2: (0.0, 1.0, 0.0)}
"""What should point right and down, LPS, where the slices' normal runs along x, y or z."""

_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))
"""Towards the negative and the positive side of x, y and z."""

SECOND_LETTER_FROM = 0.3
"""A direction that leans by more than this (the sine of 17 degrees) towards a second side names it too."""

_WINDOW_PERCENTILES, _WINDOW_MARGIN = (1.0, 99.5), 0.2
"""Dark and bright ends of the grey scale, in the head without this share at each side: the fat of the scalp
would else leave the brain in the dark. The bright end is the median of those of the slices: near the base of
the skull and the vertex fat lies in the middle, too."""

_HEADROOM = 1.15
"""How far beyond its bright end the window reaches, so that bright lesions keep their texture."""

_HEAD_IN_SLICES = 0.2
"""A pixel belongs to the head if it is bright in more than this share of the slices: noise is not."""

_SHOWN_LESION_WEIGHT = 0.05
"""What the area of a lesion that another slice shows already counts when the next slice is chosen;
less where that slice is near, since neighbours show the same."""


@dataclass(frozen=True, slots=True)
class View:
    """How the slices of a grid are shown.

    Attributes:
        is_transposed: rows of the array run to the right.
        flips_down: the first axis, after transposing, is turned round.
        flips_right: the second axis, after transposing, is turned round.
        down: unit vector that points down the screen, LPS.
        right: unit vector that points right on the screen, LPS.
        spacing_mm: of pixels along (down, right).
    """

    is_transposed: bool
    flips_down: bool
    flips_right: bool
    down: NDArray[np.float64]
    right: NDArray[np.float64]
    spacing_mm: tuple[float, float]

    def shown(self, image: NDArray[Any]) -> NDArray[Any]:
        """Turn a (rows, columns) slice into (down, right)."""
        turned = image.T if self.is_transposed else image
        return turned[:: -1 if self.flips_down else 1, :: -1 if self.flips_right else 1]

    @property
    def letters(self) -> tuple[str, str, str, str]:
        """The sides of the patient at the (left, right, top, bottom) edge."""
        return side(-self.right), side(self.right), side(-self.down), side(self.down)


def view_of(grid: Grid) -> View:
    """Choose the way round in which readers expect slices of this orientation."""
    rows, columns = (grid.affine[:3, axis] / np.linalg.norm(grid.affine[:3, axis]) for axis in (1, 2))
    plane = int(np.abs(np.cross(columns, rows)).argmax())
    wanted_right, wanted_down = np.array(_RIGHT_OF[plane]), np.array(_DOWN_OF[plane])
    is_transposed = abs(rows @ wanted_right) > abs(columns @ wanted_right)
    down, right = (columns, rows) if is_transposed else (rows, columns)
    _, rows_mm, columns_mm = grid.spacing_mm
    flips_down, flips_right = bool(down @ wanted_down < 0), bool(right @ wanted_right < 0)
    return View(
        is_transposed,
        flips_down,
        flips_right,
        -down if flips_down else down,
        -right if flips_right else right,
        (columns_mm, rows_mm) if is_transposed else (rows_mm, columns_mm),
    )


def side(direction: NDArray[np.float64]) -> str:
    """Name the side of the patient that a direction points to, with a second letter where it leans."""
    order = np.argsort(-np.abs(direction))[:2]
    named = [
        axis for place, axis in enumerate(order) if not place or abs(direction[axis]) > SECOND_LETTER_FROM
    ]
    return "".join(_LETTERS[axis][int(direction[axis] > 0)] for axis in named)


def head_threshold(array: NDArray[Any]) -> float:
    """Return a value between air and head: a tenth of the way up to the bright end."""
    low, high = (float(value) for value in np.percentile(array, (1.0, 99.5)))
    return low + 0.1 * (high - low)


def to_grey(array: NDArray[Any], volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Map values to grey with one window for all slices of a volume."""
    box = (slice(0, volume.shape[0]), *head_box(volume, (1.0, 1.0), 0.0))
    middle = volume[tuple(_inner(part) for part in box)]
    threshold = head_threshold(volume)
    in_slices = [plane[plane > threshold] for plane in middle]
    heads = [head for head in in_slices if head.size] or [volume]
    low = np.percentile(np.concatenate([head.ravel() for head in heads]), _WINDOW_PERCENTILES[0])
    high = np.median([np.percentile(head, _WINDOW_PERCENTILES[1]) for head in heads])
    scaled = (np.asarray(array, dtype=np.float32) - low) / max(float(high - low) * _HEADROOM, 1e-6)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)


def _inner(part: slice) -> slice:
    margin = int(_WINDOW_MARGIN * (part.stop - part.start))
    return slice(part.start + margin, part.stop - margin)


def head_box(volume: NDArray[Any], spacing_mm: tuple[float, float], margin_mm: float) -> tuple[slice, slice]:
    """Return (rows, columns) of the array that hold the head in any slice, with a margin."""
    flat = (volume > head_threshold(volume)).mean(axis=0) > _HEAD_IN_SLICES
    parts = []
    for axis in (0, 1):
        inside = np.flatnonzero(flat.any(axis=1 - axis))
        margin = round(margin_mm / spacing_mm[axis])
        size = flat.shape[axis]
        first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, size - 1)
        parts.append(slice(max(0, first - margin), min(size, last + margin + 1)))
    return parts[0], parts[1]


def telling_slices(labels: NDArray[np.int32], count: int) -> list[int]:
    """Choose the slices with most lesion area, lesions that no chosen slice shows coming first, then spread.

    Args:
        labels: (slices, rows, columns), lesion numbers.
        count: at most so many.

    Returns: slice indices, ascending; the middle one if there are no lesions.
    """
    numbers = int(labels.max(initial=0))
    if not numbers:
        return [labels.shape[0] // 2]
    areas = np.stack([np.bincount(plane.ravel(), minlength=numbers + 1)[1:] for plane in labels]).astype(
        float
    )
    filled = int((areas.sum(axis=1) > 0).sum())
    is_new, distance, chosen = np.ones(numbers), np.full(len(areas), np.inf), list[int]()
    while len(chosen) < min(count, filled):
        spread = np.minimum(1.0, distance * count / filled)
        scores = areas @ is_new + _SHOWN_LESION_WEIGHT * spread * (areas @ (1 - is_new))
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        is_new[areas[chosen[-1]] > 0] = 0
        distance = np.minimum(distance, np.abs(np.arange(len(areas)) - chosen[-1]))
    return sorted(chosen)
