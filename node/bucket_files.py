"""Files in a bucket: an object has its name once the store acknowledged all of it."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from node.errors import BucketUnreachableError
from node.storage import FoundFile, StorageSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

KEPT_S = 900.0
"""How long the copy of an object stays on this machine after it was last asked for, s."""

RETRIES = 2
"""How often a request that failed is tried again at once; the sender of an Instance has patience, too."""


class BucketFiles:
    """Objects of one bucket, with copies on this machine of those that are read; see ``node.storage.Files``.

    Args:
        settings: which bucket, and how to get there.
        copies: a folder of this machine for the copies; what is in it may be deleted at any time.
    """

    def __init__(self, settings: StorageSettings, copies: Path) -> None:
        self._settings, self._copies = settings, copies
        self._bucket = _open(settings)
        self._clearing = threading.Lock()
        # What an earlier process left goes at the first look, if it is old: others may be reading the rest.
        self._cleared_at = float("-inf")

    @property
    def place(self) -> str:
        """Name the bucket and, if it is not AWS, who keeps it."""
        at = f" at {self._settings.endpoint}" if self._settings.endpoint else ""
        return f"s3://{self._settings.bucket}/{self._settings.prefix}".rstrip("/") + at

    def try_out(self) -> None:
        """Write an object, see that it cannot be written again, read and delete it."""
        self._copies.mkdir(parents=True, exist_ok=True)
        name = f"incoming/{uuid.uuid4().hex}"
        try:
            if not (self.write_new(name, (b"1",)) and not self.write_new(name, (b"2",))):
                raise OSError(errno.ENOTSUP, "it overwrites objects (no conditional writes, If-None-Match)")
        except FileNotFoundError as exc:
            raise OSError(errno.EIO, "there is no such bucket") from exc
        # What the attempt met is what counts, not that its object cannot be deleted either.
        with contextlib.suppress(OSError, BaseError):
            self._bucket.delete(name)

    def check(self) -> str:
        """Say that the bucket answers."""
        # Asked all the time: copies go also where nothing is read any more.
        self._clear_copies()
        with _translated():
            next(iter(self._bucket.list("incoming", chunk_size=1)), None)
        return f"{self.place} answers"

    def write_new(self, path: str, parts: tuple[bytes, ...]) -> bool:
        """Put an object under a name that must be free (If-None-Match)."""
        with _translated():
            try:
                self._bucket.put(path, b"".join(parts), mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def replace(self, path: str, parts: tuple[bytes, ...]) -> None:
        """Put an object, whatever has the name."""
        with _translated():
            self._bucket.put(path, b"".join(parts), use_multipart=False)
        (self._copies / path).unlink(missing_ok=True)

    def confirm(self, path: str) -> None:
        """Do nothing: what can be read was acknowledged."""

    def exists(self, path: str) -> bool:
        """Ask for the object's head."""
        with _translated():
            try:
                self._bucket.head(path)
            except FileNotFoundError:
                return False
        return True

    def delete(self, paths: Sequence[str]) -> None:
        """Delete the objects, many with each request, and their copies on this machine."""
        if paths:
            with _translated():
                self._bucket.delete(paths)
        for path in paths:
            (self._copies / path).unlink(missing_ok=True)

    def local(self, path: str) -> Path:
        """Fetch the object, unless its copy is still there."""
        copy = self._copies / path
        self._clear_copies()
        try:
            os.utime(copy)
        except FileNotFoundError:
            self._fetch(path, copy)
        return copy

    @contextlib.contextmanager
    def lent(self, path: str) -> Iterator[Path]:
        """Fetch the object for the length of a block: an archive that is gone through would fill the disk."""
        lent = self._copies / uuid.uuid4().hex
        self._fetch(path, lent)
        try:
            yield lent
        finally:
            lent.unlink(missing_ok=True)

    def found(self, folder: str) -> Iterator[FoundFile]:
        """List the objects below a prefix."""
        with _translated():
            for listed in self._bucket.list(folder):
                for meta in listed:
                    yield FoundFile(meta["path"], meta["last_modified"])

    def clear_stale(self) -> int:
        """Find nothing: an object that was not written to its end is none."""
        return 0

    def _fetch(self, path: str, copy: Path) -> None:
        copy.parent.mkdir(parents=True, exist_ok=True)
        temporary = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file, _translated():
                for part in self._bucket.get(path):
                    file.write(part)
            temporary.replace(copy)
        finally:
            temporary.unlink(missing_ok=True)

    def _clear_copies(self) -> None:
        """Delete copies that nobody asked for since a while."""
        with self._clearing:
            if time.monotonic() - self._cleared_at < KEPT_S:
                return
            self._cleared_at = time.monotonic()
        oldest = time.time() - KEPT_S
        for path in self._copies.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink()


def _open(settings: StorageSettings) -> S3Store:
    # What is not set is left out, so that the machine's own credentials and the provider's address hold.
    config: S3Config = {"region": settings.region}
    if settings.endpoint is not None:
        config["endpoint"] = settings.endpoint
    if settings.access_key_id is not None:
        config["access_key_id"] = settings.access_key_id.get_secret_value()
    if settings.secret_access_key is not None:
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    within = timedelta(seconds=settings.timeout_s)
    return S3Store(
        settings.bucket or "",
        prefix=settings.prefix or None,
        config=config,
        client_options={
            "allow_http": settings.allow_http,
            "timeout": within,
            "connect_timeout": within,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": within},
    )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the library's errors into OSError, with the cause that they name last in their first line."""
    try:
        yield
    except FileNotFoundError as exc:
        raise FileNotFoundError(errno.ENOENT, "is not in the bucket") from exc
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        problem = "the object store does not let the node in; look at its keys"
        raise BucketUnreachableError(errno.EIO, problem) from exc
    except BaseError as exc:
        # Before the last dash stands how often what was tried, with the library's own settings.
        said = str(exc).partition("\n")[0].rpartition(" - ")[2] or type(exc).__name__
        raise BucketUnreachableError(
            errno.EIO, f"the object store does not take or give it ({said})"
        ) from exc
