"""Reads from the files of a Study what routes ask about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.damaged_files import READING_ERRORS
from node.errors import InflatedTooLargeError
from node.inflation import read_up_to_pixels

_WANTED = ("SpecificCharacterSet", "Modality", "StudyDescription", "SeriesDescription")


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Modalities, and Study and Series Descriptions; they are neither logged nor kept."""

    modalities: frozenset[str]
    texts: frozenset[str]


def read_descriptions(paths: Iterable[Path]) -> Descriptions:
    """Read one file of each Series; what cannot be read describes nothing."""
    modalities, texts = set[str](), set[str]()
    for path in paths:
        try:
            header = read_up_to_pixels(path, _WANTED)
        except (*READING_ERRORS, InflatedTooLargeError):
            continue
        modalities.add(str(header.get("Modality") or ""))
        texts.update(str(header.get(keyword) or "") for keyword in _WANTED[2:])
    return Descriptions(frozenset(modalities) - {""}, frozenset(texts) - {""})
