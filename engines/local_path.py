"""A path of the configuration, in which ``~`` means what it means in a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _from_home(path: Path) -> Path:
    """Put the home folder in the place of ``~`` or ``~user``.

    Raises:
        ValueError: if there is no such user, or it has no home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path.parts[0]} is no home folder here: write the whole path") from error


LocalPath = Annotated[Path, AfterValidator(_from_home)]
"""A file or folder of this machine."""
