"""DICOM Segmentations as marked points of patient space, through dcmqi."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from training.dicom_series import frame_of_reference, header_text, to_volume

MODEL_NAME, FRACTION_OF_ONE = "0008|1090", "0062|000e"
"""Manufacturer's Model Name, Maximum Fractional Value."""

NODE = "csvd-node"
"""Its fractional Segmentations are 0 outside the mask; of others half and more is marked."""

TOOL = "segimage2itkimage"
"""dcmqi's reader of Segmentations."""

TOOL_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class DicomSegment:
    """One segment of a Segmentation.

    Attributes:
        number: Segment Number.
        label: Segment Label.
        code: property type as ``SCHEME:VALUE``.
        points_lps: (n, 3) centres of its voxels, LPS mm.
    """

    number: int
    label: str
    code: str
    points_lps: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The segments of a file, and the Frame of Reference that they lie in ("" if it cannot be read)."""

    segments: tuple[DicomSegment, ...]
    frame_of_reference: str

    def points(self, values: Sequence[int], codes: Sequence[str]) -> NDArray[np.float64]:
        """Return (n, 3) LPS mm of the segments with one of these numbers or property types.

        Raises: ValueError: if there is none: not marked is not the same as nothing to mark.
        """
        chosen = [s.points_lps for s in self.segments if s.number in values or s.code in codes]
        if not chosen:
            held = ", ".join(f"{s.number} {s.code} {s.label}" for s in self.segments)
            wanted = ", ".join([*map(str, values), *codes])
            raise ValueError(f"no segment is {wanted}; it holds {held}")
        return np.concatenate(chosen)


def read_segmentation(path: Path) -> Segmentation:
    """Read all segments of a Segmentation: binary, fractional or label map.

    Raises: ValueError, RuntimeError: if it cannot be read.
    """
    tool = shutil.which(TOOL, path=sysconfig.get_path("scripts")) or shutil.which(TOOL)
    if tool is None:
        raise ValueError(f"{TOOL} is not installed; install the extra `train`")
    with tempfile.TemporaryDirectory() as folder:
        command = [tool, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii"]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program; its arguments are paths
                [str(part) for part in command], capture_output=True, check=False, timeout=TOOL_LIMIT_S
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"dcmqi did not read it within {TOOL_LIMIT_S:g} s") from error
        described = Path(folder) / "meta.json"
        if not described.is_file():
            raise ValueError(f"no Segmentation that dcmqi can read ({_complaint(done)})")
        attributes = json.loads(described.read_text(encoding="utf-8"))["segmentAttributes"]
        # a label map describes its background, too, as number 0
        held = [segment for group in attributes for segment in group if segment["labelID"]]
        segments = [_segment(Path(folder), one, _least(path)) for one in held]
    return Segmentation(tuple(segments), frame_of_reference(path))


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what dcmqi said last, other than that it ended."""
    lines = (done.stdout + b"\n" + done.stderr).decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith("terminate called")]
    return said[-1] if said else f"exit code {done.returncode}"


def _least(path: Path) -> float:
    """Return the least value of a marked voxel."""
    model, top = header_text(path, MODEL_NAME), header_text(path, FRACTION_OF_ONE)
    return float(top) / 2 if top and model != NODE else 1.0


def _segment(folder: Path, described: dict[str, Any], least: float) -> DicomSegment:
    number = int(described["labelID"])
    marked = to_volume(SimpleITK.ReadImage(str(folder / f"{number}.nii.gz")))
    kind = described["SegmentedPropertyTypeCodeSequence"]
    return DicomSegment(
        number=number,
        label=str(described.get("SegmentLabel", "")),
        code=f"{kind['CodingSchemeDesignator']}:{kind['CodeValue']}",
        points_lps=marked.grid.to_lps(np.argwhere(marked.array >= least)),
    )
