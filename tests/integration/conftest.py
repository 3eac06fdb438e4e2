"""What several tests of the running node begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_study import write_study


@pytest.fixture
def study(tmp_path: Path) -> dict[str, list[Path]]:
    """Write the small Study that is called "one"."""
    return write_study(tmp_path, "one")
