"""Points of the report by which viewers find the place of a measurement group.

A point on an image comes first: a viewer then opens the right Series at the right slice, where a point in
patient space alone leads to whichever Series of the Frame of Reference it lists first. The point in patient
space is exact, and all there is for a mosaic, whose tiles are no images of their own.

Source: PS3.3 C.18.6 (SCOORD: columns and rows from the corner of the first pixel), C.18.9 (SCOORD3D).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from node.model import SourceVolume
from node.results import codes
from node.results.content_items import INFERRED_FROM, SELECTED_FROM, ContentItem, image, point, point_3d

_INSET = 0.06
"""Share of the image between its corner and the place of a summary: outside the head, inside the picture."""


def lesion_marker(centroid_lps_mm: tuple[float, float, float], source: SourceVolume) -> list[ContentItem]:
    """Return the points that mark a lesion's centroid."""
    index = source.volume.grid.to_index(np.array([centroid_lps_mm]))[0]
    return _marker(codes.CENTER, index, source)


def lesion_place(centroid_lps_mm: tuple[float, float, float], source: SourceVolume) -> ContentItem:
    """Return the lesion's centroid as what a number was inferred from.

    The reader of @cornerstonejs/adapters looks for the place of a group nowhere but under its first number.
    """
    return point_3d(codes.CENTER, centroid_lps_mm, source.frame_of_reference_uid, INFERRED_FROM)


def summary_marker(source: SourceVolume) -> list[ContentItem]:
    """Return the points where a viewer shows the summary of a segment: a corner of the middle slice.

    The OHIF Viewer shows nothing of a report if one of its groups has no point.
    """
    slices, rows, columns = source.volume.grid.shape
    index = np.array([slices // 2, round(rows * _INSET), round(columns * _INSET)], dtype=float)
    return _marker(codes.SUMMARY_PLACE, index, source)


def _marker(name: Code, index: NDArray[np.float64], source: SourceVolume) -> list[ContentItem]:
    """Return the points at an index (slice, row, column) of a source."""
    lps_mm = source.volume.grid.to_lps(index[np.newaxis])[0]
    in_space = point_3d(name, lps_mm.tolist(), source.frame_of_reference_uid)
    if source.is_mosaic:
        return [in_space]
    frame = source.frames[int(np.clip(round(index[0]), 0, len(source.frames) - 1))]
    numbers = () if frame.frame_number is None else (frame.frame_number,)
    shown_on = image(codes.SOURCE, frame.sop_class_uid, frame.sop_instance_uid, numbers, SELECTED_FROM)
    return [point(name, (index[2] + 0.5, index[1] + 0.5), shown_on), in_space]
