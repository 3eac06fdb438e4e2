"""What a data set holds: its files, the meaning of its labels, its licence.

Convention: a manifest is one YAML file per data set; its paths are relative to the folder that holds the
data set, and may hold ``{case}`` (the folder of a case), ``{name}`` (its last part), ``{parent}`` (the part
before) and the wildcards ``*`` and ``?``, which have to lead to one path. A path that ends with ``.nii`` or
``.nii.gz`` is a NIfTI file; else an image is a folder with the files of one DICOM Series, or one file, and a
label is a DICOM Segmentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.segments import Segment, SeriesType
from training.errors import WHOLE, ManifestError, wrong_keys
from training.nifti import is_nifti


class LabelRule(BaseModel):
    """What in which file means a segment.

    Attributes:
        file: NIfTI labels, or a DICOM Segmentation.
        values: labels, or Segment Numbers, that mean the segment.
        known: every value that a NIfTI file may hold.
        unsure: values of voxels that one reader would mark and another not; they neither teach nor count.
        excluded: values of what is neither the segment nor its absence, as another pathology; nor do they.
        codes: property types that mean the segment, as ``SCHEME:VALUE``, in place of Segment Numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1)
    values: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    unsure: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Values by the field that names them; ``unsure`` and ``excluded`` only if there are some."""
        others = {"unsure": self.unsure, "excluded": self.excluded}
        return {"values": self.values, **{part: values for part, values in others.items() if values}}

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        if is_nifti(self.file) and not (self.values and self.known and not self.codes):
            raise ValueError("a NIfTI label needs values and known, and has no codes")
        if not self.values and not self.codes:
            raise ValueError("a Segmentation needs codes or, as values, Segment Numbers")
        meant = [value for values in self.parts.values() for value in set(values)]
        if twice := {value for value in meant if meant.count(value) > 1}:
            raise ValueError(f"{min(twice)} is in two of values, unsure and excluded")
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
        reserved: cases that no training may see: folders, or glob patterns of folders.
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
        raise ManifestError(path.name, WHOLE, f"cannot be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ManifestError(path.name, WHOLE, f"is no YAML: {exc}") from exc
    except ValidationError as exc:
        raise ManifestError(path.name, *wrong_keys(exc)) from exc
