"""Evaluations as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engines.findings import SizeClass
from training.agreement import bland_altman
from training.evaluation import CaseScores
from training.ranking import FALSE_RATES
from training.summary import Summary

DPI = 110


def draw_bland_altman(groups: Mapping[str, Sequence[tuple[float, float]]], path: Path) -> None:
    """Draw differences of (found, reference) volumes in ml over their means, a panel for each group."""
    figure = Figure(figsize=(5.2 * max(1, len(groups)), 4.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(groups)), squeeze=False)[0]
    for panel, (name, volumes) in zip(panels, groups.items(), strict=False):
        _one_bland_altman(panel, volumes)
        panel.set_title(name, fontsize=9, wrap=True)
    figure.savefig(path, dpi=DPI)


def _one_bland_altman(panel: Axes, volumes: Sequence[tuple[float, float]]) -> None:
    pairs = np.array(volumes, dtype=float).reshape(-1, 2)
    panel.scatter(pairs.mean(axis=1), pairs[:, 0] - pairs[:, 1], s=18)
    panel.set(xlabel="mean of found and reference, ml", ylabel="found minus reference, ml")
    panel.axhline(0, color="0.8", linewidth=0.8)
    agreement = bland_altman(volumes)
    if agreement is None:
        return
    panel.axhline(agreement.bias_ml, color="tab:red", label=f"bias {agreement.bias_ml:.2f} ml")
    limits = (agreement.lower_ml, agreement.upper_ml)
    for limit in limits:
        panel.axhline(limit, color="tab:red", linestyle="--")
    panel.plot([], [], color="tab:red", linestyle="--", label="95%: {:.2f} to {:.2f} ml".format(*limits))
    panel.legend(fontsize=8)


def draw_roc(groups: Mapping[str, Sequence[CaseScores]], path: Path) -> None:
    """Draw the mean ROC curve of each group's cases; false positive rates on a log scale."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, cases in groups.items():
        curves = [case.roc for case in cases if case.roc is not None]
        areas = [case.auc for case in cases if case.auc is not None]
        if curves:
            label = f"{name}: AUC {np.mean(areas):.4f}"
            axes.plot(FALSE_RATES, np.mean(curves, axis=0), marker=".", label=label)
    axes.set(
        xscale="log", xlabel="false positive rate of voxels", ylabel="true positive rate", ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=DPI)


def draw_by_size(summaries: Mapping[str, Summary], path: Path) -> None:
    """Draw voxel Dice and lesion F1 by size class, a group of bars for each set of cases."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    width = 0.8 / max(1, len(summaries))
    for axes, title in zip(figure.subplots(1, 2), ("Dice", "lesion F1"), strict=True):
        for place, (name, summary) in enumerate(summaries.items()):
            parts = [summary.by_size[size] for size in SizeClass]
            dice = [np.nan if part.dice is None else part.dice for part in parts]
            f1 = [
                part.any_overlap.f1 if part.lesions and part.any_overlap.rates_what_was_found else np.nan
                for part in parts
            ]
            values = np.array(dice if title == "Dice" else f1, dtype=float)
            bars = axes.bar(np.arange(len(parts)) + place * width, np.nan_to_num(values), width, label=name)
            axes.bar_label(bars, ["–" if np.isnan(v) else f"{v:.2f}" for v in values], fontsize=7)
        axes.set_xticks(np.arange(len(SizeClass)) + 0.4 - width / 2, [str(size) for size in SizeClass])
        axes.set(title=title, ylim=(0, 1.1))
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=DPI)


def draw_cases(groups: Mapping[str, Sequence[CaseScores]], path: Path) -> None:
    """Draw the Dice of every case with a lesion over its reference volume, ml, on a log scale."""
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, cases in groups.items():
        ill = [case for case in cases if case.has_lesion]
        axes.scatter([case.volumes_ml[1] for case in ill], [case.dice for case in ill], s=16, label=name)
    axes.set(xscale="log", xlabel="reference volume, ml", ylabel="Dice", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=DPI)
