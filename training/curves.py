"""The course of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure


def draw_curves(epochs: Sequence[Mapping[str, float | None]], path: Path) -> None:
    """Draw loss, training Dice and validation scores over epochs into a PNG."""
    numbers = [epoch["number"] for epoch in epochs]
    figure = Figure(figsize=(9, 4), layout="constrained")
    loss, score = figure.subplots(1, 2)
    loss.plot(numbers, [epoch["loss"] for epoch in epochs])
    loss.set(title="loss", xlabel="epoch", yscale="log")
    for key, name in (("train_dice", "training Dice"), ("dice", "validation Dice"), ("f1", "validation F1")):
        score.plot(numbers, [epoch[key] for epoch in epochs], label=name)
    score.set(title="scores", xlabel="epoch", ylim=(0, 1))
    score.legend()
    figure.savefig(path, dpi=110)
