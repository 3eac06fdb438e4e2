"""A Study of many slices with findings, in the forms that both sides of ``benchmarks.results`` read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Grid
from node.model import SourceVolume
from node.results.segment_concepts import SEGMENT_CONCEPTS
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume, write_series
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    finding,
    source_from,
)

Mask = NDArray[np.bool_]

SIDE_PX = 256
SOURCE, LABELS, DESCRIPTION = "source", "labels.nii", "meta.json"


def write_study(folder: Path, slices: int, lesions_each: int) -> None:
    """Write a T2-FLAIR of one Instance a slice, one label image, and what dcmqi reads beside it."""
    grid = phantom_grid((slices, SIDE_PX, SIDE_PX), (0.45, 0.9, 0.9))
    write_series(
        phantom_volume(PhantomKind.T2_FLAIR, grid), PATTERN_OF[SeriesType.T2_FLAIR], folder / SOURCE,
        study_uid=STUDY_UID, frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1,
    )  # fmt: skip
    masks = _make_masks(grid, lesions_each)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, mask in enumerate(masks.values(), 1):
        labels[mask] = number
    # NIfTI counts (column, row, slice) in RAS.
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), folder / LABELS)  # type: ignore[no-untyped-call]
    (folder / DESCRIPTION).write_text(json.dumps(_description(masks)))


def read_source(folder: Path) -> SourceVolume:
    """Read the T2-FLAIR as the node does."""
    return source_from(sorted((folder / SOURCE).iterdir()))


def read_masks(folder: Path) -> dict[Segment, Mask]:
    """Read the masks, each (slices, rows, columns)."""
    labels = np.asarray(nibabel.load(folder / LABELS).dataobj).transpose(2, 1, 0)  # type: ignore[attr-defined]
    return {segment: labels == number for number, segment in enumerate(Segment, 1)}


def measure_findings(source: SourceVolume, masks: Mapping[Segment, Mask]) -> StudyFindings:
    """Return the masks as findings on the T2-FLAIR, each by itself and all together."""
    grid = source.volume.grid
    found = tuple(finding(segment, SeriesType.T2_FLAIR, mask, grid) for segment, mask in masks.items())
    return StudyFindings(found, (), combined={one.segment: one.mask for one in found})


def _make_masks(grid: Grid, lesions_each: int) -> dict[Segment, Mask]:
    """Return disjoint masks, each with a voxel on every slice and lesions beside that."""
    masks = {}
    random = np.random.default_rng(0)
    for number, segment in enumerate(Segment):
        mask = np.zeros(grid.shape, dtype=bool)
        mask[:, 40 + 50 * number : 52 + 50 * number, 30:44] = True
        for _ in range(lesions_each):
            at, row, column = random.integers((0, 0, 60), (grid.shape[0] - 6, 36, 240))
            mask[at : at + 6, 40 + 50 * number + row : 46 + 50 * number + row, column : column + 6] = True
        masks[segment] = mask
    return masks


def _description(masks: Mapping[Segment, Mask]) -> dict[str, object]:
    return {
        "ContentCreatorName": "Benchmark",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "SeriesDescription": "All segments",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "segmentAttributes": [[_described(number, segment) for number, segment in enumerate(masks, 1)]],
    }


def _described(number: int, segment: Segment) -> dict[str, object]:
    concept = SEGMENT_CONCEPTS[segment]

    def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
        return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}

    kind = concept.property_type
    return {
        "labelID": number,
        "SegmentDescription": concept.label,
        "SegmentAlgorithmType": "AUTOMATIC",
        "SegmentAlgorithmName": "benchmark",
        "SegmentedPropertyCategoryCodeSequence": code(
            "49755003", "SCT", "Morphologically Abnormal Structure"
        ),
        "SegmentedPropertyTypeCodeSequence": code(kind.value, kind.scheme_designator, kind.meaning),
        "recommendedDisplayRGBValue": list(concept.rgb),
    }
