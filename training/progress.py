"""How a training goes, for people: a bar in a terminal, lines in a log file."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines.segments import Segment
from training.checkpoint import Epoch
from training.loop import Report
from training.study import Announce


def progress_on(console: Console) -> Progress:
    """Return the bars of a terminal; without one nothing is drawn."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def show_bar(progress: Progress, segment: Segment) -> Report:
    """Return what moves a bar of its own with each step."""
    task = progress.add_task(segment, total=None)
    scores = ""

    def report(epoch: Epoch, step: int, last: int) -> None:
        nonlocal scores
        scores = _scores(epoch) or scores
        text = f"{segment} loss {epoch.loss:.3f} Dice {epoch.train_dice:.3f}{scores}"
        progress.update(task, description=text, completed=step, total=last)

    return report


def tell_epochs(announce: Announce, segment: Segment) -> Report:
    """Return what tells a line at the end of each epoch: what stands for the bar in a log file."""

    def report(epoch: Epoch, step: int, last: int) -> None:
        if epoch.seconds:
            text = f"{segment} step {step} of {last}: loss {epoch.loss:.3f} Dice {epoch.train_dice:.3f}"
            announce(f"{text}{_scores(epoch)}, {epoch.seconds:.0f} s")

    return report


def _scores(epoch: Epoch) -> str:
    if epoch.dice is None or epoch.f1 is None:
        return ""
    return f", validation Dice {epoch.dice:.3f} F1 {epoch.f1:.3f}"
