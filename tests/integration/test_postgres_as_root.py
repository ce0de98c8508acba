"""Started by root, the embedded Postgres runs as another user. No folder opens to others for it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tools.local_stack import postgres
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import EngineError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as another user")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder of root, in which the user of Postgres reaches neither the checkout nor the programs."""
    top = Path(tempfile.mkdtemp(prefix="cruddur-root-"))
    top.chmod(0o711)
    home = top / "home"
    (home / "checkout/.local").mkdir(parents=True, mode=0o755)
    home.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "_SHARED", top / "shared")
        programs = postgres._programs()
        package = programs.parents[1]
        for part in (package, package.with_name(f"{package.name}.libs")):
            (home / part.name).symlink_to(part)
        patch.setattr(postgres, "_programs", lambda: home / programs.relative_to(package.parent))
        yield home
    shutil.rmtree(top)


def modes(home: Path) -> dict[Path, int]:
    """The modes of the folders that lead to the data and to the programs."""
    folders = (home / "checkout/.local", *postgres._programs().parents, *(home / "checkout/.local").parents)
    return {folder: folder.stat().st_mode for folder in folders}


def server(home: Path) -> Postgres:
    folder = home / "checkout/.local/postgres"
    return Postgres(folder, log=home / "log", durable=False)


def count_tables(server: Postgres) -> int:
    """The number of tables named `kept`; creates the table for the next call."""
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute("SELECT FROM pg_tables WHERE tablename = 'kept'").rowcount
        connection.execute("CREATE TABLE IF NOT EXISTS kept ()")
    return rows


def test_postgres_in_a_private_home_opens_no_folder_and_finds_its_data_again(home: Path) -> None:
    before = modes(home)
    counts = []
    for _ in range(2):
        with server(home) as running:
            counts.append(count_tables(running))
    assert counts == [0, 1]
    assert modes(home) == before
    [data] = (home.parent / "shared").iterdir()
    assert data.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(data)
    with pytest.raises(EngineError, match=f"{data} is gone, with the users"):
        server(home)


def test_shared_folder_that_is_closed_stays_closed(home: Path) -> None:
    shared = home.parent / "shared"
    shared.mkdir(mode=0o700)
    with pytest.raises(EngineError, match=f"{shared} is closed to nobody"):
        server(home)
    assert shared.stat().st_mode & 0o777 == 0o700


def test_data_moves_out_of_a_folder_that_becomes_private(home: Path) -> None:
    home.chmod(0o711)
    with server(home) as running:
        assert count_tables(running) == 0
    assert (home / "checkout/.local/postgres/data").exists()
    home.chmod(0o700)
    with server(home) as running:
        assert count_tables(running) == 1
    assert not (home / "checkout/.local/postgres/data").exists()


def test_data_is_beside_a_private_local_dir(home: Path) -> None:
    home.chmod(0o711)
    (home / "checkout/.local").chmod(0o700)
    with server(home) as running:
        assert count_tables(running) == 0
    assert len(list((home / "checkout").glob(".local-postgres-*/data"))) == 1
