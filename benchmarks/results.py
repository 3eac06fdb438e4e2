"""Seconds for SEG and SR of a Study of 400 slices and four segments, beside dcmqi on the same masks.

The node encodes what it found, which it holds in memory: a SEG for each segment, one of all segments on each
slice (1600 frames), and the SR. dcmqi's itkimage2segimage reads the images and one label image and writes
the SEG of all segments; it writes no SR. Both sides run on one core, in one run. CPU seconds are printed
beside the clock: on a busy machine they tell more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydicom import dcmread

from engines.findings import StudyFindings
from engines.segments import Segment, SeriesType
from engines.volume import Grid
from node.model import SourceVolume
from node.results.build import build_results
from node.results.files import encode
from node.results.segment_concepts import SEGMENT_CONCEPTS
from tests.support.phantoms import PhantomKind, phantom_grid, phantom_volume, write_series
from tests.support.result_studies import (
    FRAME_OF_REFERENCE_UID,
    PATTERN_OF,
    STUDY_UID,
    context,
    finding,
    source_from,
)

Mask = NDArray[np.bool_]

LESIONS_EACH = 40
"""Lesions of each segment beside the one that reaches through all slices."""


def make_source(folder: Path, slices: int) -> SourceVolume:
    """Write a T2-FLAIR of one Instance a slice and read it as the node does."""
    volume = phantom_volume(PhantomKind.T2_FLAIR, phantom_grid((slices, 256, 256), (0.45, 0.9, 0.9)))
    paths = write_series(
        volume, PATTERN_OF[SeriesType.T2_FLAIR], folder, study_uid=STUDY_UID,
        frame_of_reference_uid=FRAME_OF_REFERENCE_UID, series_number=1,
    )  # fmt: skip
    return source_from(paths)


def make_masks(grid: Grid) -> dict[Segment, Mask]:
    """Return disjoint masks, each with a voxel on every slice and ``LESIONS_EACH`` lesions beside that."""
    masks = {}
    random = np.random.default_rng(0)
    for number, segment in enumerate(Segment):
        mask = np.zeros(grid.shape, dtype=bool)
        mask[:, 40 + 50 * number : 52 + 50 * number, 30:44] = True
        for _ in range(LESIONS_EACH):
            at, row, column = random.integers((0, 0, 60), (grid.shape[0] - 6, 36, 240))
            mask[at : at + 6, 40 + 50 * number + row : 46 + 50 * number + row, column : column + 6] = True
        masks[segment] = mask
    return masks


def make_findings(source: SourceVolume, masks: Mapping[Segment, Mask]) -> StudyFindings:
    """Return the masks as findings on the T2-FLAIR, each by itself and all together."""
    grid = source.volume.grid
    found = tuple(finding(segment, SeriesType.T2_FLAIR, mask, grid) for segment, mask in masks.items())
    return StudyFindings(found, (), combined={one.segment: one.mask for one in found})


def write_label_image(source: SourceVolume, masks: Mapping[Segment, Mask], folder: Path) -> list[str]:
    """Write what itkimage2segimage reads: labels, names and codes; return its options."""
    labels = np.zeros(source.volume.grid.shape, dtype=np.uint8)
    for number, mask in enumerate(masks.values(), 1):
        labels[mask] = number
    # NIfTI counts (column, row, slice) in RAS.
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ source.volume.grid.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), folder / "labels.nii")  # type: ignore[no-untyped-call]
    described = [_described(number, segment) for number, segment in enumerate(masks, 1)]
    (folder / "meta.json").write_text(
        json.dumps(
            {
                "ContentCreatorName": "Benchmark",
                "ClinicalTrialSeriesID": "1",
                "ClinicalTrialTimePointID": "1",
                "SeriesDescription": "All segments",
                "SeriesNumber": "300",
                "InstanceNumber": "1",
                "segmentAttributes": [described],
            }
        )
    )
    return [
        "--inputImageList", str(folder / "labels.nii"), "--inputMetadata", str(folder / "meta.json"),
        "--inputDICOMDirectory", str(source.paths[0].parent), "--outputDICOM", str(folder / "dcmqi.dcm"),
    ]  # fmt: skip


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


def measured(work: Callable[[], object], who: int) -> tuple[float, float]:
    """Run and return (seconds by the clock, CPU seconds) of this process or of its children."""
    before, began = resource.getrusage(who), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - began, resource.getrusage(who)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure both sides in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = make_source(folder / "source", arguments.slices)
        masks = make_masks(source.volume.grid)
        findings = make_findings(source, masks)
        sources = {SeriesType.T2_FLAIR: source}
        command = [str(Path(sysconfig.get_path("scripts")) / "itkimage2segimage")]
        command += write_label_image(source, masks, folder)

        def combined() -> None:
            (folder / "node.dcm").write_bytes(encode(build_results(findings, sources, context())[4]))

        sides: dict[str, tuple[Callable[[], object], int]] = {
            "node: all SEGs and SR": (
                lambda: [encode(made) for made in build_results(findings, sources, context())],
                resource.RUSAGE_SELF,
            ),
            "dcmqi: SEG": (
                lambda: subprocess.run(command, check=True, capture_output=True),
                resource.RUSAGE_CHILDREN,
            ),
        }
        times = {name: [measured(*side) for _ in range(arguments.rounds)] for name, side in sides.items()}
        combined()
        written = {name: dcmread(folder / name) for name in ("node.dcm", "dcmqi.dcm")}
        frames = {name: int(dataset.NumberOfFrames) for name, dataset in written.items()}
    lesions = sum(len(found.lesions) for found in findings.findings)
    print(f"{arguments.slices} slices of 256 x 256, {len(Segment)} segments, {lesions} lesions, one core")
    print(f"frames of the SEG of all segments: node {frames['node.dcm']}, dcmqi {frames['dcmqi.dcm']}")
    for name, pairs in times.items():
        clock, cpu = (min(values) for values in zip(*pairs, strict=True))
        print(f"{name:24s} {clock:6.2f} s by the clock, {cpu:6.2f} s of CPU (best of {len(pairs)})")


if __name__ == "__main__":
    main()
