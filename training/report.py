"""An evaluation as a folder: numbers, tables and plots.

Convention: ``pixels.csv``, ``lesions.csv``, ``sizes.csv``, ``volumes.csv``, ``parts.csv`` and ``cases.csv``
have all digits, ``report.md`` has the same for people, beside the published scores; ``bland_altman.png``,
``roc.png``, ``sizes.png`` and ``cases.png`` are the plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.findings import SizeClass
from engines.segments import Segment
from training.evaluation import CaseScores
from training.judging import Evaluation
from training.metrics import LesionScores
from training.plots import draw_bland_altman, draw_by_size, draw_cases, draw_roc
from training.published import PUBLISHED
from training.summary import SizeSummary, Summary
from training.tables import Cell, Table, columns

EXPLAINED = (
    "- Scores of voxels are means over cases with a lesion.\n"
    "- Heads are the persons, or the anatomies of simulated cases, that the cases show. Cases of one head "
    "are alike, so the number of heads says how far the scores reach.\n"
    "- Lesion scores are pooled over cases with a lesion; the mean F1 of cases is not. F1, precision and "
    "sensitivity count any overlap as a hit; 40% counts a hit only if more than 40% of the lesion is "
    "covered, and its F1 is the lesion-wise Dice.\n"
    "- Patches are squares of about the square root of the image's side.\n"
    "- Accuracy and AUC count every voxel of the image, so the rarity of lesions alone brings them near 1.\n"
    "- Sizes go by the area of a lesion's largest slice: small below 20, medium 20 to 150, large above 150 "
    "mm2. What was found belongs to the size of the lesion that it covers most, or to its own.\n"
    "- HD95 is the mean over cases in which neither mask is empty."
)
"""How the tables are to be read."""


def write_report(evaluation: Evaluation, segment: Segment, folder: Path) -> list[str]:
    """Write the folder of an evaluation.

    Args:
        evaluation: what was measured.
        segment: whose published scores are printed beside.
        folder: made if missing.

    Returns: the lines of ``report.md``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summaries = evaluation.summaries
    tables = {
        "pixels": pixel_table(summaries),
        "lesions": lesion_table(summaries),
        "sizes": size_table(summaries),
        "volumes": agreement_table(summaries),
        "parts": part_table(evaluation.parts),
        "cases": case_table(evaluation.scores),
    }
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv")
    volumes = {name: [case.volumes_ml for case in cases] for name, cases in evaluation.scores.items()}
    draw_bland_altman(volumes, folder / "bland_altman.png")
    draw_roc(evaluation.scores, folder / "roc.png")
    draw_by_size(summaries, folder / "sizes.png")
    draw_cases(evaluation.scores, folder / "cases.png")
    lines = [f"# {segment}", "", *score_lines(summaries, evaluation.parts), "## Published", ""]
    lines += [*published_table(segment).markdown(), ""]
    lines += [f"![{name}]({name}.png)\n" for name in ("bland_altman", "roc", "sizes", "cases")]
    (folder / "report.md").write_text("\n".join(lines), encoding="utf-8")
    return lines


def score_lines(summaries: Mapping[str, Summary], parts: Mapping[str, Summary]) -> list[str]:
    """Return all scores as Markdown, and how to read them."""
    tables = {
        "Voxels, patches, volumes": pixel_table(summaries),
        "Lesions": lesion_table(summaries),
        "By lesion size": size_table(summaries),
        "Volumes found minus reference (Bland-Altman)": agreement_table(summaries),
        "By how the scan looks": part_table(parts),
    }
    shown = {title: table for title, table in tables.items() if table.rows}
    lines = [line for title, table in shown.items() for line in (f"### {title}", "", *table.markdown(), "")]
    return [*lines, EXPLAINED, ""]


def pixel_table(summaries: Mapping[str, Summary]) -> Table:
    """Return the scores of voxels, patches and volumes, one row for each set of cases."""
    return columns(
        [
            {
                "cases": name,
                "with lesions": s.cases,
                "without": s.free_cases,
                "heads": s.heads,
                "Dice": s.dice,
                "precision": s.precision,
                "recall": s.recall,
                "accuracy": s.accuracy,
                "AUC": s.auc,
                "patch Dice": s.patch_dice,
                "volume difference": s.volume_difference,
                "HD95 mm": s.hausdorff95_mm,
            }
            for name, s in summaries.items()
        ]
    )


