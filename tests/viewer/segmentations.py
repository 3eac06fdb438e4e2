"""The node's Segmentation of a case: source files read, masks encoded and written by the node's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.findings import ModelIdentity
from engines.segments import Segment
from node.header_reader import read_image_header
from node.model import SourceVolume
from node.results.context import EvaluationContext
from node.results.seg import SegmentationPlan, SegmentMask, build_segmentation
from node.results.source_header import read_source_header
from node.stacks import split_stacks
from node.volume_reader import read_volume
from tests.viewer.browser import SliceReference
from tests.viewer.cases import Case, painted_masks

MODEL = ModelIdentity("painted", "1.0", "0" * 64, "none")


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


def read_source(case: Case) -> SourceVolume:
    """Read the case's Series as the node reads it."""
    headers = [read_image_header(path) for path in case.files]
    (stack,) = split_stacks(headers)
    paths = {header.sop_instance_uid: path for header, path in zip(headers, case.files, strict=True)}
    return read_volume(stack, paths)


def evaluation_of(study_uid: str) -> EvaluationContext:
    """Return the context of the one evaluation of a Study."""
    return EvaluationContext(
        study_uid=study_uid,
        fingerprint=hashlib.sha256(study_uid.encode()).hexdigest(),
        created_at=datetime(2024, 1, 15, 10, tzinfo=UTC),
        software_version="0",
        ae_title="CSVD",
        station_name="test",
    )


def write_segmentation(case: Case, path: Path) -> WrittenSegmentation:
    """Paint the case's lesions in patient space on the volume that the node read, and encode them."""
    source = read_source(case)
    masks = painted_masks(source.volume.grid, case.recipe.lesions)
    plan = SegmentationPlan(
        role="viewer",
        series_number=901,
        description="CSVD lesions",
        content_label="CSVD",
        masks=tuple(SegmentMask(segment, mask, MODEL) for segment, mask in masks.items()),
    )
    context = evaluation_of(case.study_uid)
    dataset = build_segmentation(plan, source, read_source_header(source, case.study_uid), context)
    dataset.save_as(path, enforce_file_format=True)
    return WrittenSegmentation(path, str(dataset.SeriesInstanceUID), source)


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
