"""Files of a run that must not be lost: written whole or not at all, with room kept back for the last one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from training.errors import MemoryShortError, StorageError
from training.whole_files import FULL, written_whole

RESERVE = "reserve"
"""File in a run folder that only takes room, given up when a checkpoint finds none."""

NO_MEMORY = "allocate memory"
"""What torch says in a RuntimeError when the CPU's memory is used up."""

Write = Callable[[object, Path], None]


def reserve(folder: Path, size: int) -> None:
    """Take ``size`` bytes of the disk for a later checkpoint.

    Raises: StorageError: if there is no room.
    """
    path = folder / RESERVE
    try:
        with path.open("wb") as file:
            # zeros written, not a hole: only real blocks are room
            for _ in range(size // 2**20 + 1):
                file.write(bytes(2**20))
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _full(folder, size) from error


def release(folder: Path) -> None:
    """Give the reserved room back."""
    (folder / RESERVE).unlink(missing_ok=True)


def keep(content: object, path: Path, write: Write = torch.save) -> None:
    """Write a file beside the old one and exchange them; without room, give up the reserve and try again.

    Args:
        content: what is written.
        path: where it goes; the old file stays until the new one is whole.
        write: how.

    Raises: StorageError: if there is no room without the reserve either; the old file is untouched.
    """
    for last in (False, True):
        try:
            with written_whole(path) as unfinished:
                write(content, unfinished)
        except (OSError, RuntimeError) as error:
            # torch tells of a full disk by a RuntimeError
            if last:
                raise _full(path, path.stat().st_size if path.is_file() else 0) from error
            release(path.parent)
        else:
            return


@contextmanager
def naming_shortage(checkpoint: Path) -> Iterator[None]:
    """Turn want of memory or disk into an error that names the checkpoint to go on from.

    Raises:
        MemoryShortError: for want of memory, of the CPU or the GPU.
        StorageError: for want of disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _full(checkpoint, checkpoint.stat().st_size if checkpoint.is_file() else 0) from error
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not known and NO_MEMORY not in str(error):
            raise
        raise MemoryShortError(checkpoint) from error


def _full(path: Path, needed: int) -> StorageError:
    folder = path if path.is_dir() else path.parent
    return StorageError(path, needed / 1e6, shutil.disk_usage(folder).free / 1e6)
