"""Reads a YAML file of keys and values, and says where each key stands and what YAML itself makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Location = tuple[str | int, ...]

_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_TIMESTAMP, _TRUTH = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"
_OTHER_NUMBER = re.compile(r"[-+]?0[0-7]+|.*[:_].*")
"""YAML 1.1 reads 0104 as octal (68), 1:30 to the base 60 (90) and 1_0 as 10: ports that nobody meant."""

_QUOTATION = re.compile(r"""(?<!') (?:'[^'<][^']+'|".+")""")
"""What YAML's messages repeat of the file, longer than a character; names of tokens are in '<>'."""


class _Loader(yaml.SafeLoader):
    """YAML in which a date, and a word such as yes or no, stays the text that is written.

    No setting is a date, and not each that looks like one is. What a word means its setting knows: for
    one that is on or off, and for an AE title that is NO; a number it never is.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_TIMESTAMP, _TRUTH)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


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
    is a number that YAML takes for another one than is written. No value is repeated: it may be a secret.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        faults = tuple(_faults(root, path, set()))
        if root is None or faults:
            return YamlFile(faults=faults)
        values, lines = loader.construct_document(root), dict(_line_numbers(root, ()))
    except (OSError, UnicodeDecodeError) as error:
        return YamlFile(faults=(f"{path}: cannot be read: {error}",))
    except yaml.YAMLError as error:
        return YamlFile(faults=(_not_yaml(error, path),))
    except RecursionError:
        return YamlFile(faults=(f"{path}: holds something within itself, or too many levels",))
    except (ValueError, LookupError, AttributeError):
        return YamlFile(faults=(f"{path}: holds a value that is not of its own type: put it in quotes",))
    if values is None:
        return YamlFile()
    if not isinstance(values, dict):
        return YamlFile(faults=(f"{path}: must hold keys and values, found a {type(values).__name__}",))
    return YamlFile(values, lines)


def _not_yaml(error: yaml.YAMLError, path: Path) -> str:
    """Say what is wrong and where, without the lines and words of the file that YAML itself would show."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"{path}: is not YAML: {getattr(error, 'reason', 'it cannot be read')}"
    place = f"{path}:{error.problem_mark.line + 1}" if error.problem_mark else str(path)
    begun = f" from line {error.context_mark.line + 1} on" if error.context_mark else ""
    context = f"{error.context}{begun}: " if error.context else ""
    said = _QUOTATION.sub("", f"{context}{error.problem}")
    return f"{place}: is not YAML: {said}; put text with characters such as * & ! : % @ in quotes"


def _line_numbers(node: yaml.Node | None, at: Location) -> Iterator[tuple[Location, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            yield from _line_numbers(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*at, position), value.start_mark.line + 1
            yield from _line_numbers(value, (*at, position))


def _faults(node: yaml.Node | None, path: Path, visited: set[int]) -> Iterator[str]:
    """Yield what is wrong with a node, once however often the file refers to it."""
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield from _doubtful(node, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _faults(value, path, visited)
    elif isinstance(node, yaml.MappingNode):
        yield from _names(node, path)
        for _, value in node.value:
            yield from _faults(value, path, visited)


def _names(node: yaml.MappingNode, path: Path) -> Iterator[str]:
    """Yield what is wrong with the names of values."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else "a list or keys and values"
        if key.tag not in (_TEXT, _MERGE):
            yield f"{path}:{line}: {name}: a name must be text: put it in quotes"
        elif name in seen:
            said = f"stands in line {seen[name]} already: only one of them would count"
            yield f"{path}:{line}: {name}: {said}"
        seen[name] = line


def _doubtful(node: yaml.ScalarNode, path: Path) -> Iterator[str]:
    is_number = node.tag in (_INTEGER, _FLOAT) and node.style is None
    if is_number and _OTHER_NUMBER.fullmatch(node.value):
        line = node.start_mark.line + 1
        said = "YAML takes a number with a leading 0, a colon or an underscore for another one"
        yield f"{path}:{line}: {said}: write it without, or text in quotes"
