"""The node's Segmentation of a case: source files read, masks encoded and written by the node's own code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.segments import Segment
from node.model import SourceVolume
from node.results.forms import Form
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation
from node.results.source_header import read_source_header
from tests.support.result_studies import context, model_of, source_from
from tests.viewer.browser import SliceReference
from tests.viewer.cases import Case, painted_masks


@dataclass(frozen=True, slots=True)
class WrittenSegmentation:
    """A Segmentation on disk.

    Attributes:
        path: the Part 10 file.
        series_uid: Series Instance UID.
        source: the volume that the node read.
    """

    path: Path
    series_uid: str
    source: SourceVolume


def write_segmentation(case: Case, path: Path, encoding: Form = Form.BINARY) -> WrittenSegmentation:
    """Paint the case's lesions in patient space on the volume that the node read, and encode them."""
    source = source_from(case.files)
    masks = painted_masks(source.volume.grid, case.recipe.lesions)
    plan = SegmentationPlan(
        role="viewer",
        series_number=901,
        description="CSVD lesions",
        content_label="CSVD",
        masks=tuple(
            SegmentMask(segment, mask, model_of(segment), (), _graded(mask))
            for segment, mask in masks.items()
        ),
        encoding=encoding,
    )
    header = read_source_header(source, case.study_uid)
    dataset = build_segmentation(plan, source, header, context(study_uid=case.study_uid))
    dataset.save_as(path, enforce_file_format=True)
    return WrittenSegmentation(path, str(dataset.SeriesInstanceUID), source)


def _graded(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return probabilities that differ from row to row."""
    rows = np.linspace(0.1, 1.0, mask.shape[1], dtype=np.float32)
    return np.asarray(mask * rows[:, np.newaxis], dtype=np.float32)


def slice_references(source: SourceVolume) -> list[SliceReference]:
    """Return the image of each slice as DICOMweb addresses it."""
    return [SliceReference(frame.sop_instance_uid, frame.frame_number or 1) for frame in source.frames]


def telling_slices(masks: Mapping[Segment, NDArray[np.bool_]]) -> list[int]:
    """Choose the fewest slices that together show every segment; the middle one where there is none."""
    areas = {segment: mask.sum(axis=(1, 2)) for segment, mask in masks.items() if mask.any()}
    if not areas:
        return [next(iter(masks.values())).shape[0] // 2]
    chosen: list[int] = []
    while areas:
        present = sum((area > 0).astype(int) for area in areas.values())
        size = sum(area / area.max() for area in areas.values())
        best = int(np.lexsort((size, present))[-1])
        chosen.append(best)
        areas = {segment: area for segment, area in areas.items() if area[best] == 0}
    return sorted(chosen)
