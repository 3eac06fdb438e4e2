"""An index of an earlier release is brought up with all it holds; one of a later release is left alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, inspect, select, text

from node.completeness import CompletenessSettings
from node.database import Database
from node.errors import IndexSchemaError
from node.listing import StudyState, study_rows
from node.tables import SCHEMA_VERSION, evaluations, metadata, studies

NOW = datetime(2024, 1, 15, 9, 0, 0, tzinfo=UTC)
OF_FIRST_RELEASE = {"study_uid": "1.2", "first_at": NOW, "last_at": NOW, "revision": 3, "reason": "It waits."}


def steps() -> Config:
    config = Config()
    config.set_main_option("script_location", "node:migrations")
    return config


def make_index_of_first_release(url: str) -> None:
    """Make the tables as the first release did, which knew nothing of steps, with one Study in them."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config = steps()
        config.attributes["connection"] = connection
        command.upgrade(config, "1")
        connection.execute(text("DROP TABLE alembic_version"))
        row = {**OF_FIRST_RELEASE, "is_open": False, "is_given_up": False}
        named = ", ".join(row)
        bound = ", ".join(f":{name}" for name in row)
        statement = text(f"INSERT INTO studies ({named}) VALUES ({bound})")  # noqa: S608 - names of ours
        connection.execute(statement, {**row, "first_at": str(NOW)[:-6], "last_at": str(NOW)[:-6]})
    engine.dispose()


def test_steps_lead_to_the_tables_that_the_code_uses(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert ScriptDirectory.from_config(steps()).get_current_head() == SCHEMA_VERSION
    changelog = Path(__file__).resolve().parents[3] / "CHANGELOG.md"
    assert f"to tables of version {SCHEMA_VERSION}," in changelog.read_text(encoding="utf-8")


def test_index_of_the_first_release_keeps_its_book(empty_database_url: str) -> None:
    make_index_of_first_release(empty_database_url)
    database = Database(empty_database_url)
    (row,) = study_rows(database, NOW, CompletenessSettings())
    assert (row.study_uid, row.state, row.reason) == ("1.2", StudyState.HELD, "It waits.")
    with database.writing() as connection:
        assert connection.scalar(select(studies.c.is_urgent)) is False
        assert inspect(connection).has_table("processes")
        assert connection.scalar(select(evaluations.c.lost)) is None
    database.close()
    again = Database(empty_database_url)
    assert len(study_rows(again, NOW, CompletenessSettings())) == 1
    again.close()


@pytest.mark.parametrize("table", ["alembic_version", "schema_version"])
def test_index_of_a_later_release_is_refused_and_left_alone(empty_database_url: str, table: str) -> None:
    make_index_of_first_release(empty_database_url)
    if table == "alembic_version":
        Database(empty_database_url).close()
    column = "version_num" if table == "alembic_version" else "version"
    engine = create_engine(empty_database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = '99'"))  # noqa: S608 - names of ours
    with pytest.raises(IndexSchemaError, match="restore a backup") as caught:
        Database(empty_database_url)
    assert (caught.value.found, caught.value.expected) == ("99", SCHEMA_VERSION)
    with engine.begin() as connection:
        assert connection.scalar(text(f"SELECT {column} FROM {table}")) in (99, "99")  # noqa: S608
    engine.dispose()


def test_column_that_a_process_of_the_version_before_does_not_name_has_a_default(database: Database) -> None:
    """While a node is updated process by process, the old ones write into tables that are already new."""
    row = {**OF_FIRST_RELEASE, "is_open": True, "is_given_up": False}
    with database.writing() as connection:
        connection.execute(insert(studies).values(row))
        assert connection.scalar(select(studies.c.is_urgent)) is False


def test_every_step_says_what_it_does() -> None:
    folder = Path(__file__).resolve().parents[3] / "node" / "migrations" / "versions"
    revisions = [step.revision for step in ScriptDirectory.from_config(steps()).walk_revisions()]
    assert len(revisions) == len(list(folder.glob("v*.py")))
    assert revisions == [str(number) for number in range(len(revisions), 0, -1)]
