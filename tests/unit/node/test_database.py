"""Transactions are on disk or undone, and a database of another kind or version is refused."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Integer, cast, create_engine, func, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import StatementError

from node.database import Database
from node.errors import DamagedDatabaseError, IndexUnavailableError, OldSqliteError
from node.leases import open_lease
from node.settings import NodeSettings
from node.sqlite_age import check_sqlite
from node.tables import studies
from node.work_queue import DurableQueue

NOW = datetime(2024, 1, 15, 9, 0, 0, 250000, tzinfo=UTC)


def study(study_uid: str, now: datetime = NOW) -> dict[str, object]:
    return {
        "study_uid": study_uid,
        "first_at": now,
        "last_at": now,
        "revision": 0,
        "is_open": True,
        "is_given_up": False,
        "reason": "",
    }


def test_database_without_an_encoding_serves(postgres_url: str) -> None:
    """SQL_ASCII is what a server has that was made without a locale."""
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:").replace("/postgres?", "/ascii?")
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as server:
        server.execute(text("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"))
    engine.dispose()
    settings = NodeSettings.model_validate({"database_url": url})
    with closing(Database(settings.index_url)) as database:
        with database.writing() as connection:
            connection.execute(insert(studies).values({**study("1.2"), "reason": "Größe"}))
        with database.reading() as connection:
            assert connection.scalar(select(studies.c.reason)) == "Größe"
    lease = open_lease(settings.index_url)
    assert not lease.hold("process")
    lease.release()
    with DurableQueue(settings.workflow_url) as queue:
        assert queue.at_work() == []


def test_a_user_who_owns_its_database_needs_no_other_right(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as server:
        server.execute(text("CREATE ROLE plain LOGIN"))
        server.execute(text("CREATE DATABASE plain OWNER plain"))
    engine.dispose()
    own = url.replace("//postgres@/postgres?", "//plain@/plain?")
    settings = NodeSettings.model_validate({"database_url": own})
    with closing(Database(settings.index_url)) as database, database.reading() as connection:
        assert connection.scalar(text("SELECT current_user")) == "plain"
        assert connection.scalar(select(func.count()).select_from(studies)) == 0
    lease = open_lease(settings.index_url)
    assert not lease.hold("process")
    lease.release()
    with DurableQueue(settings.workflow_url) as queue:
        assert queue.at_work() == []


def test_session_with_an_end_that_is_gone_ends_within_seconds(postgres_url: str) -> None:
    """Else a machine without power keeps the rows that it locked for two hours, the server's default."""
    url = postgres_url.replace("postgresql:", "postgresql+psycopg:")
    settings = NodeSettings(database_url=SecretStr(url))
    assert settings.workflow_url == settings.index_url
    asked = text("SELECT name, reset_val FROM pg_settings WHERE name LIKE 'tcp_%' OR name LIKE 'idle_in_%'")
    with closing(Database(settings.index_url)) as database, database.reading() as connection:
        of_server = {row.name: int(row.reset_val) for row in connection.execute(asked)}
        of_client = connection.connection.driver_connection.info.get_parameters()
    assert of_server["tcp_keepalives_idle"] == 3
    assert of_server["tcp_keepalives_interval"] * of_server["tcp_keepalives_count"] == 6
    assert of_server["tcp_user_timeout"] == 9000
    assert of_server["idle_in_transaction_session_timeout"] == 60_000
    assert (of_client["keepalives_idle"], of_client["tcp_user_timeout"]) == ("3", "9000")
    assert of_client["connect_timeout"] == "5"


def test_url_that_says_how_its_sessions_are_keeps_it() -> None:
    url = "postgresql+psycopg://node@db/index?options=-c%20jit%3Doff&tcp_user_timeout=500"
    said = make_url(NodeSettings(database_url=SecretStr(url)).index_url).query
    assert (said["options"], said["tcp_user_timeout"]) == ("-c jit=off", "500")
    assert (said["client_encoding"], said["keepalives_idle"]) == ("utf8", "3")


def test_time_comes_back_as_the_same_point_in_utc(database: Database) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=-5)))
    with database.writing() as connection:
        connection.execute(insert(studies).values(study("1.2", local)))
    with database.reading() as connection:
        found = connection.scalar(select(studies.c.first_at))
    assert (found, found.tzinfo) == (NOW, UTC)


