"""A study of several readers: their masks and times against a reference, beside the model's.

Convention: a folder with ``reference/<case>``, ``readers/<reader>/<case>`` and, if the model took part,
``model/<case>``, each a NIfTI label file or, if ``images/<case>`` (a NIfTI file, or a folder with a DICOM
Series) says on which grid, a DICOM Segmentation ``.dcm``. ``times.csv`` (reader, case, seconds),
``grades.csv`` (reader, case, grade: those that experts gave) and ``study.yaml`` are optional; in tables the
model is called ``model``.
"""

from __future__ import annotations

import csv
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from engines.marking import mask_on
from engines.segments import Segment
from engines.volume import Grid
from training.dicom_segmentation import read_segmentation
from training.dicom_series import read_series
from training.errors import ReaderStudyError, wrong_keys
from training.grading import Grade, GradedScore, GradeRule
from training.metrics import LesionScores, Mask, lesion_f1, lesion_scores, voxel_scores
from training.nifti import UNREADABLE, read_nifti

MODEL = "model"
"""Name of the model among the readers."""

SUFFIXES = (".nii.gz", ".nii", ".dcm")

SHOWN = 5
"""Values of a mask that an error lists."""

EXPECTED = {"seconds": "a number from 0 on", "grade": ", ".join(Grade)}
"""What the columns of the tables hold."""

Value = TypeVar("Value")


class StudySettings(BaseModel):
    """``study.yaml``.

    Attributes:
        segment: which lesion, for the published scores beside.
        values: labels, or Segment Numbers, that mean lesion.
        grades: how cases are graded where ``grades.csv`` does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment: Segment = Segment.WMH
    values: tuple[int, ...] = (1,)
    grades: GradeRule = GradeRule()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader, or the model, found on one case.

    Attributes:
        any_overlap: lesions, any overlap being a hit.
        strict: lesions, a hit being more than 40% of the lesion.
        volume_ml: found.
        reference_ml: of the reference.
        seconds: taken; None if not measured.
    """

    reader: str
    case: str
    dice: float
    precision: float
    recall: float
    any_overlap: LesionScores
    strict: LesionScores
    volume_ml: float
    reference_ml: float
    grade: Grade
    seconds: float | None

    @property
    def has_lesion(self) -> bool:
        """Whether the reference marks anything."""
        return self.any_overlap.hits + self.any_overlap.missed > 0


@dataclass(frozen=True, slots=True)
class ReaderStudy:
    """All readings of a study, the readers sorted by name, the model last."""

    settings: StudySettings
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    readings: tuple[Reading, ...]

    @property
    def people(self) -> tuple[str, ...]:
        """The readers without the model."""
        return tuple(reader for reader in self.readers if reader != MODEL)

    def of(self, reader: str) -> tuple[Reading, ...]:
        """Return a reader's readings in the order of the cases."""
        return tuple(reading for reading in self.readings if reading.reader == reader)


def read_study(folder: Path) -> ReaderStudy:
    """Read and score a study.

    Raises: ReaderStudyError: names the file, case or key that is missing, unknown or does not fit.
    """
    settings = _settings(folder / "study.yaml")
    cases = sorted(_stem(path) for path in _masks(folder / "reference"))
    people = sorted(path.name for path in _shown(folder / "readers") if path.is_dir())
    if not cases or not people:
        raise ReaderStudyError(folder, "no mask in reference/, or no folder of a reader in readers/")
    readers = (*people, *((MODEL,) if (folder / MODEL).is_dir() else ()))
    places = {reader: folder / "readers" / reader for reader in people} | {MODEL: folder / MODEL}
    for reader in readers:
        for path in _masks(places[reader]):
            if _stem(path) not in cases:
                raise ReaderStudyError(path, "there is no such case in reference/")
    times = _table(folder / "times.csv", "seconds", _seconds, readers, cases)
    grades = _table(folder / "grades.csv", "grade", Grade, readers, cases)
    readings = []
    for case in cases:
        grid = _grid(folder, case)
        reference = _mask(folder / "reference", case, grid, settings)
        for reader in readers:
            found = _mask(places[reader], case, grid, settings)
            key = (reader, case)
            readings.append(_score(key, found, reference, grid, settings, grades.get(key), times.get(key)))
    return ReaderStudy(settings, readers, tuple(cases), tuple(readings))


def _score(
    key: tuple[str, str],
    found: Mask,
    reference: Mask,
    grid: Grid,
    settings: StudySettings,
    grade: Grade | None,
    seconds: float | None,
) -> Reading:
    voxels, lesions = voxel_scores(found, reference), lesion_f1(found, reference)
    scores = {
        GradedScore.DICE: voxels.dice,
        GradedScore.LESION_F1: lesions.f1,
        GradedScore.PRECISION: voxels.precision,
        GradedScore.RECALL: voxels.recall,
    }
    return Reading(
        reader=key[0],
        case=key[1],
        dice=voxels.dice,
        precision=voxels.precision,
        recall=voxels.recall,
        any_overlap=lesions,
        strict=lesion_scores(found, reference),
        volume_ml=float(found.sum()) * grid.voxel_mm3 / 1000,
        reference_ml=float(reference.sum()) * grid.voxel_mm3 / 1000,
        grade=grade or settings.grades.grade(scores[settings.grades.score]),
        seconds=seconds,
    )


