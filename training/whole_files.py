"""Files that are written whole or not at all: a kill or a full disk leaves the one that was there before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".part"
"""Ending of a file that is being written."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield where to write; what was written takes the place of ``path`` at the end.

    Several processes may write the same file at once: the last one stays.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder where no other process writes."""
    for left in folder.glob(f"*{UNFINISHED}"):
        left.unlink(missing_ok=True)
