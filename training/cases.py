"""One patient's volumes and masks, read from a data set that a manifest describes.

Convention: a manifest is one YAML file per data set; its paths are relative to the folder that holds the
data set, and may hold ``{case}`` (the folder of a case), ``{name}`` (its last part), ``{parent}`` (the part
before) and the wildcards ``*`` and ``?``, which have to lead to one path. A path that ends with ``.nii`` or
``.nii.gz`` is a NIfTI file; else an image is a folder with the files of one DICOM Series, or one multi-frame
file, and a label is a DICOM Segmentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

import nibabel
import numpy as np
import yaml
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.errors import GeometryError
from engines.marking import mask_on
from engines.segments import Segment, SeriesType
from engines.volume import Grid, Volume
from training.dicom import frame_of_reference, read_segmentation, read_series
from training.errors import CaseError, ManifestError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI counts x to the right and y to the front; patient space here is LPS."""

UNREADABLE = (OSError, ImageFileError, EOFError, ValueError, RuntimeError, GeometryError)
"""What readers raise about a file that is no image."""

LABEL_TOLERANCE_MM = 0.5
"""A label whose corners lie further from its image's than this belongs to another image, mm."""


class CaseKind(StrEnum):
    """Where the lesions of a case come from."""

    REAL = "real"
    PAINTED = "painted"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a case comes from; ``patient`` is what every split goes by.

    Attributes:
        patient: the person, or the anatomy that a simulation started from; unique over data sets.
        dataset: name of the manifest or of the simulator.
        licence: of the data that the case was made of.
        kind: real lesions, lesions painted into a real scan, or all simulated.
        details: what a simulation drew, by name.
    """

    patient: str
    dataset: str
    licence: str
    kind: CaseKind
    details: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """Volumes of one patient and what is marked on them.

    Attributes:
        name: unique within its data set.
        volumes: by Series type; registered Series share a grid, others need not.
        masks: Volume of bool by segment, on the grid of one of the volumes.
        provenance: origin and licence.
        brain: Volume of bool, brain without skull, or None where the data set has none.
        unsure: Volume of bool by segment: voxels that one reader would mark and another not, which neither
            teach nor count.

    Raises:
        CaseError: if a mask or the brain lies on none of the volumes' grids, or there is no volume.
    """

    name: str
    volumes: Mapping[SeriesType, Volume]
    masks: Mapping[Segment, Volume]
    provenance: Provenance
    brain: Volume | None = None
    unsure: Mapping[Segment, Volume] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.volumes:
            raise CaseError(self.name, "no volume; list at least one Series")
        marked = {segment.value: mask for segment, mask in self.masks.items()}
        if self.brain is not None:
            marked["brain mask"] = self.brain
        for label, mask in marked.items():
            if not any(_same_place(mask.grid, volume.grid) for volume in self.volumes.values()):
                raise CaseError(
                    self.name,
                    f"the {label}, {mask.grid.shape}, fits none of its images; register it or leave it out",
                )


class LabelRule(BaseModel):
    """What in which file means a segment.

    Attributes:
        file: NIfTI labels, or a DICOM Segmentation.
        values: labels, or Segment Numbers, that mean the segment.
        known: every value that a NIfTI file may hold.
        unsure: values that mean neither the segment nor its absence.
        codes: property types that mean the segment, as ``SCHEME:VALUE``, in place of Segment Numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1)
    values: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    unsure: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if _is_nifti(self.file) and not (self.values and self.known and not self.codes):
            raise ValueError("a NIfTI label needs values and known, and has no codes")
        if not self.values and not self.codes:
            raise ValueError("a Segmentation needs codes or, as values, Segment Numbers")
        return self


