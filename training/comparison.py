"""Evaluations of several recipes on the same cases: differences and their spread over patients."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.errors import ComparisonError
from training.judging import EVALUATION, REAL
from training.metrics import LesionScores
from training.scoring import PATIENTS
from training.tables import Cell, Table

CONFIDENCE = 0.95
"""Of the interval of a mean difference."""

FEWEST = 3
"""Patients that an interval needs."""

SHOWN = 3
"""Cases that an error lists."""


@dataclass(frozen=True, slots=True)
class CaseScore:
    """A score of a case: how it is called and read, whether cases without a lesion count, what is better."""

    name: str
    value: Callable[[Mapping[str, Any], LesionScores], float]
    on_all: bool = False
    better: int = 1


SCORES = (
    CaseScore("Dice", lambda row, _: float(row["dice"])),
    CaseScore("lesion F1", lambda _, lesions: lesions.f1),
    CaseScore("lesion sensitivity", lambda _, lesions: lesions.recall),
    CaseScore("false lesions", lambda _, lesions: float(lesions.false), on_all=True, better=-1),
)
"""What is compared."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The rows of ``evaluation.json``: by the cases' kind, then by data set and case."""

    name: str
    cases: Mapping[str, Mapping[tuple[str, str], Mapping[str, Any]]]


def read_evaluations(folders: Sequence[Path]) -> list[Evaluated]:
    """Read what ``csvd-train evaluate`` wrote into the folders of segmentors, ``runs/<recipe>/<SEGMENT>``.

    Raises: ComparisonError: if there is none, or cases, their images, labels or patients differ: names the
        folder, and some cases.
    """
    read = [_read(folder) for folder in folders]
    for other in read[1:]:
        common = read[0].cases.keys() & other.cases.keys()
        if not common:
            raise ComparisonError(other.name, f"has no kind of cases in common with {read[0].name}")
        for kind in common:
            first, second = (set(one.cases[kind]) for one in (read[0], other))
            if first != second:
                told = ", ".join(f"{case} of {dataset}" for dataset, case in sorted(first ^ second)[:SHOWN])
                raise ComparisonError(other.name, f'"{kind}" has other cases than {read[0].name} ({told})')
            for key in sorted(first):
                if changed := _changed(read[0].cases[kind][key], other.cases[kind][key]):
                    problem = f'"{kind}" has another {changed} of {key[1]} of {key[0]} than {read[0].name}'
                    raise ComparisonError(other.name, problem)
    return read


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return what differs in two rows of a case although it should not; images that one lacks may."""
    if one["patient"] != other["patient"]:
        return "patient"
    common = one["digests"].keys() & other["digests"].keys()
    return ", ".join(name for name in sorted(common) if one["digests"][name] != other["digests"][name])


def _read(folder: Path) -> Evaluated:
    path = folder / EVALUATION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError) as error:
        raise ComparisonError(str(folder), f"has no {EVALUATION} that can be read: {error}") from error
    if any("digests" not in row for rows in content.values() for row in rows):
        raise ComparisonError(str(folder), "does not say what its cases hold")
    cases = {kind: {(row["dataset"], row["case"]): row for row in rows} for kind, rows in content.items()}
    # held-out patients of a recipe are those that a bundle is scored on
    return Evaluated(str(folder), {PATIENTS if kind == REAL else kind: cases[kind] for kind in cases})


def comparison_table(read: Sequence[Evaluated]) -> Table:
    """Return a row for each kind of cases, score and evaluation; differences are from the first evaluation.

    Kinds that one of them lacks are left out. A patient's cases are averaged first: scans of one person are
    not independent.
    """
    head = ("cases", "score", "of", "patients", "mean", "difference", "SD", "95% from", "95% to", "better in")
    rows: list[tuple[Cell, ...]] = []
    for kind in (kind for kind in read[0].cases if all(kind in one.cases for one in read)):
        for score in SCORES:
            first = _by_patient(read[0].cases[kind].values(), score)
            for one in read if len(first) else ():
                values = _by_patient(one.cases[kind].values(), score)
                told = (None,) * 5 if one is read[0] else _difference(values - first, score)
                rows.append((kind, score.name, one.name, len(values), float(values.mean()), *told))
    return Table(head, tuple(rows))


def _by_patient(rows: Iterable[Mapping[str, Any]], score: CaseScore) -> NDArray[np.float64]:
    """Return the mean score of each patient who has a case that counts, in the order of their names."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        lesions = LesionScores(**row["any_overlap"])
        if score.on_all or lesions.hits + lesions.missed:
            values[row["patient"]].append(score.value(row, lesions))
    return np.array([float(np.mean(values[patient])) for patient in sorted(values)])


def _difference(differences: NDArray[np.float64], score: CaseScore) -> tuple[Cell, ...]:
    """Return mean and SD of the differences over patients, the interval of the mean, and how many gained."""
    mean, count = float(differences.mean()), len(differences)
    gained = f"{int((differences * score.better > 0).sum())} of {count}"
    if count < FEWEST:
        return mean, None, None, None, gained
    spread = float(differences.std(ddof=1))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / count**0.5
    return mean, spread, mean - reach, mean + reach, gained