def lesion_table(summaries: Mapping[str, Summary]) -> Table:
    """Return the scores of lesions, one row for each set of cases."""
    return columns(
        [
            {
                "cases": name,
                "F1": s.lesion_f1,
                "mean F1 of cases": s.lesion_f1_per_case,
                "precision": s.lesion_precision,
                "sensitivity": s.lesion_recall,
                "40% Dice": s.strict_f1,
                "40% precision": s.strict_precision,
                "40% recall": s.strict_recall,
                "false per case": s.false_per_case,
                "false per lesion-free case": s.false_per_free_case,
            }
            for name, s in summaries.items()
        ]
    )


def size_table(summaries: Mapping[str, Summary]) -> Table:
    """Return one row for each set of cases and size class; a dash where nothing can be told."""
    return columns(
        [
            _size_row(name, size, part)
            for name, summary in summaries.items()
            for size, part in summary.by_size.items()
        ]
    )


def _size_row(name: str, size: SizeClass, part: SizeSummary) -> dict[str, Cell]:
    f1, precision, recall = _shares(part.any_overlap)
    strict_f1, strict_precision, strict_recall = _shares(part.strict)
    return {
        "cases": name,
        "size": size,
        "lesions": part.lesions,
        "Dice": part.dice,
        "patch Dice": part.patch_dice,
        "lesion F1": f1,
        "lesion precision": precision,
        "lesion sensitivity": recall,
        "40% precision": strict_precision,
        "40% recall": strict_recall,
        "40% Dice": strict_f1,
    }


def _shares(scores: LesionScores) -> tuple[Cell, Cell, Cell]:
    """Return F1, precision and recall of a size class, each None where it cannot be told."""
    if not scores.hits + scores.missed:
        return None, None, None
    if not scores.rates_what_was_found:
        return None, None, scores.recall
    return scores.f1, scores.precision, scores.recall


def agreement_table(summaries: Mapping[str, Summary]) -> Table:
    """Return bias and limits of agreement of volumes, ml."""
    head = ("cases", "pairs", "bias ml", "SD ml", "lower limit ml", "upper limit ml")
    rows = [
        (name, a.cases, a.bias_ml, a.sd_ml, a.lower_ml, a.upper_ml)
        for name, summary in summaries.items()
        if (a := summary.agreement) is not None
    ]
    return Table(head, tuple(rows))


def part_table(parts: Mapping[str, Summary]) -> Table:
    """Return the main scores of parts of the cases and of altered cases, one row for each."""
    return columns(
        [
            {
                "cases": name,
                "with lesions": s.cases,
                "without": s.free_cases,
                "heads": s.heads,
                "Dice": s.dice,
                "F1": s.lesion_f1,
                "precision": s.lesion_precision,
                "sensitivity": s.lesion_recall,
                "false per case": s.false_per_case,
                "false per lesion-free case": s.false_per_free_case,
            }
            for name, s in parts.items()
        ]
    )


def case_table(scores: Mapping[str, Sequence[CaseScores]]) -> Table:
    """Return one row for each case."""
    return columns([_case_row(name, case) for name, cases in scores.items() for case in cases])


def _case_row(name: str, s: CaseScores) -> dict[str, Cell]:
    return {
        "cases": name,
        "case": s.case,
        "patient": s.patient,
        "Dice": s.dice,
        "precision": s.precision,
        "recall": s.recall,
        "accuracy": s.accuracy,
        "AUC": s.auc,
        "patch Dice": s.patch_dice,
        "lesions": s.any_overlap.hits + s.any_overlap.missed,
        "found": s.any_overlap.hits,
        "false": s.any_overlap.false,
        "lesion F1": s.any_overlap.f1,
        "40% Dice": s.strict.f1,
        "volume difference": s.volume_difference,
        "HD95 mm": s.hausdorff95_mm,
        "found ml": s.volumes_ml[0],
        "reference ml": s.volumes_ml[1],
    }


def published_table(segment: Segment) -> Table:
    """Return what others published for a segment."""
    return columns(
        [
            {
                "method": p.method,
                "on": p.cases,
                "Dice": p.dice,
                "precision": p.precision,
                "recall": p.recall,
                "AUC": p.auc,
                "lesion F1": p.lesion_f1,
                "false per case": p.false_per_case,
                "small / medium / large": None if p.sizes is None else " / ".join(map(str, p.sizes)),
            }
            for p in PUBLISHED[segment]
        ]
    )
