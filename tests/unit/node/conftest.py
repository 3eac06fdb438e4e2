"""Fixtures of the node's unit tests: a folder in memory, and the index database in both kinds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from node.database import Database
from node.tables import SCHEMA_VERSION, metadata
from tests.support.postgres import postgres_server

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of random name is made in it


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder; in memory where that can be, for these tests force thousands of files to disk."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("node")
        return
    with tempfile.TemporaryDirectory(prefix="csvd-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database; a test that asks for it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.db"
    url: str = request.getfixturevalue("postgres_url")
    _empty(url.replace("postgresql:", "postgresql+psycopg:"))
    return url


@pytest.fixture
def empty_database_url(database_url: str) -> str:
    """URL of a database that holds no tables at all."""
    if database_url.startswith("postgresql"):
        _drop_all(database_url.replace("postgresql:", "postgresql+psycopg:"))
    return database_url


def _empty(url: str) -> None:
    """Empty the tables if all are there, which is faster than to make them again."""
    engine = create_engine(url)
    names = set(inspect(engine).get_table_names())
    if names == {*metadata.tables, "alembic_version"}:
        with engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION}'"))  # noqa: S608
    else:
        _drop_all(url)
    engine.dispose()


def _drop_all(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
        metadata.drop_all(connection)
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()
