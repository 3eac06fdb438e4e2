"""Reads the YAML file and the environment, and says of every fault where it stands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

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
    """The configuration can not be used; the message lists every fault with its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class _LoadedSettings(BaseSettings, NodeSettings):
    """Settings that the environment has a say in."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values come in as arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> NodeSettings:
    """Merge defaults, the YAML file and the environment (which wins) into checked settings.

    Args:
        path: the YAML file; None takes the one that ``CSVD_CONFIG`` names, if any.

    Raises:
        ConfigurationError: for an unreadable file, unknown keys, impossible values and paths that can not
            be used, each named with file and line or with its environment variable.
    """
    if path is None and CONFIG_VARIABLE in os.environ:
        path = Path(os.environ[CONFIG_VARIABLE])
    file = read_yaml(path) if path else YamlFile()
    if file.faults:
        raise ConfigurationError(file.faults)
    _refuse_unknown_variables()
    try:
        settings = _LoadedSettings(**file.values)
    except ValidationError as error:
        raise ConfigurationError(_faults(error, path, file.lines)) from error
    _check_paths(settings)
    return settings


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
    for length in range(len(location), 0, -1):
        variable = ENVIRONMENT_PREFIX + "__".join(map(str, location[:length])).upper()
        if variable in os.environ:
            return f"environment {variable}: {dotted}"
        if location[:length] in lines:
            return f"{path}:{lines[location[:length]]}: {dotted}"
    return f"{path}: {dotted}" if path else dotted


def _refuse_unknown_variables() -> None:
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in NodeSettings.model_fields}
    unknown = [
        name
        for name in os.environ
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in NOT_SETTINGS
        and name.split("__")[0].upper() not in known
    ]
    if unknown:
        raise ConfigurationError(tuple(f"environment {name}: no such setting" for name in sorted(unknown)))


def _check_paths(settings: NodeSettings) -> None:
    """Refuse a storage folder that can not be written and bundle folders that are not there."""
    faults = [
        f"segmentors.{segment}: no model bundle at {folder}"
        for segment, folder in settings.segmentors.items()
        if not (folder / "manifest.yaml").is_file()
    ]
    nearest = next(place for place in (settings.root, *settings.root.absolute().parents) if place.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        faults.append(f"root: {settings.root} can not be made or written")
    if faults:
        raise ConfigurationError(tuple(faults))
