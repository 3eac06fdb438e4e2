"""Which painted lesions a reader would mark: those that fill enough of a voxel and stand out of the noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.components import label
from engines.segments import Segment

BRIGHT: Mapping[Segment, bool] = {
    Segment.WMH: True,
    Segment.LACUNE: False,
    Segment.INFARCT: True,
    Segment.MICROBLEED: False,
}
"""Whether a lesion is brighter than what is around it on its own Series, else darker (STRIVE-2, 2023)."""

FAINTEST = 0.28
"""A lesion that fills less of its best voxel than this cannot be seen, and is not marked."""

FAINTEST_CONTRAST = 0.08
"""A small lesion that differs by less of the brightness around it is not marked; chosen by looking."""

DETECTABLE: Mapping[Segment, float] = {
    Segment.WMH: 0.0,
    Segment.LACUNE: 5.0,
    Segment.INFARCT: 5.0,
    Segment.MICROBLEED: 5.0,
}
"""Smallest contrast, in units of the spread around divided by the root of the lesion's pixels. Source: Rose,
J Opt Soc Am 1948: a detail of less than about five times its noise is not seen. Rims beside the ventricles
are seen by their length, so that white matter hyperintensities are not measured by it."""

SMALL_VOXELS = 300
"""Lesions of more voxels are seen by their size alone."""

NEAR_PIXELS = 6
"""How far around a lesion a reader compares, pixels."""

TISSUE = (0.6, 1.6)
"""Brightness of what a lesion is compared with, as a share of the median around it: no CSF, no air."""

SPREAD_PER_DEVIATION = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""

IN_PLANE = np.ones((3, 3), np.bool_)


def visible(occupancy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark lesions as a reader outlines them: each down to half of its own highest occupancy.

    A small lesion in a thick slice fills no voxel, and is marked all the same; one that fills less than
    ``FAINTEST`` of its best voxel is not.
    """
    parts, count = label(occupancy > FAINTEST / 2)
    if not count:
        return np.zeros(occupancy.shape, np.bool_)
    threshold = np.full(count + 1, np.inf, np.float32)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        highest = float(occupancy[box][parts[box] == number].max())
        if highest >= FAINTEST:
            threshold[number] = highest / 2
    marked: NDArray[np.bool_] = occupancy > threshold[parts]
    return marked


def drop_unseen(mask: NDArray[np.bool_], image: NDArray[np.int16], segment: Segment) -> NDArray[np.bool_]:
    """Leave out small lesions that no reader would mark: lost in the noise or in what is around them.

    Args:
        mask: lesions.
        image: of the Series that they are looked for on, same shape; 0 where there is no image.
        segment: what kind of lesion they are.
    """
    parts, _ = label(mask)
    kept = mask.copy()
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        wide = tuple(
            slice(max(0, side.start - reach), side.stop + reach)
            for side, reach in zip(box, (0, NEAR_PIXELS, NEAR_PIXELS), strict=True)
        )
        inside = parts[wide] == number
        if inside.sum() <= SMALL_VOXELS and not _is_seen(inside, parts[wide] > 0, image[wide], segment):
            kept[wide][inside] = False
    return kept


def _is_seen(
    inside: NDArray[np.bool_], lesions: NDArray[np.bool_], image: NDArray[np.int16], segment: Segment
) -> bool:
    """Tell whether a lesion stands out on any slice: enough of the brightness around, and of its spread."""
    return any(
        _stands_out(one, others, pixels, segment)
        for one, others, pixels in zip(inside, lesions, image, strict=True)
        if one.any()
    )


def _stands_out(
    inside: NDArray[np.bool_], lesions: NDArray[np.bool_], pixels: NDArray[np.int16], segment: Segment
) -> bool:
    near = ndimage.binary_dilation(inside, IN_PLANE, iterations=NEAR_PIXELS - 1)
    # The pixels that touch a lesion hold a part of it, and say nothing of what is around.
    around = pixels[near & ~ndimage.binary_dilation(lesions, IN_PLANE) & (pixels > 0)]
    if not around.size:
        return False
    first = float(np.median(around))
    around = around[(around >= TISSUE[0] * first) & (around <= TISSUE[1] * first)]
    level = float(np.median(around))
    spread = SPREAD_PER_DEVIATION * float(np.median(np.abs(around - level)))
    contrast = (float(pixels[inside].mean()) - level) * (1 if BRIGHT[segment] else -1)
    detail = contrast * float(np.sqrt(inside.sum()))
    return contrast >= FAINTEST_CONTRAST * level and detail >= DETECTABLE[segment] * spread
