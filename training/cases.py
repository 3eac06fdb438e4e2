"""One patient's volumes and masks, read from a data set that a manifest describes.

Convention: a manifest is one YAML file per data set; its paths are relative to the folder that holds the
data set, and may hold ``{case}`` (the folder of a case), ``{name}`` (its last part), ``{parent}`` (the part
before) and the wildcards ``*`` and ``?``, which have to lead to one path. A path that ends with ``.nii`` or
``.nii.gz`` is a NIfTI file; else an image is a folder with the files of one DICOM Series, or one file, and a
label is a DICOM Segmentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
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
from training.dicom_segmentation import read_segmentation
from training.dicom_series import frame_of_reference, read_series
from training.errors import CaseError, ManifestError, wrong_keys

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI counts x to the right and y to the front; patient space here is LPS."""

UNREADABLE = (OSError, ImageFileError, EOFError, ValueError, RuntimeError, GeometryError)
"""What readers raise about a file that is no image."""

B_VALUES = {SeriesType.DWI_B1000: (800.0, 1200.0)}
"""Which images are taken of a Series that holds several b-values, s/mm2: those that the node takes."""

WHOLE = 1e-3
"""A label that differs by less from a whole number was rounded by its scale."""

SHOWN = 5
"""Values of a label that an error lists."""

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
        CaseError: if a mask, an unsure part or the brain lies on none of the volumes' grids, or there is no
            volume.
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
        marked |= {f"unsure part of {segment}": mask for segment, mask in self.unsure.items()}
        for label, mask in marked.items():
            if not any(same_place(mask.grid, volume.grid) for volume in self.volumes.values()):
                raise CaseError(self.name, f"the {label} {self._misfit(mask.grid)}")

    def _misfit(self, grid: Grid) -> str:
        """Say how a mask's grid differs from those of the images."""
        sizes = " x ".join(map(str, grid.shape))
        alike = [volume.grid for volume in self.volumes.values() if volume.grid.shape == grid.shape]
        if alike:
            apart = min(_distance_mm(grid, other) for other in alike)
            return f"lies up to {apart:.1f} mm from its image; write it with the affine of the image"
        held = ", ".join(f"{s} {' x '.join(map(str, v.grid.shape))}" for s, v in self.volumes.items())
        return f"has {sizes} voxels, its images {held}; resample it onto the one that it was drawn on"


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
        raise ManifestError(path.name, *wrong_keys(exc)) from exc


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
        volumes = {series: self._image(case, series, file) for series, file in self.manifest.series.items()}
        labels = self.manifest.labels
        masks, unsure = {}, {}
        for segment, rule in labels.items():
            mark = self._mask if _is_nifti(rule.file) else self._segments
            masks[segment] = mark(case, rule, rule.values, volumes)
            if rule.unsure:
                unsure[segment] = mark(case, rule, rule.unsure, volumes)
        brain = None
        if self.manifest.brain_mask is not None:
            mask = self._image(case, None, self.manifest.brain_mask)
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

    def faults(self) -> Iterator[str]:
        """Yield one sentence for each case that can not be read; those with missing files are left out."""
        for case in self.case_folders():
            try:
                self.read(case)
            except CaseError as error:
                yield f"{self.manifest.name}: {error}"

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

    def _image(self, case: str, series: SeriesType | None, file: str) -> Volume:
        path = self._path(case, file)
        b_values = B_VALUES.get(series) if series else None
        with _naming(case, path):
            return read_nifti(path) if _is_nifti(file) else read_series(path, b_values)

    def _segments(
        self, case: str, rule: LabelRule, values: tuple[int, ...], volumes: Mapping[SeriesType, Volume]
    ) -> Volume:
        """Put segments of a Segmentation onto the grid of the image that they were drawn on."""
        path = self._path(case, rule.file)
        codes = rule.codes if values == rule.values else ()
        with _naming(case, path):
            marked = read_segmentation(path)
            points = marked.points(values, codes)
        frames = {}
        for series, file in self.manifest.series.items():
            image = self._path(case, file)
            with _naming(case, image):
                frames[series] = "" if _is_nifti(file) else frame_of_reference(image)
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
        label = self._image(case, None, rule.file)
        whole = np.rint(label.array)
        values_held = np.unique(np.where(np.abs(label.array - whole) < WHOLE, whole, label.array)).tolist()
        unknown = [value for value in values_held if value not in (0, *rule.known)]
        if unknown:
            held = ", ".join(f"{value:g}" for value in unknown[:SHOWN]) + (" ..." if unknown[SHOWN:] else "")
            known = ", ".join(map(str, sorted(rule.known)))
            raise CaseError(
                case,
                f"{self._path(case, rule.file).name} holds {held}, known are {known}; "
                f"correct the file, or values and known of {self.manifest.name}.yaml",
            )
        return label.with_array(np.isin(whole, values))


@contextmanager
def _naming(case: str, path: Path) -> Iterator[None]:
    """Raises: CaseError: names the case and the file that can not be read."""
    try:
        yield
    except FileNotFoundError as exc:
        raise CaseError(case, f"there is no {path}") from exc
    except UNREADABLE as exc:
        raise CaseError(case, f"{path.name} can not be read: {exc}") from exc


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file as slices from bottom to top, rows to the back, columns to the left.

    Returns: Volume of float32, or of the file's own type where it holds integers without a scale.
    Raises: whatever nibabel, the file system or the geometry says; callers name the case.
    Source: NIfTI-1 (affine to RAS mm); DICOM PS3.3 C.7.6.2.1.1 (LPS).
    """
    loaded = nibabel.squeeze_image(nibabel.load(path))
    if len(loaded.shape) != 3:
        sizes = " x ".join(map(str, loaded.shape))
        raise ValueError(f"{sizes} values, expected one volume of three axes; give each volume a file")
    if not any(loaded.header.get(code, 1) for code in ("qform_code", "sform_code")):
        raise ValueError("it does not say where it lies (qform and sform code are 0); write its affine")
    image = nibabel.as_closest_canonical(loaded)
    values: NDArray[np.generic] = np.asanyarray(image.dataobj)
    # (x to the right, y to the front, z up) -> (z up, y to the back, x to the left)
    array = np.ascontiguousarray(values[::-1, ::-1, :].transpose(2, 1, 0))
    if array.dtype.kind == "f":
        # not a number is what programs write where they masked; infinite is no value of an image
        array = np.nan_to_num(array.astype(np.float32), posinf=np.inf, neginf=-np.inf)
        if np.isinf(array).any():
            raise ValueError("some voxels are infinite; write the file anew")
    columns, rows, slices = image.shape
    reversal = np.array([[0.0, 0, -1, columns - 1], [0, -1, 0, rows - 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    return Volume(array, Grid((slices, rows, columns), RAS_TO_LPS @ image.affine @ reversal))


def _is_nifti(file: str) -> bool:
    return file.endswith((".nii", ".nii.gz"))


def _fill(template: str, case: str) -> str:
    *above, name = case.split("/")
    parent = above[-1] if above else name
    return template.replace("{case}", case).replace("{name}", name).replace("{parent}", parent)


def same_place(one: Grid, other: Grid) -> bool:
    """Tell whether a mask on one grid lies on an image on the other."""
    return one.shape == other.shape and _distance_mm(one, other) < LABEL_TOLERANCE_MM


def _distance_mm(one: Grid, other: Grid) -> float:
    """Return how far corners of two grids of one shape lie apart, mm."""
    corners = np.array(list(product(*((0, size - 1) for size in one.shape))))
    return float(np.abs(one.to_lps(corners) - other.to_lps(corners)).max())
