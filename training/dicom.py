"""Images and Segmentations of DICOM as volumes and masks, through SimpleITK (GDCM) and dcmqi.

Convention: volumes have slices from bottom to top, rows to the back, columns to the left, as nearly as their
orientation allows by swapping and flipping axes.
"""

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

from engines.volume import Grid, Volume

POSITION, ORIENTATION, FRAME_OF_REFERENCE = "0020|0032", "0020|0037", "0020|0052"
"""Image Position (Patient), Image Orientation (Patient), Frame of Reference UID."""

UNEVEN = 0.1
"""Largest deviation of a slice distance from the mean, as a share; more means that a slice is missing."""

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
    """The segments of a file, and the Frame of Reference that they lie in ("" if it can not be read)."""

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


def read_series(path: Path) -> Volume:
    """Read the one Series of a folder, or one multi-frame file.

    Returns: Volume of float32.
    Raises: ValueError, RuntimeError: if there is not exactly one Series, slices are missing, or several
        images lie in the same place (b-values or echoes in one folder).
    Source: DICOM PS3.3 C.7.6.2.1.1.
    """
    names = [str(path)] if path.is_file() else _files_of(path)
    if len(names) > 1:
        _check_stack(names)
    image = SimpleITK.ReadImage(names if len(names) > 1 else names[0])
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{image.GetDimension()} axes, expected one grey volume")
    return _volume(SimpleITK.DICOMOrient(image, "LPS"))


def frame_of_reference(path: Path) -> str:
    """Return the Frame of Reference UID of a Series' folder or of a file; "" if it has none."""
    return _header(str(path) if path.is_file() else _files_of(path)[0], [FRAME_OF_REFERENCE])[0]


def read_segmentation(path: Path) -> Segmentation:
    """Read all segments of a Segmentation: binary, fractional (above zero) or label map.

    Raises: ValueError, RuntimeError: if it can not be read.
    """
    tool = shutil.which(TOOL, path=sysconfig.get_path("scripts")) or shutil.which(TOOL)
    if tool is None:
        raise ValueError(f"{TOOL} is not installed; install the extra `train`")
    with tempfile.TemporaryDirectory() as folder:
        command = [tool, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nii"]
        done = subprocess.run(  # noqa: S603 - a fixed program; its arguments are paths
            [str(part) for part in command], capture_output=True, check=False, timeout=TOOL_LIMIT_S
        )
        described = Path(folder) / "meta.json"
        if not described.is_file():
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise ValueError(f"no Segmentation that dcmqi can read: {said[-1] if said else 'nothing said'}")
        attributes = json.loads(described.read_text(encoding="utf-8"))["segmentAttributes"]
        # a label map describes its background, too, as number 0
        held = [segment for group in attributes for segment in group if segment["labelID"]]
        segments = [_segment(Path(folder), one) for one in held]
    return Segmentation(tuple(segments), frame_of_reference(path))


def _segment(folder: Path, described: dict[str, Any]) -> DicomSegment:
    number = int(described["labelID"])
    marked = _volume(SimpleITK.ReadImage(str(folder / f"{number}.nii.gz")))
    kind = described["SegmentedPropertyTypeCodeSequence"]
    return DicomSegment(
        number=number,
        label=str(described.get("SegmentLabel", "")),
        code=f"{kind['CodingSchemeDesignator']}:{kind['CodeValue']}",
        points_lps=marked.grid.to_lps(np.argwhere(marked.array > 0)),
    )


def _files_of(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise ValueError("there is no such file or folder")
    series = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise ValueError(f"{len(series)} Series in the folder, expected 1; give each a folder of its own")
    return list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))


def _header(file: str, tags: Sequence[str]) -> list[str]:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return [reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else "" for tag in tags]


def _check_stack(names: Sequence[str]) -> None:
    """Refuse slices that do not make one volume."""
    headers = [_header(name, [POSITION, ORIENTATION]) for name in names]
    if not all(all(header) for header in headers):
        raise ValueError("an image without Image Position or Orientation (Patient)")
    places = np.array([[float(part) for part in position.split("\\")] for position, _ in headers])
    cosines = np.array([float(part) for part in headers[0][1].split("\\")])
    distances = np.sort(places @ np.cross(cosines[:3], cosines[3:]))
    steps = np.diff(distances)
    if steps.min() < UNEVEN * steps.max():
        raise ValueError("several images in one place; give each b-value or echo a folder of its own")
    if np.abs(steps / steps.mean() - 1).max() > UNEVEN:
        raise ValueError(f"slices {steps.min():.1f} to {steps.max():.1f} mm apart: one is missing")


def _volume(image: SimpleITK.Image) -> Volume:
    array = SimpleITK.GetArrayFromImage(image).astype(np.float32)
    affine = np.eye(4)
    # (x, y, z) of SimpleITK -> (slice, row, column)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing())[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))
