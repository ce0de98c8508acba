"""The migrations of Postgres: order, records, refusals, two processes at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lib.config import ROOT
from lib.postgres.errors import DatabaseUnavailable
from tests.support import scripts
from tools.postgres.migrations import MigrationError, migrate

NAMES = [path.stem for path in sorted((ROOT / "db/migrations").iterdir())]


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations; the second is in Python and needs the first."""
    (tmp_path / "0001_colours.sql").write_text("CREATE TABLE colours (name text); INSERT INTO colours VALUES ('red');")
    (tmp_path / "0002_upper.py").write_text(
        "def migrate(connection):\n    connection.execute('UPDATE colours SET name = upper(name)')\n"
    )
    return tmp_path


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(name.partition("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+", name) for name in NAMES)


def test_each_migration_is_applied_once_and_in_order(url: str, folder: Path) -> None:
    assert migrate(url, folder) == ["0001_colours", "0002_upper"]
    (folder / "0003_lower.sql").write_text("UPDATE colours SET name = lower(name)")
    assert migrate(url, folder) == ["0003_lower"]
    assert migrate(url, folder) == []
    assert rows(url, "SELECT * FROM colours") == [("red",)]


def test_changed_migration_is_refused_before_a_later_one_is_applied(url: str, folder: Path) -> None:
    migrate(url, folder)
    with (folder / "0001_colours.sql").open("a") as file:
        file.write(" -- a note")
    (folder / "0003_more.sql").write_text("INSERT INTO colours VALUES ('blue')")
    with pytest.raises(MigrationError, match=r"^0001_colours.sql has changed since it was applied"):
        migrate(url, folder)
    assert rows(url, "SELECT * FROM colours") == [("RED",)]


def test_failed_migration_changes_nothing_and_is_tried_again(url: str, folder: Path) -> None:
    broken = folder / "0003_broken.sql"
    broken.write_text("DELETE FROM colours; INSERT INTO shades VALUES ('grey')")
    with pytest.raises(MigrationError, match=r'^0003_broken.sql was not applied: relation "shades" does not exist$'):
        migrate(url, folder)
    assert rows(url, "SELECT * FROM colours") == [("RED",)]
    broken.write_text("DELETE FROM colours")
    assert migrate(url, folder) == ["0003_broken"]


def test_migration_does_not_wait_long_for_a_table(url: str, folder: Path) -> None:
    migrate(url, folder)
    (folder / "0003_wide.sql").write_text("ALTER TABLE colours ADD COLUMN code text")
    with psycopg.connect(url) as reader:
        reader.execute("SELECT * FROM colours")
        with pytest.raises(MigrationError, match="lock timeout"):
            migrate(url, folder)
    assert migrate(url, folder) == ["0003_wide"]


def test_two_processes_apply_each_migration_once(url: str) -> None:
    environ = os.environ | {"DATABASE_URL": url, "CRUDDUR_PYTHON": sys.executable}
    processes = [
        subprocess.Popen([ROOT / "bin/db/migrate"], env=environ, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert sorted(re.findall(r"^Applied (\S+)$", "".join(printed), re.MULTILINE)) == NAMES


def test_owner_of_the_database_needs_no_other_right(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO "{name}"')
    assert migrate(url.replace("postgres@", f"{name}@"), ROOT / "db/migrations") == NAMES


def test_script_reports_unreachable_postgres_and_failed_migration_in_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = scripts.runner(capsys, "db")
    monkeypatch.setenv("DATABASE_URL", url)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE VIEW schema_migrations AS SELECT 1 AS name")
    status, _, printed = run("migrate")
    assert (status, printed.count("\n"), "was not applied" in printed) == (1, 1, True)
    with pytest.raises(DatabaseUnavailable):
        migrate("postgresql://127.0.0.1:9/cruddur")
