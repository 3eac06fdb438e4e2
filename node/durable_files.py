"""Files that have their name only once all of them is on disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from pathlib import Path

STALE_S = 3600.0
"""A temporary file lives for one write; one this old was left by a process that died, s."""

FOLDERS_REMEMBERED = 10_000
"""How many folders a writer remembers as being on disk before it looks anew; a bound for its memory."""


class DurableWriter:
    """Writes files below one root: first a temporary file, then its name, each forced to disk.

    All methods may be called from several threads, and from several processes on one root. They raise OSError
    and then leave nothing behind, or the whole file where only its name could not be forced to disk: another
    process may have confirmed it by then.
    """

    def __init__(self, root: Path, temporary_folder: Path) -> None:
        """Take the root and a folder in the same file system for files that are still being written."""
        self._root, self._temporary_folder = root, temporary_folder
        self._making_folders = threading.Lock()
        self._folders_on_disk: set[Path] = set()

    def try_out(self) -> None:
        """Write, link and delete a file, so that a folder which cannot do this is found at start."""
        temporary = self._write_temporary((b"",))
        linked = temporary.with_suffix(".link")
        try:
            os.link(temporary, linked)
        finally:
            temporary.unlink()
            linked.unlink(missing_ok=True)

    def write_new(self, path: Path, parts: tuple[bytes, ...]) -> bool:
        """Write a file under a name that must be free; False, and no change, if it is taken."""
        temporary = self._write_temporary(parts)
        try:
            made = self._make_folder(path.parent)
            try:
                # A link, unlike a rename, never replaces what has the name already.
                os.link(temporary, path)
                _sync_folder(path.parent)
            except FileExistsError:
                return False
            except OSError:
                _remove_empty(made)
                raise
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def confirm(self, path: Path) -> None:
        """Force a file's name to disk that another thread, or a process that died, may have just given."""
        self._make_folder(path.parent)
        _sync_folder(path.parent)

    def replace(self, path: Path, parts: tuple[bytes, ...]) -> None:
        """Write a file under a name, in place of what has it."""
        temporary = self._write_temporary(parts)
        try:
            self._make_folder(path.parent)
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def clear_stale(self) -> int:
        """Delete temporary files that dead processes left, and return how many."""
        oldest = time.time() - STALE_S
        cleared = 0
        for path in self._temporary_folder.iterdir():
            # One that another process is writing may have its name by now, and be gone from here.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    cleared += 1
        return cleared

    def _write_temporary(self, parts: tuple[bytes, ...]) -> Path:
        path = self._temporary_folder / uuid.uuid4().hex
        try:
            with path.open("xb", buffering=0) as file:
                for part in parts:
                    _write_all(file.fileno(), part)
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _make_folder(self, folder: Path) -> list[Path]:
        """Make a folder and those above it, their names on disk too; return the new ones, deepest first.

        A folder that another thread or process has just made may not be on disk yet: it is trusted only once
        this writer has synced it.
        """
        if folder in self._folders_on_disk and folder.is_dir():
            return []
        with self._making_folders:
            below_root = [place for place in (folder, *folder.parents) if self._root in place.parents]
            missing = [place for place in below_root if not place.exists()]
            try:
                for place in reversed(below_root):
                    place.mkdir(exist_ok=True)
                    _sync_folder(place.parent)
            except OSError:
                _remove_empty(missing)
                raise
            if len(self._folders_on_disk) >= FOLDERS_REMEMBERED:
                self._folders_on_disk.clear()
            self._folders_on_disk.add(folder)
        return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        # Another thread may have put a file there by now.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
