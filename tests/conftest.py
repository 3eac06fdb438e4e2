"""What holds for every test: logs that one test configured do not outlive it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A logger that prints to the captured output of one test fails in the next, where that is closed."""
    yield
    structlog.reset_defaults()
