"""Where the files of the store lie: in a folder, or in a bucket of an S3-compatible object store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from node.durable_files import DurableWriter
from node.health import Strain

LOW_SHARE = 0.1
"""Share of the disk below which its free space is little; the alert CsvdDiskLow says the same."""


class StorageSettings(BaseModel):
    """Where Studies and results lie, if not below ``root``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str | None = Field(
        default=None,
        min_length=1,
        description="bucket of an S3-compatible object store for the files; without it, the folder `root`",
    )
    prefix: str = Field(default="", description="prefix of the names of all objects in the bucket")
    endpoint: str | None = Field(
        default=None, description="URL of the object store (https://...); without it, that of AWS"
    )
    region: str = Field(default="us-east-1", min_length=1, description="region of the bucket")
    access_key_id: SecretStr | None = Field(
        default=None, description="access key; without it, what the machine or the AWS_ variables provide"
    )
    secret_access_key: SecretStr | None = Field(default=None, description="secret of the access key")
    allow_http: bool = Field(default=False, description="allow an endpoint without TLS (http://...)")
    timeout_s: float = Field(
        default=10.0, gt=0, le=600, description="seconds within which the object store must answer"
    )


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that a look through the store found: its path below the root, and since when it is there."""

    path: str
    stored_at: datetime


class Files(Protocol):
    """Files by their path below a root; each has its name only once all of it is safe.

    May be used from several threads, and on one root by several processes. Methods raise OSError and then
    leave nothing of a file behind, or all of it.
    """

    @property
    def place(self) -> str:
        """Say for people where they lie."""

    def try_out(self) -> None:
        """Do what the store needs, so that a place which cannot do it is found at start."""

    def check(self) -> str | Strain:
        """Say in words how the place is."""

    def write_new(self, path: str, parts: tuple[bytes, ...]) -> bool:
        """Write a file under a name that must be free; False, and no change, if it is taken."""

    def replace(self, path: str, parts: tuple[bytes, ...]) -> None:
        """Write a file under a name, in place of what has it."""

    def confirm(self, path: str) -> None:
        """Make sure of a file that another thread or process may have just written."""

    def exists(self, path: str) -> bool:
        """Tell whether there is a file."""

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files; those that are not there are passed over."""

    def local(self, path: str) -> Path:
        """Return a file of this machine that holds the same; it may be taken away after some minutes."""

    def lent(self, path: str) -> AbstractContextManager[Path]:
        """Return a file of this machine that holds the same for the length of a block, and no longer."""

    def found(self, folder: str) -> Iterator[FoundFile]:
        """List the files below a folder, in no order."""

    def clear_stale(self) -> int:
        """Delete what dead processes left unfinished, and return how many files that were."""


class FolderFiles:
    """Files below a folder of this machine, or of a file system that several machines share.

    Args:
        root: the folder.
        incoming: name of the folder below it for files that are still being written.
    """

    def __init__(self, root: Path, incoming: str) -> None:
        self._root, self._incoming = root, root / incoming
        self._writer = DurableWriter(root, self._incoming)

    @property
    def place(self) -> str:
        """Name the folder."""
        return str(self._root)

    def try_out(self) -> None:
        """Write, link and delete a file."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._writer.try_out()

    def check(self) -> str | Strain:
        """Say how much room there is, and if that is little what to do."""
        if not os.access(self._root, os.W_OK):
            raise OSError(None, "is not there or cannot be written")
        usage = shutil.disk_usage(self._root)
        said = f"{_size(usage.free)} of {_size(usage.total)} free"
        if usage.free >= LOW_SHARE * usage.total:
            return said
        return Strain(
            f"only {said}: free space before Instances are refused (`csvd-node remove`, retention.days), "
            "or give the store a larger disk"
        )

    def write_new(self, path: str, parts: tuple[bytes, ...]) -> bool:
        """Write, force to disk, and link under the name."""
        whole = self._root / path
        return not whole.exists() and self._writer.write_new(whole, parts)

    def replace(self, path: str, parts: tuple[bytes, ...]) -> None:
        """Write, force to disk, and rename."""
        self._writer.replace(self._root / path, parts)

    def confirm(self, path: str) -> None:
        """Force the name to disk."""
        self._writer.confirm(self._root / path)

    def exists(self, path: str) -> bool:
        """Look for it."""
        try:
            (self._root / path).stat()
        except FileNotFoundError:
            return False
        return True

    def delete(self, paths: Sequence[str]) -> None:
        """Delete them, and the folders above that are empty then."""
        for path in paths:
            (self._root / path).unlink(missing_ok=True)
        # Those below the folders of the root, the deepest first.
        above = {folder for path in paths for folder in list(PurePosixPath(path).parents)[:-2]}
        for folder in sorted(above, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):
                (self._root / folder).rmdir()

    def local(self, path: str) -> Path:
        """Return the file itself."""
        return self._root / path

    def lent(self, path: str) -> AbstractContextManager[Path]:
        """Lend the file itself."""
        return contextlib.nullcontext(self._root / path)

    def found(self, folder: str) -> Iterator[FoundFile]:
        """Walk through the folder."""
        for place, _, names in os.walk(self._root / folder, onerror=_raise_unless_gone):
            for path in (Path(place) / name for name in names):
                try:
                    stored_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except FileNotFoundError:
                    # It was deleted meanwhile.
                    continue
                yield FoundFile(path.relative_to(self._root).as_posix(), stored_at)

    def clear_stale(self) -> int:
        """Delete old temporary files."""
        return self._writer.clear_stale()


def _raise_unless_gone(error: OSError) -> None:
    """Let no folder that cannot be read pass for an empty one; one that is not there is as good as empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
