"""Files that follow from the code: ``make derived`` writes them, and tests hold them equal to it.

- docs/configuration.md: the table of settings, from the models of the settings.
- docs/conformance.md: its tables, from what the node does.
- helm/csvd-node: schema, values.yaml, files/pods.json and the table of values, from ``helm.values`` and the
  settings.
- docker/compose/alerts.yaml: what the chart makes of its alerts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

import helm.schema
from node.settings_reference import render_settings
from tests.support import conformance_tables
from tests.support.chart import REPOSITORY, alert_rules

CONFIGURATION = REPOSITORY / "docs" / "configuration.md"
COMPOSE_ALERTS = REPOSITORY / "docker" / "compose" / "alerts.yaml"

REMEDY = "a derived file is not what the code says: run `make derived`"
"""What to do when a test finds one that differs."""

_SETTINGS = re.compile(r"^\| setting \| default \| meaning \|\n(?:\|.*\n)+", re.MULTILINE)

_NAMESPACE = re.compile(r'namespace="[^"]*",?')
"""By which the chart's alerts look at one release alone."""

_ALERTS_HEAD = (
    "# Made from the chart (helm/csvd-node/templates/_rules.tpl) with its defaults by `make derived`.\n"
)


def with_settings(text: str) -> str:
    """Return docs/configuration.md with every setting as it is."""
    return _SETTINGS.sub(lambda _: f"{render_settings()}\n", text, count=1)


def compose_alerts() -> str:
    """Return the alerts of the demonstration, where nothing has a namespace.

    Needs Helm (``make .tools/.installed``).
    """
    rules = alert_rules("single-gpu")
    for rule in rules["groups"][0]["rules"]:
        del rule["labels"]["namespace"]
        rule["expr"] = _NAMESPACE.sub("", rule["expr"]).replace("{}", "")
    return _ALERTS_HEAD + yaml.safe_dump(rules, sort_keys=False, width=1000)


def write() -> None:
    """Write all of them."""
    helm.schema.write()
    _rewrite(CONFIGURATION, with_settings)
    _rewrite(conformance_tables.DOCUMENT, conformance_tables.with_tables)
    COMPOSE_ALERTS.write_text(compose_alerts(), encoding="utf-8")


def _rewrite(path: Path, derive: Callable[[str], str]) -> None:
    path.write_text(derive(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
