"""Files that are written whole or not at all: a kill or a full disk leaves the one that was there before."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from training.errors import StorageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a full disk, a used up quota or a file size limit say."""

UNFINISHED = ".part"
"""Ending of a file that is being written."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield where to write; what was written takes the place of ``path`` at the end.

    Several processes or threads may write the same file at once: the last one stays.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{UNFINISHED}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def naming_full_disk(path: Path, needed_mb: float) -> Iterator[None]:
    """Name what there is no room for: a file, or a folder that need not be there yet.

    Raises: StorageError: with how many MB it needs.
    """
    try:
        yield
    except OSError as error:
        # numpy gives no number where a write came out short
        if error.errno not in (None, *FULL):
            raise
        there = next(folder for folder in path.absolute().parents if folder.is_dir())
        raise StorageError(path, needed_mb, shutil.disk_usage(there).free / 1e6) from error


@contextmanager
def opened_whole(path: Path, needed_mb: float) -> Iterator[BinaryIO]:
    """Open a file for bytes, which are written whole or not at all.

    Raises: StorageError: if there is no room for them.
    """
    with naming_full_disk(path, needed_mb), written_whole(path) as unfinished, unfinished.open("wb") as file:
        yield file


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with naming_full_disk(path, len(text) / 1e6), written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder where no other process writes."""
    for left in folder.glob(f"*{UNFINISHED}"):
        left.unlink(missing_ok=True)
