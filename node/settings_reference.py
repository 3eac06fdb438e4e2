"""Lists every setting with its type, default and meaning, from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from node.settings import NodeSettings


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its dotted place in the YAML file, its default and what it means."""

    place: str
    default: str
    meaning: str


def list_settings() -> list[Setting]:
    """List all settings in the order of the configuration file."""
    return list(_walk(NodeSettings, ""))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        inner, many = _models_of(field.annotation)
        place = f"{prefix}{name}"
        if many or not inner:
            yield Setting(place, "none" if many else _default(field), field.description or "")
        elif not field.is_required() and field.get_default(call_default_factory=True) is None:
            yield Setting(place, "none", field.description or "")
        below = f"{place}.{many}." if many else f"{place}."
        seen = dict.fromkeys(setting for one in inner for setting in _walk(one, below))
        yield from seen


def _models_of(annotation: Any) -> tuple[list[type[BaseModel]], str]:
    """Find the models that a field may hold, and how a place within a collection of them is written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], ""
    parts = get_args(annotation)
    models = list(dict.fromkeys(model for part in parts for model in _models_of(part)[0]))
    is_collection = get_origin(annotation) in (dict, tuple)
    many = ("<name>" if str in parts else "<n>") if models and is_collection else ""
    return models, many


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
