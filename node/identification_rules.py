"""The table of identification: read from ``identification_rules.yaml``, extended by the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import yaml
from pydantic import TypeAdapter

from node.identification import IdentificationRule

_TABLE = TypeAdapter(tuple[IdentificationRule, ...])


def parse_rules(text: str) -> tuple[IdentificationRule, ...]:
    """Read a table from YAML.

    Raises:
        pydantic.ValidationError: for a rule that is none, with its place in the list.
        yaml.YAMLError: if the text is not YAML.
    """
    return _TABLE.validate_python(yaml.safe_load(text))


DEFAULT_RULES = parse_rules(files("node").joinpath("identification_rules.yaml").read_text(encoding="utf-8"))
"""The built-in table in the order in which it is asked."""


def rules_with(configured: Sequence[IdentificationRule]) -> tuple[IdentificationRule, ...]:
    """Return the table with an administrator's rules in front, so that they decide first."""
    return (*configured, *DEFAULT_RULES)
