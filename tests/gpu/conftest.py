"""Writes a report of what the GPU tests saw, with the hardware's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.errors import RunnerUnavailableError
from engines.gpu.driver import Gpu, find_gpu

REPORT = Path("build/gpu-report.md")

OLDEST_CUDA = 12
"""What the oldest runtime needs that may be under test; each runner asks for its own."""


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    try:
        return find_gpu("the GPU tests", OLDEST_CUDA)
    except RunnerUnavailableError as absent:
        pytest.fail(str(absent))


@pytest.fixture(scope="session")
def measured(gpu: Gpu) -> Iterator[list[str]]:
    """Lines of the report's table: what was run, and what came out."""
    lines: list[str] = []
    yield lines
    REPORT.parent.mkdir(exist_ok=True)
    head = f"# {gpu.name}, compute capability {gpu.capability / 10:.1f}, driver {gpu.driver}"
    REPORT.write_text("\n".join([head, "", "| what | result |", "| --- | --- |", *lines]) + "\n")