def test_time_without_a_zone_is_a_fault(database: Database) -> None:
    with pytest.raises(StatementError, match="needs a time zone"), database.writing() as connection:
        connection.execute(insert(studies).values(study("1.2", NOW.replace(tzinfo=None))))


def test_error_amid_a_transaction_undoes_it(database: Database) -> None:
    with pytest.raises(IndexUnavailableError), database.writing() as connection:
        connection.execute(insert(studies), [study("1.2"), study("1.2")])
    with database.reading() as connection:
        assert connection.scalar(select(studies.c.study_uid)) is None


def test_no_count_is_lost_between_many_writers(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(insert(studies).values(study("1.2")))

    def count(_: int) -> None:
        with database.writing() as connection:
            seen = connection.scalar(select(studies.c.revision).with_for_update())
            connection.execute(update(studies).values(revision=cast(seen + 1, Integer)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(100)))
    with database.reading() as connection:
        assert connection.scalar(select(studies.c.revision)) == 100


def test_sqlite_forces_each_transaction_to_disk(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/index.db")
    full = 2
    with database.writing() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == full
    database.close()


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/index.db", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"]
)
def test_database_that_can_not_be_opened_is_unavailable(url: str) -> None:
    with pytest.raises(IndexUnavailableError, match="cannot be opened") as caught:
        Database(url)
    assert caught.value.retryable


def test_file_that_is_no_database_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_text("this is not SQLite, and longer than its header: " + "x" * 200)
    with pytest.raises(DamagedDatabaseError) as caught:
        Database(f"sqlite:///{path}")
    assert not caught.value.retryable
    assert str(caught.value) == (
        f"{path} cannot be used: file is not a database; "
        "restore a backup, or move it away and run `csvd-node rebuild-index`"
    )
    with pytest.raises(DamagedDatabaseError, match="not a database; remove it: it is made anew"):
        DurableQueue(f"sqlite:///{path}")


def test_file_that_was_cut_off_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    Database(f"sqlite:///{path}").close()
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(DamagedDatabaseError, match="malformed"):
        Database(f"sqlite:///{path}")


@pytest.mark.parametrize("replaced", [False, True])
def test_file_that_is_taken_away_beneath_a_process_is_not_written(tmp_path: Path, replaced: bool) -> None:
    """The operating system would let it write, into what is gone with the process."""
    path = tmp_path / "index.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        with database.writing() as connection:
            connection.execute(insert(studies).values(study("1.2")))
        path.rename(tmp_path / "kept.db")
        if replaced:
            path.write_bytes((tmp_path / "kept.db").read_bytes())
        with pytest.raises(IndexUnavailableError, match="was moved, removed or replaced"), database.writing():
            pytest.fail("it must not come to this")
        with pytest.raises(IndexUnavailableError, match="restart"):
            database.check()
        (tmp_path / "kept.db").rename(path)
        assert database.check() == "sqlite answers"


def test_lock_that_can_not_be_taken_is_named(tmp_path: Path) -> None:
    """A folder stands for a file of another user: the super-user may do anything but this."""
    (tmp_path / "index.sqlite.serving").mkdir()
    lease = open_lease(f"sqlite:///{tmp_path}/index.sqlite")
    with pytest.raises(IndexUnavailableError, match=r"index\.sqlite\.serving: Is a directory"):
        lease.hold("one")


def test_lost_tables_are_unavailable(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("DROP TABLE studies"))
    with pytest.raises(IndexUnavailableError, match="cannot be read"), database.reading() as connection:
        connection.execute(select(studies))


def test_sqlite_without_returning_is_refused_with_what_helps() -> None:
    """As RHEL 9 has it, for every Python that it comes with."""
    with pytest.raises(OldSqliteError, match=r"SQLite 3\.34\.1, and the index needs 3\.35 .*PostgreSQL"):
        check_sqlite((3, 34, 1))


def test_every_connection_tells_milliseconds() -> None:
    """DBOS asks SQLite for them from Python 3.12 on; before 3.42 it has none, as on Debian 12."""
    with create_engine("sqlite://").connect() as connection:
        told = [connection.execute(text("SELECT unixepoch('subsec')")).scalar_one() for _ in range(5)]
    assert told == pytest.approx([time.time()] * 5, abs=10)
    assert any(seconds % 1 for seconds in told)
