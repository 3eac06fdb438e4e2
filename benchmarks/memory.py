"""What a process holds, by the kernel's own account."""

from __future__ import annotations

from pathlib import Path

KIB_IN_MIB = 1024
"""Kibibytes in a mebibyte: Linux counts memory in kibibytes."""


def memory_mib(name: str) -> float:
    """Return what the kernel says of this process's memory, MiB: VmRSS now, VmHWM at its peak.

    The peak is that of this program alone: ``ru_maxrss`` also counts what the parent held when it forked.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / KIB_IN_MIB for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> None:
    """Let the peak begin anew from what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
