"""The migrations of Postgres: order, records, refusals, two processes at once."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from lib.config import ROOT
from lib.postgres.database import Database
from lib.users.directory import Outcome, SignUp, UserDirectory
from tests.support import scripts
from tests.support.clocks import eventually
from tools.postgres.migrations import MigrationError, migrate
from tools.seed.conversation import seed_users

# A program for another process, with a URL and a folder as arguments.
MIGRATE = """
import sys
from pathlib import Path
from tools.postgres.migrations import migrate
print(migrate(sys.argv[1], Path(sys.argv[2])))
"""

NAMES = [path.stem for path in sorted((ROOT / "db/migrations").glob("[0-9]*"))]


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


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(name.partition("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+", name) for name in NAMES)


def test_readiness_checks_every_column_constraint_and_trigger(url: str) -> None:
    migrate(url)
    parts = rows(
        url,
        """
        SELECT relname, 'column ' || attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT relname, 'constraint ' || conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE relnamespace = 'public'::regnamespace AND contype <> 'n'
        UNION ALL
        SELECT relname, 'trigger ' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        """,
    )
    query = (ROOT / "db/sql/database/differences.sql").read_text()
    checked = re.findall(r"\('(\w+)', '(\w+ \w+)', '[^']+'\)", query)
    assert sorted(checked) == sorted(part for part in parts if part[0] != "schema_migrations")


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


def test_migration_of_a_process_that_hangs_frees_its_locks(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.postgres.migrations._IDLE_TIMEOUT", "100ms")
    (folder / "0003_hang.py").write_text(
        "import time\n\n\ndef migrate(connection):\n    connection.execute('LOCK colours')\n    time.sleep(1)\n"
    )
    with pytest.raises(MigrationError, match=r"^0003_hang.py was not applied: .*idle-in-transaction timeout"):
        migrate(url, folder)


def test_two_processes_apply_each_migration_once(url: str, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(1)")
    running = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT pg_sleep(1)'"
    command = [sys.executable, "-c", MIGRATE, url, folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert eventually(lambda: bool(rows(url, running)))
        assert migrate(url, folder) == []
        assert first.communicate(timeout=10)[0] == "['0001_colours', '0002_upper', '0003_slow']\n"


def test_migrated_database_needs_no_right_to_change_it(url: str) -> None:
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET default_transaction_read_only = on')
    assert migrate(url) == []


def test_owner_of_the_database_needs_no_other_right(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'CREATE ROLE "{name}" LOGIN')
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO "{name}"')
    assert migrate(url.replace("postgres@", f"{name}@") + "&sslmode=prefer") == NAMES


def test_script_reports_a_failed_migration_in_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    execute(url, "CREATE VIEW schema_migrations AS SELECT 1 AS name")
    status, _, printed = scripts.runner(capsys, "db")("migrate")
    assert (status, printed.count("\n"), "was not applied" in printed) == (1, 1, True)


ANDREW, BAYKO, LONDO = (f"0a4e7c1d-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
BOOTCAMP = f"""
CREATE TABLE users (
    uuid uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    display_name varchar(100) NOT NULL,
    handle text NOT NULL,
    email text NOT NULL,
    bio text,
    cognito_user_id text NOT NULL,
    created_at timestamp DEFAULT current_timestamp NOT NULL
);
INSERT INTO users (uuid, display_name, handle, email, cognito_user_id, created_at) VALUES
    ('{ANDREW}', 'Andrew', 'andrew', 'andrew@example.com', 'sub-1', '2023-04-25 10:16:00'),
    ('{BAYKO}', 'Bayko', 'bayko', 'bayko@example.com', 'MOCK', '2023-04-25 10:16:00'),
    ('{LONDO}', '', 'londo', 'londo@example.com', 'MOCK', '2023-04-25 10:16:00');
