"""The two flavours of TensorRT, which share one API: for data-centre cards, and for RTX cards.

The names of ``tensorrt`` stand for both: the code is type-checked once against the stubs of each.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, TypeVar

from engines.errors import DeviceError, DeviceMemoryError, RunnerUnavailableError
from engines.runners.base import RunnerKind

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt as trt
FlavourKind = Literal[RunnerKind.TENSORRT, RunnerKind.TENSORRT_RTX]

MODULES = {RunnerKind.TENSORRT: "tensorrt", RunnerKind.TENSORRT_RTX: "tensorrt_rtx"}
"""What is imported."""

EXTRAS = {RunnerKind.TENSORRT: "gpu", RunnerKind.TENSORRT_RTX: "rtx"}
"""Extra of this distribution that installs it."""

CUDA_BUILDS = (13, 12)
"""Major versions of CUDA that TensorRT is built for, the newest first."""

LEAST_VERSIONS = {RunnerKind.TENSORRT: (10, 11), RunnerKind.TENSORRT_RTX: (1, 7)}
"""First versions that have all that is called of them; those of TensorRT for RTX before it were not tried."""

LEAST_CAPABILITY = 75
"""Compute capability, times ten, from which on TensorRT 11 serves a GPU: Turing (its support matrix)."""

RTX_CAPABILITIES = (75, 80, 86, 89, 120, 121)
"""Compute capabilities, times ten, that TensorRT for RTX compiles for."""


KEPT_ERRORS = 4
"""Complaints that are kept: one call of TensorRT makes one or two."""

NO_START = "CUDA initialization failure"
"""How TensorRT says, as a warning, why it makes nothing at all."""

OUT_OF_MEMORY = re.compile(rf"out ?of ?memory|enough free memory|{NO_START} with error:? 2\b", re.IGNORECASE)
"""How TensorRT (OutOfMemory, not enough free memory) and CUDA (out of memory, 2) say that a GPU is full."""

Made = TypeVar("Made")


class Complaints:
    """What TensorRT complained of last: segmentors run at the same time and share the logger of the process.

    TensorRT complains in the thread that called it, or in one that it made itself. Of the latter nobody knows
    whose work it did: what is said there is for a caller that heard nothing.
    """

    def __init__(self) -> None:
        self._here = threading.local()
        self._elsewhere: deque[str] = deque(maxlen=KEPT_ERRORS)

    def forget(self) -> None:
        """Begin a new piece of work in this thread."""
        self._here.heard = deque(maxlen=KEPT_ERRORS)
        self._elsewhere.clear()

    def hear(self, said: str) -> None:
        """Keep what is said in this thread."""
        getattr(self._here, "heard", self._elsewhere).append(said)

    def heard(self) -> list[str]:
        """Return what was said of this thread's work, the oldest first."""
        return list(getattr(self._here, "heard", ())) or list(self._elsewhere)


class Flavour:
    """One installed TensorRT; ``flavour_of`` gives the one of this process.

    Attributes:
        kind: which flavour.
        trt: its module.
        version: its version.
        complaints: what TensorRT complained of.

    Raises: RunnerUnavailableError: if it is not installed, too old, or its libraries cannot be loaded.
    """

    def __init__(self, kind: FlavourKind) -> None:
        if TYPE_CHECKING:
            self.trt = trt
        else:
            try:
                self.trt = import_module(MODULES[kind])
            except (ImportError, OSError) as exc:
                problem = f"{MODULES[kind]} is not installed ({exc}): pip install 'csvd-node[{EXTRAS[kind]}]'"
                raise RunnerUnavailableError(kind.value, problem) from exc
        self.kind = kind
        self.version: str = self.trt.__version__
        check_version(kind, self.version)
        self.complaints = Complaints()
        self.logger = _logger(self.trt, self.complaints.hear)

    def begin(self, make: Callable[[trt.ILogger], Made]) -> Made:
        """Begin a new piece of work with what TensorRT makes of its logger: a builder or a runtime.

        Raises: DeviceError: if it makes none, because CUDA does not start: the GPU is full, lost or taken.
        """
        self.complaints.forget()
        try:
            return make(self.logger)
        except TypeError as exc:  # of the binding, which was given nothing
            raise self.failure("TensorRT cannot begin") from exc

    def failure(self, what: str) -> DeviceError:
        """Return what failed as an error, with TensorRT's own words."""
        kind = DeviceMemoryError if self.is_out_of_memory else DeviceError
        return kind(f"{what}: {self.complaint}")

    @property
    def complaint(self) -> str:
        """What TensorRT complained of, or that it did not."""
        return "; ".join(dict.fromkeys(self.complaints.heard())) or "TensorRT gave no reason"

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it complained that the GPU is full."""
        return any(OUT_OF_MEMORY.search(said) for said in self.complaints.heard())


@cache
def flavour_of(kind: FlavourKind) -> Flavour:
    """Return the flavour of this process, loaded once.

    TensorRT keeps the first logger that it is given for whatever comes after: it has to live as long.

    Raises: RunnerUnavailableError: if it is not installed or its libraries cannot be loaded.
    """
    return Flavour(kind)


def cuda_of(kind: FlavourKind) -> int:
    """Return the CUDA major version that an installed TensorRT needs, by the name of its distribution.

    It is asked before TensorRT is loaded, to tell whether the driver is new enough for it and for the CUDA
    runtime in ``cuda-bindings``, which holds its memory and refuses a driver only when plans are compiled.
    """
    installed = _installed(kind)
    needed = installed[0] if installed else CUDA_BUILDS[-1]
    with suppress(PackageNotFoundError):
        needed = max(needed, int(version("cuda-bindings").partition(".")[0]))
    return needed


def check_version(kind: FlavourKind, installed: str) -> None:
    """Refuse a TensorRT that lacks what is called of it, before anything is compiled.

    Raises: RunnerUnavailableError
    """
    major, minor = (int(number) for number in installed.split(".")[:2])
    least = LEAST_VERSIONS[kind]
    if (major, minor) < least:
        needed, install = ".".join(map(str, least)), f"pip install --upgrade 'csvd-node[{EXTRAS[kind]}]'"
        raise RunnerUnavailableError(kind.value, f"{installed} is installed, {needed} is needed: {install}")


def installed_version(kind: FlavourKind) -> str | None:
    """Return the version of an installed TensorRT without loading it, None if there is none."""
    installed = _installed(kind)
    return installed[1] if installed else None


def _installed(kind: FlavourKind) -> tuple[int, str] | None:
    """Find the distribution of a flavour: the CUDA major version it is for, and its own version."""
    for major in CUDA_BUILDS:
        with suppress(PackageNotFoundError):
            return major, version(f"{MODULES[kind]}_cu{major}")
    return None


def _logger(module: ModuleType, on_error: Callable[[str], None]) -> trt.ILogger:
    """Return a TensorRT logger that hands errors on; left to itself it prints past the node's logs."""
    if not TYPE_CHECKING:
        trt = module

    class Listener(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if (
                severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
                or NO_START in msg
            ):
                on_error(msg)

    return Listener()
