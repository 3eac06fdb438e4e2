"""Says in an administrator's words what pydantic finds wrong with a setting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_AE_TITLE_FIRST = r"^[!-\[\]-~]"
"""How the pattern of an AE title begins; the pattern itself tells nobody anything."""

_WORDS = {
    "tuple_type": "must be a list: [a, b]",
    "frozen_set_type": "must be a list: [a, b]",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
    "string_type": "must be text: put it in quotes",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
}
"""By pydantic's name of a fault; what is not here is clear as pydantic says it."""


def fault_in_words(kind: str, message: str, location: tuple[str | int, ...], known: Iterable[str]) -> str:
    """Say what is wrong with a setting.

    Args:
        kind: pydantic's name of the fault.
        message: what pydantic says of it.
        location: of the setting, as it stands in the file.
        known: places of all settings, with ``<name>`` and ``<n>`` for what is free.
    """
    if kind == "extra_forbidden":
        # A setting of another kind of destination is none here, whatever its name.
        others = _siblings(location, known) - {str(location[-1])}
        close = difflib.get_close_matches(str(location[-1]), others, n=1)
        return f"no such setting{f'; is it {close[0]}?' if close else ''}"
    if kind == "string_pattern_mismatch" and _AE_TITLE_FIRST in message:
        return "is no AE title: 1 to 16 printable ASCII characters, no backslash, no space at either end"
    return _WORDS.get(kind, message.removeprefix("Value error, "))


def _siblings(location: tuple[str | int, ...], known: Iterable[str]) -> set[str]:
    """List the names of the settings that could stand at a place."""
    above = location[:-1]
    places = [place.split(".") for place in known]
    return {
        place[len(above)]
        for place in places
        if len(place) > len(above) and all(_fits(*pair) for pair in zip(place, above, strict=False))
    }


def _fits(pattern: str, part: str | int) -> bool:
    return pattern.startswith("<") or pattern == str(part)
