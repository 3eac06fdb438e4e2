"""Lists every setting with its type, default and meaning, from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from node.configuration import ENVIRONMENT_PREFIX
from node.settings import NodeSettings

OPTIONAL = "?"
"""Marks a section that may be left out as a whole."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted place in the YAML file, its default and what it means."""

    place: str
    default: str
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.place.replace(".", "__").upper()


def list_settings() -> list[Setting]:
    """List all settings in the order of the configuration file."""
    return list(_walk(NodeSettings, ""))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        inner, many = _model_of(field.annotation)
        place = f"{prefix}{name}"
        if inner is None:
            yield Setting(place, _default(field), field.description or "")
        elif many == OPTIONAL:
            yield Setting(place, "none", field.description or "")
            yield from _walk(inner, f"{place}.")
        elif many:
            yield Setting(place, "none", field.description or "")
            yield from _walk(inner, f"{place}.{many}.")
        else:
            yield from _walk(inner, f"{place}.")


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Find the model that a field holds, and how a place within a collection of them is written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    models = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    if not models:
        return None, ""
    if type(None) in get_args(annotation):
        return models[0], OPTIONAL
    return models[0], "<name>" if str in get_args(annotation) else "<n>"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, dict) and all(isinstance(item, Path) for item in value.values()) and value:
        return "the shipped bundles"
    if value is None or (isinstance(value, tuple | frozenset | dict | str) and not value):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def render_settings() -> str:
    """Write the list as a Markdown table."""
    rows = [f"| `{setting.place}` | {setting.default} | {setting.meaning} |" for setting in list_settings()]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])