class Manifest(BaseModel):
    """A data set: its layout, the meaning of its labels, its licence.

    Attributes:
        name: prefix of its patients.
        licence: under which terms, from whom.
        source: where a user gets it.
        series: file of each Series type.
        labels: file and values of each segment; ``known`` lists every value the file may hold.
        brain_mask: file whose non-zero voxels are brain.
        cases: folders, or glob patterns of folders.
        patient: what of ``{name}``, ``{parent}`` and ``{case}`` tells patients apart.
        reserved: cases that no training may see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    series: dict[SeriesType, str] = Field(min_length=1)
    labels: dict[Segment, LabelRule] = Field(default_factory=dict)
    brain_mask: str | None = None
    cases: tuple[str, ...] = Field(min_length=1)
    patient: str = "{name}"
    reserved: tuple[str, ...] = ()


def read_manifest(path: Path) -> Manifest:
    """Read a data set's description.

    Raises:
        ManifestError: if the file is missing, no YAML, or holds an unknown key or a wrong value.
    """
    try:
        return Manifest.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as exc:
        raise ManifestError(path.name, "file", f"can not be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ManifestError(path.name, "file", f"is no YAML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ManifestError(path.name, ".".join(map(str, first["loc"])) or "file", first["msg"]) from exc


@dataclass(frozen=True, slots=True)
class Dataset:
    """A manifest and the folder that holds its files."""

    manifest: Manifest
    root: Path

    def case_folders(self) -> tuple[str, ...]:
        """Return the folders of all cases but the reserved, relative to the root, sorted."""
        found: set[str] = set()
        for pattern in self.manifest.cases:
            if any(sign in pattern for sign in "*?["):
                found |= {
                    str(path.relative_to(self.root)) for path in self.root.glob(pattern) if path.is_dir()
                }
            else:
                found.add(pattern)
        return tuple(sorted(found - set(self.manifest.reserved)))

    def read(self, case: str) -> Case:
        """Read one case, a reserved one included.

        Raises:
            CaseError: if a file is missing or unreadable, or a label does not fit its image or holds a value
                that the manifest does not know.
        """
        volumes = {series: self._volume(case, file) for series, file in self.manifest.series.items()}
        labels = self.manifest.labels
        masks, unsure = {}, {}
        for segment, rule in labels.items():
            mark = self._mask if _is_nifti(rule.file) else self._segments
            masks[segment] = mark(case, rule, rule.values, volumes)
            if rule.unsure:
                unsure[segment] = mark(case, rule, rule.unsure, volumes)
        brain = None
        if self.manifest.brain_mask is not None:
            mask = self._volume(case, self.manifest.brain_mask)
            brain = mask.with_array(mask.array > 0)
        patient = _fill(self.manifest.patient, case).replace("/", "_")
        origin = Provenance(patient, self.manifest.name, self.manifest.licence, CaseKind.REAL)
        return Case(case.replace("/", "_"), volumes, masks, origin, brain, unsure)

    def iterate(self) -> Iterator[Case]:
        """Read every case that is not reserved, in the order of its folders."""
        for case in self.case_folders():
            yield self.read(case)

    def missing(self) -> tuple[str, ...]:
        """Return one sentence for each thing that the manifest expects and the folder lacks."""
        folders = self.case_folders()
        if not self.root.is_dir() or not folders:
            wanted = ", ".join(self.manifest.cases)
            return (
                f"{self.manifest.name}: no case in {self.root}; needs {wanted} of {self.manifest.source}",
            )
        files = [*self.manifest.series.values(), *(rule.file for rule in self.manifest.labels.values())]
        files += [self.manifest.brain_mask] if self.manifest.brain_mask else []
        wanted_files = [_fill(file, case) for case in folders for file in files]
        counts = {file: len(self._found(file)) for file in wanted_files}
        return tuple(
            f"{self.manifest.name}: {file} is missing"
            if not count
            else f"{self.manifest.name}: {file} is {count} paths, expected one"
            for file, count in counts.items()
            if count != 1
        )

    def _found(self, file: str) -> list[Path]:
        """Return the paths that a filled template leads to."""
        if any(sign in file for sign in "*?["):
            return sorted(self.root.glob(file))
        return [self.root / file] if (self.root / file).exists() else []

    def _path(self, case: str, file: str) -> Path:
        found = self._found(_fill(file, case))
        if len(found) > 1:
            raise CaseError(case, f"{_fill(file, case)} is {len(found)} paths, expected one")
        return found[0] if found else self.root / _fill(file, case)

    def _volume(self, case: str, file: str) -> Volume:
        path = self._path(case, file)
        try:
            return read_nifti(path) if _is_nifti(file) else read_series(path)
        except UNREADABLE as exc:
            raise CaseError(case, f"{path.name} can not be read: {exc}; fetch the file again") from exc

    def _segments(
        self, case: str, rule: LabelRule, values: tuple[int, ...], volumes: Mapping[SeriesType, Volume]
    ) -> Volume:
        """Put segments of a Segmentation onto the grid of the image that they were drawn on."""
        path = self._path(case, rule.file)
        codes = rule.codes if values == rule.values else ()
        try:
            marked = read_segmentation(path)
            points = marked.points(values, codes)
            frames = {s: frame_of_reference(self._path(case, f)) for s, f in self.manifest.series.items()}
        except UNREADABLE as exc:
            raise CaseError(case, f"{path.name} can not be read: {exc}") from exc
        for series, volume in volumes.items():
            if marked.frame_of_reference and frames[series] not in ("", marked.frame_of_reference):
                continue
            mask = mask_on(points, volume.grid)
            if mask is not None:
                return volume.with_array(mask)
        raise CaseError(
            case, f"the segments of {path.name} fit none of its images; draw them on one of these"
        )

    def _mask(
        self, case: str, rule: LabelRule, values: tuple[int, ...], _: Mapping[SeriesType, Volume]
    ) -> Volume:
        label = self._volume(case, rule.file)
        unknown = set(np.unique(label.array).tolist()) - set(rule.known) - {0}
        if unknown:
            raise CaseError(
                case,
                f"{rule.file} holds {sorted(unknown)}, known: {sorted(rule.known)}; correct the manifest",
            )
        return label.with_array(np.isin(label.array, values))


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file as slices from bottom to top, rows to the back, columns to the left.

    Returns: Volume of float32, or of the file's own type where it holds integers without a scale.
    Raises: whatever nibabel, the file system or the geometry says; callers name the case.
    Source: NIfTI-1 (affine to RAS mm); DICOM PS3.3 C.7.6.2.1.1 (LPS).
    """
    image = nibabel.as_closest_canonical(nibabel.load(path))
    if len(image.shape) != 3:
        raise ValueError(f"{len(image.shape)} axes, expected 3")
    values: NDArray[np.generic] = np.asanyarray(image.dataobj)
    # (x to the right, y to the front, z up) -> (z up, y to the back, x to the left)
    array = np.ascontiguousarray(values[::-1, ::-1, :].transpose(2, 1, 0))
    if array.dtype.kind == "f":
        array = np.nan_to_num(array.astype(np.float32))
    columns, rows, slices = image.shape
    reversal = np.array([[0.0, 0, -1, columns - 1], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(array, Grid((slices, rows, columns), RAS_TO_LPS @ image.affine @ reversal))


def _is_nifti(file: str) -> bool:
    return file.endswith((".nii", ".nii.gz"))


def _fill(template: str, case: str) -> str:
    *above, name = case.split("/")
    parent = above[-1] if above else name
    return template.replace("{case}", case).replace("{name}", name).replace("{parent}", parent)


def _same_place(one: Grid, other: Grid) -> bool:
    if one.shape != other.shape:
        return False
    corners = np.array([[0, 0, 0], [s - 1 for s in one.shape]])
    return bool(np.abs(one.to_lps(corners) - other.to_lps(corners)).max() < LABEL_TOLERANCE_MM)
