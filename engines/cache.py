"""Compiled plans on disk: a plan is found by everything that it depends on, and never used when damaged.

Convention: a file is ``MAGIC``, one line of JSON (the key, the digest and the size of the plan, and when it
was built), and the plan. It is written under another name and renamed, so that it is whole or not there.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from engines.errors import PlanCacheError

MAGIC = b"csvd-plan 2\n"
"""First bytes of a plan file; the number changes with the layout."""

SUFFIX = ".plan"
"""Of plan files."""

KERNELS_SUFFIX = ".kernels"
"""Of files that make opening a plan faster; they begin with the plan's name and go when it goes."""

LOCK_TIMEOUT_S = 1800.0
"""Longest wait for another process that builds the same plan, seconds: a slow build takes minutes."""


@dataclass(frozen=True, slots=True)
class PlanKey:
    """What a plan depends on; two equal keys may share a plan.

    Attributes:
        model: name of the model, for people.
        onnx_sha256: digest of the bundle's ONNX file.
        samples_sha256: digest of the slices that int8 was calibrated on, or empty.
        precision: of the computation.
        batch: (min, opt, max) slices of a run.
        input_shape: (channels, rows, columns) of a slice.
        flavour: which runtime.
        version: of the runtime.
        options: further choices that change the plan.
        capability: compute capability of the GPU, times ten; 0 without a GPU.
        gpu: its name; empty if the plan serves every GPU of the capability.
        driver: its driver; empty likewise.
        converter: versions of what wrote the precision into the ONNX file, or empty if nothing did.
    """

    model: str
    onnx_sha256: str
    samples_sha256: str
    precision: str
    batch: tuple[int, int, int]
    input_shape: tuple[int, int, int]
    flavour: str
    version: str
    options: str = ""
    capability: int = 0
    gpu: str = ""
    driver: str = ""
    converter: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, lower-case hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Name of the plan's file, unique to the key."""
        return f"{self.model}-{self.precision}-{self.flavour}-{self.digest[:16]}{SUFFIX}"

    def kernels_name(self, gpu: str) -> str:
        """Name of the file of what was compiled from the plan for one GPU when it was opened."""
        return f"{self.file_name}.{gpu.replace(' ', '-')}{KERNELS_SUFFIX}"

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """Read a key as JSON holds it.

        Raises: KeyError, TypeError: if a field is missing or unknown.
        """
        batch, shape = tuple(record["batch"]), tuple(record["input_shape"])
        return cls(**{**record, "batch": batch, "input_shape": shape})


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One file of the cache.

    Attributes:
        path: where it lies.
        size: of the file, bytes.
        key: what it depends on, or None if it cannot be read.
        built_at: when it was compiled, or None likewise.
        problem: why it cannot be used, or empty.
    """

    path: Path
    size: int
    key: PlanKey | None
    built_at: datetime | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Obtained:
    """A plan, and where it came from.

    Attributes:
        key: whose plan it is.
        plan: the bytes.
        built: whether it was compiled now.
        problem: why it was not kept for the next start, or empty.
    """

    key: PlanKey
    plan: bytes
    built: bool
    problem: str = ""


class PlanCache:
    """The plans of one folder, which several processes may share.

    Args:
        folder: made when the first plan is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def obtain(self, key: PlanKey, build: Callable[[], bytes]) -> Obtained:
        """Return the plan of a key; build it if there is none.

        Processes that want the same plan build it once. A damaged plan counts as absent. A plan that cannot
        be kept, because the disk is full or the folder read-only, is returned all the same.

        Raises: what ``build`` raises.
        """
        found = self._find(key)
        if found is not None:
            return found
        try:
            lock = self._lock(key)
        except PlanCacheError as exc:
            return Obtained(key, build(), built=True, problem=str(exc))
        try:
            return self._find(key) or self._keep(key, build())
        finally:
            lock.release()

    def replace(self, key: PlanKey, build: Callable[[], bytes]) -> Obtained:
        """Build a plan anew, because the runtime refused the one that was kept, which is forgotten.

        Raises: what ``build`` raises.
        """
        try:
            self.discard(key)
        except PlanCacheError as exc:
            return Obtained(key, build(), built=True, problem=str(exc))
        return self.obtain(key, build)

    def _find(self, key: PlanKey) -> Obtained | None:
        plan = self.find(key)
        return None if plan is None else Obtained(key, plan, built=False)

    def find(self, key: PlanKey) -> bytes | None:
        """Return the plan of a key, or None if there is none that is whole."""
        path = self.folder / key.file_name
        try:
            entry, plan = _read(path)
        except OSError:
            return None
        return plan if entry.key == key and not entry.problem else None

    def put(self, key: PlanKey, plan: bytes) -> Path:
        """Keep a plan and return its file.

        Raises: PlanCacheError: if it cannot be written, as on a full disk; then nothing is left behind.
        """
        path = self.folder / key.file_name
        header = {
            "key": asdict(key),
            "sha256": hashlib.sha256(plan).hexdigest(),
            "size": len(plan),
            "built_at": datetime.now(UTC).isoformat(),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_whole(path, MAGIC + json.dumps(header).encode() + b"\n" + plan)
        except OSError as exc:
            raise PlanCacheError(str(self.folder), f"cannot keep {path.name}: {exc.strerror or exc}") from exc
        return path

    def discard(self, key: PlanKey) -> None:
        """Forget the plan of a key, if there is one.

        Raises: PlanCacheError: if the file cannot be removed.
        """
        self.remove(self.folder / key.file_name)

    def remove(self, path: Path) -> None:
        """Remove one file of the cache; with a plan goes what was compiled from it.

        Raises: PlanCacheError: if it cannot be removed.
        """
        try:
            for kernels in self.folder.glob(f"{glob.escape(path.name)}.*{KERNELS_SUFFIX}"):
                kernels.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        except OSError as exc:
            problem = f"cannot remove {path.name}: {exc.strerror or exc}"
            raise PlanCacheError(str(self.folder), problem) from exc

    def entries(self) -> list[PlanEntry]:
        """List all plans by name, the damaged ones with what is wrong with them.

        Raises: PlanCacheError: if one cannot be read.
        """
        found = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                found.append(_read(path)[0])
            except FileNotFoundError:
                continue  # another process has removed it meanwhile
            except OSError as exc:
                problem = f"cannot read {path.name}: {exc.strerror or exc}"
                raise PlanCacheError(str(self.folder), problem) from exc
        return found

    def strays(self) -> list[Path]:
        """List what was compiled from plans that are gone, as where somebody deleted them by hand."""
        kernels = sorted(self.folder.glob(f"*{SUFFIX}.*{KERNELS_SUFFIX}"))
        return [path for path in kernels if not path.with_name(_plan_name(path)).exists()]

    def _keep(self, key: PlanKey, plan: bytes) -> Obtained:
        try:
            self.put(key, plan)
        except PlanCacheError as exc:
            return Obtained(key, plan, built=True, problem=str(exc))
        return Obtained(key, plan, built=True)

    def _lock(self, key: PlanKey) -> FileLock:
        """Return the lock of a key, taken.

        Raises: PlanCacheError: if the folder takes no lock file, or another process does not finish.
        """
        lock = FileLock(self.folder / f".{key.digest[:16]}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout as exc:
            raise PlanCacheError(str(self.folder), f"another process builds {key.file_name}") from exc
        except OSError as exc:
            raise PlanCacheError(str(self.folder), f"cannot be written: {exc.strerror or exc}") from exc
        return lock


def read_scratch(path: Path) -> bytes:
    """Read what only makes work faster; nothing if it is not there or damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return b""
    return content if digest == _digest_line(content) else b""


def write_scratch(path: Path, content: bytes) -> None:
    """Keep what only makes work faster, after a line with its digest; that it cannot be kept is no fault."""
    if not content:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, _digest_line(content) + b"\n" + content)


def _plan_name(kernels: Path) -> str:
    """Return the name of the plan that a file of kernels belongs to."""
    return kernels.name.partition(f"{SUFFIX}.")[0] + SUFFIX


def _digest_line(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _read(path: Path) -> tuple[PlanEntry, bytes]:
    """Read a plan file and say what is wrong with it.

    Raises: OSError: if it cannot be read at all.
    """
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        return PlanEntry(path, len(content), None, None, "damaged: no plan file of this version"), b""
    header, _, plan = content.removeprefix(MAGIC).partition(b"\n")
    try:
        record = json.loads(header)
        key = PlanKey.from_record(record["key"])
        built_at = datetime.fromisoformat(record["built_at"])
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        return PlanEntry(path, len(content), None, None, f"damaged: {exc}"), b""
    whole = hashlib.sha256(plan).hexdigest() == record.get("sha256")
    problem = "" if whole else f"damaged: {len(plan)} of {record.get('size')} bytes, or other bytes"
    return PlanEntry(path, len(content), key, built_at, problem), plan


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is whole or not there.

    Raises: OSError: then nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
