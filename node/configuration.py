"""Reads the YAML file and the environment, and says of every fault where it stands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from node.errors import NodeError
from node.fault_words import fault_in_words
from node.settings import ENVIRONMENT_PREFIX, PROTOCOLS, NodeSettings
from node.settings_reference import list_settings
from node.termination import TERMINATION_VARIABLE
from node.yaml_file import Location, YamlFile, read_yaml

CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names the configuration file when the command line does not."""

NOT_SETTINGS = frozenset({CONFIG_VARIABLE, TERMINATION_VARIABLE})
"""Variables that no file can set; the last names where Kubernetes reads why a process ended."""


class ConfigurationError(NodeError):
    """The configuration cannot be used; the message lists every fault with its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class _Variables(BaseSettings, NodeSettings):
    """Names the variables that can set something; never made, for it would take names in any case."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")


def load_settings(path: Path | None = None) -> NodeSettings:
    """Merge defaults, the YAML file and the environment (which wins) into checked settings.

    Args:
        path: the YAML file; None takes the one that ``CSVD_CONFIG`` names, if any.

    Raises:
        ConfigurationError: for an unreadable file, unknown keys, impossible values and paths that cannot
            be used, each named with file and line or with its environment variable.
    """
    if path is None and CONFIG_VARIABLE in os.environ:
        path = Path(os.environ[CONFIG_VARIABLE])
    path = path and path.expanduser()
    file = read_yaml(path) if path else YamlFile()
    if file.faults:
        raise ConfigurationError(file.faults)
    _refuse_unknown_variables()
    try:
        settings = NodeSettings.model_validate(_merged(file.values, _read_variables()))
    except ValidationError as error:
        raise ConfigurationError(_faults(error, path, file.lines)) from error
    _check_paths(settings)
    return settings


def _read_variables() -> dict[str, Any]:
    """Return what the environment sets.

    Raises:
        ConfigurationError: if a list or a section is not written as JSON.
    """
    try:
        return EnvSettingsSource(_Variables)()
    except SettingsError as error:
        raise ConfigurationError(tuple(_not_json(error))) from None


def _not_json(error: SettingsError) -> Iterator[str]:
    """Name the variable whose value pydantic could not parse; it names only the section."""
    written = getattr(error.__cause__, "doc", None)
    names = [name for name, value in os.environ.items() if _is_ours(name) and value == written]
    for name in sorted(names):
        yield f'environment {name}: must be JSON: ["a", "b"] for a list, {{"key": "value"}} for a section'
    if not names:
        yield f"environment: {error}"


def _merged(values: dict[str, Any], stronger: dict[str, Any]) -> dict[str, Any]:
    """Lay values over others, section by section."""
    both = {
        key: _merged(values[key], value)
        for key, value in stronger.items()
        if isinstance(value, dict) and isinstance(values.get(key), dict)
    }
    return {**values, **stronger, **both}


def _faults(error: ValidationError, path: Path | None, lines: Mapping[Location, int]) -> tuple[str, ...]:
    known = [setting.place for setting in list_settings()]
    return tuple(
        f"{_place(_written(fault['loc']), path, lines)}: "
        f"{fault_in_words(fault['type'], fault['msg'], _written(fault['loc']), known)}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def _written(location: Location) -> Location:
    """Return the place as it stands in the file: without the protocol that a destination was read by."""
    return tuple(part for part in location if part not in PROTOCOLS)


def _place(location: Location, path: Path | None, lines: Mapping[Location, int]) -> str:
    """Name the fault's origin: environment variable, file with line, or default."""
    dotted = ".".join(map(str, location)) or "configuration"
    variables = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        variable = ENVIRONMENT_PREFIX + "__".join(map(str, location[:length])).upper()
        if variable in variables:
            return f"environment {variables[variable]}: {dotted}"
        if location[:length] in lines:
            return f"{path}:{lines[location[:length]]}: {dotted}"
    return f"{path}: {dotted}" if path else dotted


def _refuse_unknown_variables() -> None:
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in NodeSettings.model_fields}
    unknown = [
        name
        for name in os.environ
        if _is_ours(name) and name not in NOT_SETTINGS and name.split("__")[0].upper() not in known
    ]
    if unknown:
        raise ConfigurationError(tuple(f"environment {name}: no such setting" for name in sorted(unknown)))


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(ENVIRONMENT_PREFIX)


def _check_paths(settings: NodeSettings) -> None:
    """Refuse a storage folder that cannot be written and bundle folders that are not there."""
    faults = [
        f"segmentors.{segment}: no model bundle at {folder}"
        for segment, folder in settings.segmentors.items()
        if not (folder / "manifest.yaml").is_file()
    ]
    if problem := _problem_of(settings.root):
        faults.append(f"root: {settings.root} cannot be made or written: {problem}")
    if faults:
        raise ConfigurationError(tuple(faults))


def _problem_of(root: Path) -> str:
    """Say why a folder cannot be made or written, empty if it can."""
    nearest = next(place for place in (root, *root.absolute().parents) if place.exists())
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    if os.access(nearest, os.W_OK | os.X_OK):
        return ""
    if os.statvfs(nearest).f_flag & os.ST_RDONLY:
        return f"the file system of {nearest} is read-only"
    return f"{nearest} belongs to another user or does not let this one write"
