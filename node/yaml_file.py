"""Reads a YAML file of keys and values, and says where each key stands and what YAML itself makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Location = tuple[str | int, ...]

_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_OTHER_BASE = re.compile(r"[-+]?0[0-7_]+")
"""YAML 1.1 reads these as octal: 0104 is 68, a port that nobody meant."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file holds.

    Attributes:
        values: by key.
        lines: where each key and each item of a list stands, 1-based.
        faults: what is wrong with the file itself, each with its place.
    """

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def read_yaml(path: Path) -> YamlFile:
    """Read a file whose outermost level is keys and values; an empty one holds none.

    A key that stands twice is a fault: YAML keeps the last and drops the others without a word. So
    is a number that YAML takes for another one than is written; it is not repeated, for it may be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        return YamlFile(faults=(f"{path}: can not be read: {error}",))
    except yaml.YAMLError as error:
        return YamlFile(faults=(f"{path}: is not YAML: {error}",))
    if values is None:
        return YamlFile()
    if not isinstance(values, dict):
        return YamlFile(faults=(f"{path}: must hold keys and values, found a {type(values).__name__}",))
    names = [
        f"{path}: {key}: a name must be text: put it in quotes" for key in values if type(key) is not str
    ]
    return YamlFile(values, dict(_line_numbers(root, ())), (*names, *_faults(root, path)))


def _line_numbers(node: yaml.Node | None, at: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from _line_numbers(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*at, position), value.start_mark.line + 1
            yield from _line_numbers(value, (*at, position))


def _faults(node: yaml.Node | None, path: Path) -> Iterator[str]:
    if isinstance(node, yaml.ScalarNode):
        yield from _doubtful(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _faults(value, path)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                said = f"stands in line {seen[key.value]} already: only one of them would count"
                yield f"{path}:{line}: {key.value}: {said}"
            seen[key.value] = line
            yield from _faults(value, path)


def _doubtful(node: yaml.ScalarNode, path: Path) -> Iterator[str]:
    is_number = node.tag in (_INTEGER, _FLOAT) and node.style is None
    if is_number and (":" in node.value or _OTHER_BASE.fullmatch(node.value)):
        line = node.start_mark.line + 1
        said = "YAML takes a number with a leading 0 or a colon for another one"
        yield f"{path}:{line}: {said}: write it without, or text in quotes"
