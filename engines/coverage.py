"""How much of the head that one Series shows lies within another: what ends too early is told.

The head is counted down to ``HEAD_MM`` below the vertex. Further down a scan shows neck and jaw, which one
Series has and another has not on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.alignment import Alignment
from engines.head import Points, head_points
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume, mapped, without_blank_ends

HEAD_MM = 140.0
"""How far below the vertex the head is counted, mm. In 19 labelled heads of the development data that holds
93 to 100% of the brain, and a slab that just holds the brain covers at least 90% of it, level or turned by 10
degrees either way, and 84% if turned by 20 degrees: the rest is face."""

LEAST_SHARE = 0.85
"""A Series that covers less of the head is remarked on: a slice too few at an end is 1 to 5%. In the same
heads a slab that ends where the remark begins lacks 2 to 20% of the brain, 8% on average."""

NAMED_SIDE = 0.25
"""A side is named where at least this share of what lies on the fullest side lies."""

SIDES = (("right of", "left of"), ("in front of", "behind"), ("below", "above"))
"""Words for the negative and the positive direction along x, y and z of patient space."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a grid covers of some points.

    Attributes:
        share: of the points that lie in a voxel of the grid, 0 to 1.
        beyond_mm: how far others lie outside, by side in words, mm; the side with most of them first.
    """

    share: float
    beyond_mm: Mapping[str, float]


def cover(points_lps: Points, grid: Grid) -> Coverage:
    """Tell which share of points lies in a grid, and where the rest lies.

    Args:
        points_lps: (n, 3) LPS mm, n at least 1, in the grid's patient space.
        grid: its voxels reach half a voxel around their centres, so gaps between slices are covered.
    """
    index = grid.to_index(points_lps)
    excess = index - np.clip(index, -0.5, np.array(grid.shape) - 0.5)
    outside = excess[np.any(excess != 0, axis=1)] @ grid.affine[:3, :3].T
    distance = np.linalg.norm(outside, axis=1)
    # Nearest direction of patient space: -x, +x, -y, +y, -z, +z are 0 to 5.
    axis = np.argmax(np.abs(outside), axis=1)
    side = 2 * axis + (outside[np.arange(len(outside)), axis] > 0)
    counts = np.bincount(side, minlength=6)
    least = max(1.0, NAMED_SIDE * counts.max())
    named = [one for one in np.argsort(-counts, kind="stable") if counts[one] >= least]
    beyond = {SIDES[one // 2][one % 2]: float(distance[side == one].max()) for one in named}
    return Coverage(1 - len(outside) / len(points_lps), beyond)


def coverage_remarks(
    looked_on: Mapping[SeriesType, Sequence[Segment]],
    seen_beside: Mapping[tuple[SeriesType, SeriesType], Sequence[Segment]],
    volumes: Mapping[SeriesType, Volume],
    alignment: Alignment,
) -> Iterator[str]:
    """Say of each Series that covers clearly less of the head than another one that it does.

    One that masks lie on is compared with whichever shows most beyond it, a second one that a network saw
    with the one that the mask lies on. A Series whose place among the others is not known takes no part.

    Args:
        looked_on: the Series that masks lie on, with the segments that were looked for there.
        seen_beside: by such a Series and a second one that networks saw beside it, the segments.
        volumes: the Study's usable volumes.
        alignment: relates them.
    """
    heads = {
        kind: mapped(head_points(volume), np.linalg.inv(alignment.reference_to(kind)))
        for kind, volume in volumes.items()
        if alignment.is_placed(kind)
    }
    compared = [
        (kind, [other for other in heads if other is not kind], "not looked at", segments)
        for kind, segments in looked_on.items()
        if kind in heads
    ] + [
        (second, [first], f"looked at without {second.label}", segments)
        for (first, second), segments in seen_beside.items()
        if first in heads and second in heads
    ]
    for kind, others, done, segments in compared:
        grid, there = without_blank_ends(volumes[kind]).grid, alignment.reference_to(kind)
        covered = {
            other: _covered(heads[other], heads[kind], there, grid) for other in others if len(heads[other])
        }
        fullest = min(covered, key=lambda other: covered[other].share, default=None)
        if fullest is not None and covered[fullest].share < LEAST_SHARE:
            yield _sentence(kind, fullest, covered[fullest], done, segments)


def field_remarks(segment: Segment, volume: Volume, field: Grid) -> Iterator[str]:
    """Say so if a network that crops slices saw clearly less of the head than the Series shows.

    Args:
        segment: what it looked for.
        volume: the Series that the mask lies on.
        field: the part of its grid that the network saw.
    """
    if field.shape == volume.grid.shape:
        return
    head = head_points(volume)
    covered = cover(head, field) if len(head) else None
    if covered is not None and covered.share < LEAST_SHARE:
        yield (
            f"{segment.label} was looked for on {int(100 * covered.share)}% of the head; what lies "
            f"{_sides(covered, 'the field of the network')} was not looked at"
        )


def _covered(shown: Points, own: Points, reference_to_grid: NDArray[np.float64], grid: Grid) -> Coverage:
    """Compare the head that another Series shows with a Series' grid.

    Args:
        shown: (n, 3) the head on the other Series, LPS mm of the reference, n at least 1.
        own: (m, 3) the head on the Series itself, which may show the vertex where the other one does not.
        reference_to_grid: (4, 4) from the reference's patient space to the grid's.
        grid: of the Series.
    """
    whole = cover(mapped(shown, reference_to_grid), grid)
    tops = [shown, own] if whole.share > 0 and len(own) else [shown]
    vertex = max(float(points[:, 2].max()) for points in tops)
    counted = shown[shown[:, 2] > vertex - HEAD_MM]
    return cover(mapped(counted, reference_to_grid), grid) if len(counted) else whole


def _sentence(
    kind: SeriesType, other: SeriesType, covered: Coverage, done: str, segments: Sequence[Segment]
) -> str:
    looked_for = ", ".join(segment.label.lower() for segment in segments)
    return (
        f"{kind.label} covers {int(100 * covered.share)}% of the head that {other.label} shows, counted to "
        f"{HEAD_MM:.0f} mm below the vertex; what lies {_sides(covered, 'it')} was {done} ({looked_for})"
    )


def _sides(covered: Coverage, what: str) -> str:
    """Say how far the head reaches beyond a grid: ``up to 40 mm below it``."""
    return " and ".join(f"up to {beyond:.0f} mm {side} {what}" for side, beyond in covered.beyond_mm.items())
