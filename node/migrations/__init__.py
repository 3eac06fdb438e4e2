"""Brings the tables of the index to the version that this node needs, with all that they hold.

A step only adds: tables, and columns with a default. So processes of the version before, which still run
while a node is updated process by process, go on with the index that a newer one has already brought up.
"""

from __future__ import annotations

import logging

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select

from node.errors import IndexSchemaError
from node.tables import SCHEMA_VERSION, schema_version

# Each opening of the index would tell how it was looked at.
logging.getLogger("alembic").setLevel(logging.WARNING)

_FIRST = "1"
"""The version whose tables were made without a step, and noted in a table of their own."""


def bring_up(connection: Connection) -> None:
    """Take every step that is missing, within the transaction of the connection.

    Raises:
        IndexSchemaError: if a newer node wrote the index.
    """
    config = Config()
    config.set_main_option("script_location", "node:migrations")
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and inspect(connection).has_table(schema_version.name):
        current = str(connection.scalar(select(schema_version.c.version)))
        _refuse_newer(config, current)
        command.stamp(config, _FIRST)
    if current is not None:
        _refuse_newer(config, current)
    if current != SCHEMA_VERSION:
        command.upgrade(config, "head")


def _refuse_newer(config: Config, found: str) -> None:
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if found not in known:
        raise IndexSchemaError(found, SCHEMA_VERSION)
