"""The masks of all segments on the T2-FLAIR's grid, of which each voxel belongs to one at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.alignment import Alignment
from engines.exclusion import disjoint
from engines.findings import SegmentFinding
from engines.resampling import resample
from engines.segments import Segment, SeriesType
from engines.volume import Volume


def combine(
    findings: Sequence[SegmentFinding], flair: Volume | None, alignment: Alignment
) -> tuple[dict[Segment, Volume], list[str]]:
    """Bring all masks onto the T2-FLAIR's grid without overlap.

    Args:
        findings: of the assessed segments, each on the grid of its own Series.
        flair: the T2-FLAIR, if there is a usable one.
        alignment: relates the Series.

    Returns: masks of bool by segment, empty without a T2-FLAIR, and a sentence for each segment that they
        leave out or lose lesions of.
    """
    if flair is None:
        return {}, []
    masks: dict[Segment, Volume] = {}
    # Where the lesions of a segment lie on the grid, as flat indices, and which each voxel belongs to.
    places: dict[Segment, tuple[NDArray[np.int64], NDArray[np.int32]]] = {}
    unseen: list[str] = []
    for found in findings:
        if not alignment.is_placed(found.series_type):
            unseen.append(
                f"{found.segment.label} is only in the segmentation of the {found.series_type.label}, whose "
                f"place in the {SeriesType.T2_FLAIR.label} is not known"
            )
            continue
        labels = found.mask.with_array(found.labels)
        there = resample(labels, flair.grid, alignment.reference_to(found.series_type)).array
        inside = np.flatnonzero(there)
        places[found.segment] = inside, there.ravel()[inside]
        masks[found.segment] = Volume(there > 0, flair.grid)
    combined = disjoint(masks)
    for found in findings:
        if found.segment in combined:
            inside, numbers = places[found.segment]
            kept = numbers[combined[found.segment].array.ravel()[inside]]
            unseen.extend(_lost(found, len(np.unique(numbers)), len(np.unique(kept))))
    return combined, unseen


def _lost(found: SegmentFinding, there: int, left: int) -> Iterator[str]:
    """Say how many lesions the combined masks lack.

    Args:
        found: the segment's lesions.
        there: number of them that lie on the T2-FLAIR's grid.
        left: number of these that keep a voxel.
    """
    everything, label = len(found.lesions), found.segment.label.lower()
    if there < everything:
        yield (
            f"{everything - there} of {everything} lesions ({label}) between the slices of the "
            f"{SeriesType.T2_FLAIR.label} or outside it: only in the segmentation of the "
            f"{found.series_type.label}"
        )
    if left < there:
        yield (
            f"{there - left} of {everything} lesions ({label}) lie wholly in lesions of other segments, "
            f"which keep the voxels in the segmentation of all segments, and are only in that of the "
            f"{found.series_type.label} alone"
        )
