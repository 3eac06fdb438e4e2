"""Writes what follows from the model of the values: the chart's schema, its defaults, its table of values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel

from helm.values import ChartValues
from node.settings import NodeSettings

CHART = Path(__file__).parent / "csvd-node"

OWNED: dict[str, tuple[str, ...]] = {
    "NodeSettings": ("root", "database_url", "roles", "web", "storage", "engines"),
    "ReceiverSettings": ("host", "port", "tls"),
    "DestinationSettings": ("tls",),
    "LogSettings": ("format",),
}
"""Settings that the chart sets from other values, by class; in ``config`` they are unknown."""

_REPEATED = ("receive", "work", "send", "web")

Schema = dict[str, Any]


def chart_schema() -> Schema:
    """Return the closed JSON schema of all values; ``config`` has the node's own schema."""
    schema = ChartValues.model_json_schema()
    config = NodeSettings.model_json_schema()
    definitions = {**schema["$defs"], **{f"Node{name}": part for name, part in config.pop("$defs").items()}}
    definitions["NodeSettings"] = config
    for name, owned in OWNED.items():
        part = definitions["NodeSettings" if name == "NodeSettings" else f"Node{name}"]
        part["properties"] = {key: value for key, value in part["properties"].items() if key not in owned}
    for name, part in definitions.items():
        if name.startswith("Node"):
            _rename(part)
    _leave_out_defaults(definitions)
    # null leaves a segmentor out.
    segmentors = config["properties"]["segmentors"]
    segmentors["additionalProperties"] = {"anyOf": [segmentors["additionalProperties"], {"type": "null"}]}
    described = schema["properties"]["config"]["description"]
    schema["properties"]["config"] = {"$ref": "#/$defs/NodeSettings", "description": described}
    # Helm adds these.
    schema["properties"]["global"] = {"type": "object", "description": "values that Helm hands to all charts"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema, "$defs": definitions}


def default_values() -> str:
    """Return ``values.yaml``: every value with its default and what it means."""
    lines = ["# Defaults of all values; made from helm/values.py, which also says what is allowed.", ""]
    lines += _lines(ChartValues(), 0)
    return "\n".join(lines).rstrip() + "\n"


def default_pods() -> Schema:
    """Return the defaults of each kind of pods: templates do not see ``values.yaml``."""
    values = ChartValues().model_dump(mode="json", by_alias=True)
    return {role: values[role] for role in ("single", *_REPEATED)}


def value_table() -> str:
    """Return the table of values for people."""
    rows = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in _rows(ChartValues(), "")]
    return "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows])


def readme() -> str:
    """Return the chart's README."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    head, _, _ = text.partition("## Values")
    return f"{head}## Values\n\n{value_table()}\n"


def _rename(schema: Schema) -> None:
    """Point references of the node's schema at their new names."""
    for part in _parts(schema):
        reference = part.get("$ref")
        if isinstance(reference, str):
            part["$ref"] = reference.replace("#/$defs/", "#/$defs/Node")


def _leave_out_defaults(schema: Schema) -> None:
    """Leave the defaults to values.yaml and to the node: some hold paths of the machine that writes this."""
    for part in _parts(schema):
        if {"type", "$ref", "anyOf"} & part.keys():
            part.pop("default", None)


def _parts(part: Any) -> Iterator[Schema]:
    """List all objects within a schema, outermost first."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            yield from _parts(value)


def _lines(values: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        yield f"{indent}# {field.description}"
        key = f"{indent}{field.alias}:"
        if isinstance(value, BaseModel):
            yield key
            yield from _lines(value, depth + 1)
            continue
        yield f"{key} {_as_yaml(value)}"
        if depth == 0:
            yield ""


def _rows(values: BaseModel, place: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        where = f"{place}{field.alias}"
        if isinstance(value, BaseModel) and not _is_repeated(where):
            yield from _rows(value, f"{where}.")
        else:
            shown = "as `single`" if _is_repeated(where) else f"`{_as_yaml(value)}`"
            yield where, shown, cast(str, field.description)


def _is_repeated(where: str) -> bool:
    """Tell whether a value has the same parts as ``single``, which are listed once."""
    return where in _REPEATED


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json(by_alias=True))
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


def write() -> None:
    """Write schema, defaults and README."""
    pods = json.dumps(default_pods(), indent=1)
    (CHART / "files" / "pods.json").write_text(f"{pods}\n", encoding="utf-8")
    schema = json.dumps(chart_schema(), indent=1, ensure_ascii=False)
    (CHART / "values.schema.json").write_text(f"{schema}\n", encoding="utf-8")
    (CHART / "values.yaml").write_text(default_values(), encoding="utf-8")
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