"""

# The columns and the constraints of `users`, as Postgres describes them, without the bootcamp's own column.
DESCRIPTION = """
SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'users'::regclass AND attnum > 0 AND attname <> 'bio'
UNION ALL
SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = 'users'::regclass
ORDER BY 1
"""


def test_table_of_the_bootcamp_is_brought_up_to_date(url: str, new_database: Callable[[], str]) -> None:
    fresh = new_database()
    migrate(fresh)
    execute(url, BOOTCAMP)
    migrate(url)
    assert rows(url, DESCRIPTION) == rows(fresh, DESCRIPTION)
    names = "SELECT handle, display_name, cognito_user_id, created_at::timestamp FROM users ORDER BY handle"
    created_at = datetime.datetime(2023, 4, 25, 10, 16)  # noqa: DTZ001 - the column's own form
    assert rows(url, names) == [
        ("andrew", "Andrew", "sub-1", created_at),
        ("bayko", "Bayko", None, created_at),
        ("londo", "londo", None, created_at),
    ]


def test_table_without_records_is_taken_over_unchanged(url: str, tmp_path: Path) -> None:
    execute(url, (ROOT / "db/migrations/0001_users.sql").read_text() + (ROOT / "db/seed.sql").read_text())
    before = rows(url, DESCRIPTION), rows(url, "SELECT * FROM users ORDER BY uuid")
    for name in NAMES[:2]:
        shutil.copy(ROOT / f"db/migrations/{name}.sql", tmp_path)
    assert migrate(url, tmp_path) == NAMES[:2]
    assert (rows(url, DESCRIPTION), rows(url, "SELECT * FROM users ORDER BY uuid")) == before


def test_newcomers_and_seeds_are_added_to_the_table_of_the_bootcamp(url: str) -> None:
    execute(url, BOOTCAMP)
    migrate(url)
    with Database(url) as database:
        assert seed_users(database) == 1  # bayko and londo are there
        newcomer = SignUp("sub-2", "gkar", "G'Kar", "gkar@example.com", email_verified=True)
        assert UserDirectory(database).provision(newcomer)[1] is Outcome.CREATED


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        (
            "UPDATE users SET handle = 'andrew' WHERE handle = 'bayko'",
            f"the handle andrew is in the rows {ANDREW} and {BAYKO}",
        ),
        (
            "UPDATE users SET cognito_user_id = 'sub-1' WHERE handle = 'bayko'",
            f"the Cognito id sub-1 is in the rows {ANDREW} and {BAYKO}",
        ),
        (
            "UPDATE users SET handle = '' WHERE handle = 'bayko'",
            f"handle is empty or too long in the row {BAYKO}",
        ),
        (
            "ALTER TABLE users DROP COLUMN email; DELETE FROM users WHERE handle <> 'bayko'",
            f"email is empty in the row {BAYKO}",
        ),
        (
            "ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0; ALTER TABLE users ALTER COLUMN age DROP DEFAULT",
            "the column age is NOT NULL without a default, so that nobody could sign up",
        ),
    ],
)
def test_rows_that_stand_in_the_way_are_named_and_nothing_changes(url: str, change: str, obstacle: str) -> None:
    execute(url, BOOTCAMP + change)
    before = rows(url, "SELECT * FROM users ORDER BY uuid")
    with pytest.raises(MigrationError) as caught:
        migrate(url)
    assert str(caught.value).endswith(f"was not applied: correct the table users first: {obstacle}")
    assert rows(url, "SELECT * FROM users ORDER BY uuid") == before


def test_view_that_stands_in_the_way_is_named(url: str) -> None:
    execute(url, BOOTCAMP + "CREATE VIEW joined AS SELECT handle, created_at FROM users")
    with pytest.raises(MigrationError, match='rule _RETURN on view joined depends on column "created_at"$'):
        migrate(url)


def test_table_that_the_new_one_would_hide_is_named(url: str) -> None:
    execute(url, BOOTCAMP + "CREATE SCHEMA postgres")
    with pytest.raises(MigrationError, match="the empty table postgres.users hides public.users: remove one of"):
        migrate(url)
    execute(
        url, "INSERT INTO postgres.users (handle, display_name, email) VALUES ('gkar', 'G''Kar', 'gkar@example.com')"
    )
    assert migrate(url)[0] == "0006_hidden_users"