def _settings(path: Path) -> StudySettings:
    if not path.is_file():
        return StudySettings()
    try:
        return StudySettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ReaderStudyError(path, f"cannot be read: {exc}") from exc
    except ValidationError as exc:
        raise ReaderStudyError(path, ": ".join(wrong_keys(exc))) from exc


def _masks(folder: Path) -> Iterator[Path]:
    yield from (path for path in _shown(folder) if path.name.endswith(SUFFIXES))


def _shown(folder: Path) -> Iterator[Path]:
    """Yield what a folder holds but for what desktops hide in it."""
    yield from (path for path in folder.glob("*") if not path.name.startswith("."))


def _stem(path: Path) -> str:
    suffix = next(end for end in SUFFIXES if path.name.endswith(end))
    return path.name.removesuffix(suffix)


def _grid(folder: Path, case: str) -> Grid:
    """Return the grid of a case: of its image, or else of its reference."""
    images = folder / "images"
    for path in (images / case, *(images / f"{case}{s}" for s in SUFFIXES)):
        if path.exists():
            with _naming(path):
                return (read_series(path) if path.is_dir() else read_nifti(path)).grid
    path = _path(folder / "reference", case)
    if path.suffix == ".dcm":
        raise ReaderStudyError(path, f"a Segmentation needs its image; put it into images/{case}")
    with _naming(path):
        return read_nifti(path).grid


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raises: ReaderStudyError: names the file that cannot be read."""
    try:
        yield
    except UNREADABLE as exc:
        raise ReaderStudyError(path, f"cannot be read: {' '.join(str(exc).split())}") from exc


def _path(folder: Path, case: str) -> Path:
    found = [folder / f"{case}{s}" for s in SUFFIXES if (folder / f"{case}{s}").is_file()]
    if len(found) != 1:
        raise ReaderStudyError(folder, f"{len(found)} masks of case {case}, expected one")
    return found[0]


def _mask(folder: Path, case: str, grid: Grid, settings: StudySettings) -> Mask:
    path = _path(folder, case)
    with _naming(path):
        if path.suffix == ".dcm":
            mask = mask_on(read_segmentation(path).points(settings.values, ()), grid)
        else:
            label = read_nifti(path)
            same = label.grid.shape == grid.shape and np.allclose(label.grid.affine, grid.affine, atol=0.1)
            mask = np.isin(label.array, settings.values) if same else None
            if mask is not None and not mask.any() and label.array.any():
                held = ", ".join(f"{value:g}" for value in np.unique(label.array)[:SHOWN] if value)
                meant = ", ".join(map(str, settings.values))
                raise ValueError(f"it holds {held}, and lesion is {meant}: write `values` into study.yaml")
    if mask is None:
        sizes = " x ".join(map(str, grid.shape))
        problem = f"lies on other voxels than the image of case {case} ({sizes}); resample it onto these"
        raise ReaderStudyError(path, problem)
    return mask


def _table(
    path: Path, column: str, parse: Callable[[str], Value], readers: Sequence[str], cases: Sequence[str]
) -> dict[tuple[str, str], Value]:
    """Return the value of each (reader, case) in an optional table."""
    values: dict[tuple[str, str], Value] = {}
    if not path.is_file():
        return values
    # an umlaut is one sign or two, as a Mac names its folders
    readers_by, cases_by = ({_composed(name): name for name in names} for names in (readers, cases))
    for number, row in _rows(path, ("reader", "case", column)):
        reader, case = readers_by.get(_composed(row["reader"])), cases_by.get(_composed(row["case"]))
        if reader is None or case is None:
            named = (row["reader"], row["case"])
            raise ReaderStudyError(path, f"line {number}: unknown reader or case {named}")
        key = (reader, case)
        if key in values:
            raise ReaderStudyError(path, f"line {number}: a second row of {key}; leave one")
        try:
            values[key] = parse(row[column])
        except ValueError as exc:
            problem = f"line {number}: {column} {row[column]!r}, expected {EXPECTED[column]}"
            raise ReaderStudyError(path, problem) from exc
    return values


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _rows(path: Path, wanted: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield number and values of the lines of a table as spreadsheets write it, empty ones left out.

    Values are divided by commas, or by semicolons and then have decimal commas.

    Raises: ReaderStudyError: if it is not in UTF-8, or lacks a column.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as exc:
        raise ReaderStudyError(path, "is not in UTF-8: save it as CSV UTF-8") from exc
    # what tells Excel what divides the values
    said = sum(line.startswith("sep=") for line in lines[:1])
    semicolons = ";" in "".join(lines[: said + 1])
    table = csv.DictReader(lines[said:], delimiter=";" if semicolons else ",")
    table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
    lacking = [name for name in wanted if name not in (table.fieldnames or ())]
    if lacking:
        raise ReaderStudyError(
            path, f"has no column {', '.join(lacking)}; its first line is {','.join(wanted)}"
        )
    for row in table:
        values = {name: (row[name] or "").strip() for name in wanted}
        if semicolons:
            values[wanted[-1]] = values[wanted[-1]].replace(",", ".")
        if any(values.values()):
            yield said + table.line_num, values


def _seconds(text: str) -> float:
    """Raises: ValueError: if it is no number from 0 on."""
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds
