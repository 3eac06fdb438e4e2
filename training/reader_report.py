"""The tables of a reader study as the papers have them: per reader, mean of readers, model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.grading import Grade
from training.metrics import pooled
from training.plots import DPI
from training.reader_study import MODEL, ReaderStudy, Reading
from training.report import published_table
from training.statistics import Variance, compare_groups, kendall_w
from training.tables import Cell, Table, columns

MEAN = "mean of readers"

COUNTED = (
    "Dice, precision and recall are means over cases with a lesion in the reference; F1 and the 40% scores "
    "are pooled over these, as each lesion counts alike. The other cases tell of false lesions and grades."
)

PUBLISHED_TIMES = (
    "Published reading time: 634 s a case for six readers, 4.4 s for the model (Duan et al. 2020)."
)


def write_reader_report(study: ReaderStudy, folder: Path) -> list[str]:
    """Write ``report.md``, a CSV file of each table, and ``readers.png``.

    Args:
        study: as read.
        folder: made if missing.

    Returns: the lines of ``report.md``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dice = compare_groups({reader: _dice(study, reader) for reader in study.readers})
    timed = _timed(study)
    times = compare_groups(timed)
    sections = (
        ("scores", "Scores", reader_table(study), None),
        ("grades", "Grades", grade_table(study), None),
        ("concordance", "Agreement of readers (Kendall's W)", concordance_table(study), None),
        ("dice", "Dice: analysis of variance, Tukey", variance_table(dice), dice),
        ("seconds", "Seconds: analysis of variance, Tukey", variance_table(times), times),
    )
    lines = [f"# Readers: {study.settings.segment}, {len(study.cases)} cases", ""]
    for name, title, table, variance in sections:
        table.write_csv(folder / f"{name}.csv")
        lines += [f"## {title}", ""]
        if variance is not None:
            lines += [f"F {variance.f:.2f}, p {variance.p:.3g}.", ""]
        lines += [*table.markdown(), ""] if table.rows else ["Too few values.", ""]
    case_table(study).write_csv(folder / "cases.csv")
    _draw(study, timed, folder / "readers.png")
    rule = study.settings.grades
    bounds = ", ".join(f"{g} from {b:g}" for g, b in zip(Grade, rule.bounds, strict=False))
    lines += [
        f"Grades by {rule.score} against the reference where no expert gave one: {bounds}, IV below.",
        COUNTED,
        "",
        f"## Published, {study.settings.segment}",
        "",
        *published_table(study.settings.segment).markdown(),
        "",
        PUBLISHED_TIMES,
        "",
        "![readers](readers.png)",
        "",
    ]
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return lines


def reader_table(study: ReaderStudy) -> Table:
    """Return a row for each reader, their mean, and the model."""
    rows = {reader: _row(study.of(reader)) for reader in study.readers}
    people = [rows[reader] for reader in study.people]
    mean: dict[str, Cell] = {name: _mean([row[name] for row in people]) for name in people[0]}
    listed = {reader: rows[reader] for reader in study.people} | {MEAN: mean}
    if MODEL in rows:
        listed[MODEL] = rows[MODEL]
    return columns([{"reader": reader, **row} for reader, row in listed.items()])


def _row(readings: Sequence[Reading]) -> dict[str, Cell]:
    ill, free = [r for r in readings if r.has_lesion], [r for r in readings if not r.has_lesion]
    lesions = pooled(r.any_overlap for r in ill) if ill else None
    strict = pooled(r.strict for r in ill) if ill else None
    return {
        "Dice": _mean([r.dice for r in ill]),
        "precision": _mean([r.precision for r in ill]),
        "recall": _mean([r.recall for r in ill]),
        "region F1": lesions.f1 if lesions else None,
        "40% precision": strict.precision if strict else None,
        "40% recall": strict.recall if strict else None,
        "40% Dice": strict.f1 if strict else None,
        "false per case": _mean([r.any_overlap.false for r in ill]),
        "false per lesion-free case": _mean([r.any_overlap.false for r in free]),
        "seconds": _mean([r.seconds for r in readings]),
    }


def _dice(study: ReaderStudy, reader: str) -> list[float]:
    """Return a reader's Dice of each case with a lesion: without one it is 0 or 1, and says little."""
    return [r.dice for r in study.of(reader) if r.has_lesion]


def grade_table(study: ReaderStudy) -> Table:
    """Return how many cases of each reader have which grade."""
    return columns(
        [
            {
                "reader": reader,
                **{grade.value: sum(r.grade is grade for r in study.of(reader)) for grade in Grade},
                "mean grade": _mean([r.grade.number for r in study.of(reader)]),
            }
            for reader in study.readers
        ]
    )


def concordance_table(study: ReaderStudy) -> Table:
    """Return Kendall's W of the people (not the model) over cases, by what they found and how well."""

    def by_reader(value: Callable[[Reading], float]) -> list[list[float]]:
        return [[value(r) for r in study.of(reader)] for reader in study.people]

    measured = {
        "volume found": by_reader(lambda r: r.volume_ml),
        "lesions found": by_reader(lambda r: r.any_overlap.right + r.any_overlap.false),
        "Dice": [_dice(study, reader) for reader in study.people],
        "grade": by_reader(lambda r: r.grade.number),
    }
    rows: list[tuple[Cell, ...]] = []
    for name, ratings in measured.items():
        found = kendall_w(ratings)
        if found is None:
            rows.append((name, len(study.people), len(ratings[0]), None, None, None))
        else:
            rows.append((name, found.raters, found.objects, found.w, found.chi2, found.p))
    return Table(("of", "readers", "cases", "W", "chi2", "p"), tuple(rows))


def variance_table(variance: Variance | None) -> Table:
    """Return Tukey's comparisons of all pairs."""
    head = ("first", "second", "difference", "95% from", "95% to", "p")
    pairs = () if variance is None else variance.pairs
    return Table(head, tuple((p.first, p.second, p.difference, p.lower, p.upper, p.p) for p in pairs))


def case_table(study: ReaderStudy) -> Table:
    """Return a row for each reader and case."""
    return columns(
        [
            {
                "reader": r.reader,
                "case": r.case,
                "Dice": r.dice,
                "precision": r.precision,
                "recall": r.recall,
                "region F1": r.any_overlap.f1,
                "40% Dice": r.strict.f1,
                "volume ml": r.volume_ml,
                "reference ml": r.reference_ml,
                "grade": r.grade,
                "seconds": r.seconds,
            }
            for r in study.readings
        ]
    )


def _timed(study: ReaderStudy) -> dict[str, list[float]]:
    """Return the times of each reader that has any, s."""
    times = {
        reader: [r.seconds for r in study.of(reader) if r.seconds is not None] for reader in study.readers
    }
    return {reader: values for reader, values in times.items() if values}


def _draw(study: ReaderStudy, timed: dict[str, list[float]], path: Path) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    scores, seconds = figure.subplots(1, 2)
    scores.boxplot([_dice(study, reader) for reader in study.readers], tick_labels=study.readers)
    scores.set(title="Dice by reader", ylim=(0, 1))
    if timed:
        seconds.boxplot(list(timed.values()), tick_labels=list(timed))
        seconds.set(title="seconds a case", yscale="log")
    else:
        seconds.set(title="no times given")
    for axes in figure.axes:
        axes.tick_params(axis="x", rotation=30)
    figure.savefig(path, dpi=DPI)


def _mean(values: Sequence[Cell]) -> float | None:
    measured = [float(value) for value in values if value is not None]
    return float(np.mean(measured)) if measured else None
