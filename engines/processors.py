"""How many processors this process may use, by its affinity and by its container's limit."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""The container's limit by the kernel (control groups 2): "quota period" in microseconds, or "max period"."""


def usable_cpus() -> int:
    """Count the CPUs that this process may use, at least 1; runtimes would count those of the whole machine.

    A container that may use the time of two CPUs sees all of its machine: with a thread for each, all of them
    would stand still for most of every period, once the quota is spent.
    """
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cpus, granted_cpus(CPU_MAX) or cpus)


def granted_cpus(limit: Path) -> int | None:
    """Return the CPUs whose time a container is granted, rounded up; None without a limit.

    Args:
        limit: the kernel's file of it; there is none where control groups 2 are not used.

    Source: Linux kernel, Documentation/admin-guide/cgroup-v2.rst, cpu.max.
    """
    try:
        quota, period = limit.read_text(encoding="ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None
