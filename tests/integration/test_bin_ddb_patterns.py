"""bin/ddb/patterns on a real engine: the rows of the API, and the queries and their cost."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from lib.config import Settings, load
from lib.ddb.store import MessageStore
from lib.identity.tokens import TokenClaims
from tests.support.ddb_scripts import HOSTILE, Run, run_in_process, seeded_database, seeded_store, use_table
from tools.seed.conversation import CONVERSATION_UUID

AUGUSTSZ, BAYKO = "76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35"
SECRET = "0123456789abcdef" * 2
CURSOR = re.compile(r"^Next page: --cursor (\S+)$", re.MULTILINE)

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


@pytest.fixture
def api(seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], FlaskClient]]:
    """The API on the same data, for a user whose `sub` serves as the token."""
    monkeypatch.setenv("SECRET_KEY", SECRET)
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_Any")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", "any")
    monkeypatch.setattr(
        "lib.identity.tokens.TokenVerifier.verify", lambda self, authorization: TokenClaims(authorization, 10**10)
    )
    with redirect_stdout(io.StringIO()):  # where its log goes from now on
        app = create_app(load(Settings))

    def client_of(sub: str) -> FlaskClient:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = sub
        return client

    yield client_of
    app.extensions["dependencies"].users._database.close()


def as_table(response: Any) -> list[str]:
    """A JSON response as the lines that a script prints, with one space between the columns."""
    lines = [list(response[0]), *([str(value) for value in row.values()] for row in response)]
    return [" ".join(" ".join(line).replace("\n", "\\n").replace("\t", "\\t").split()) for line in lines]


def test_get_conversation_prints_the_rows_of_the_api(
    run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient], table: str
) -> None:
    bayko = next(user for user in seeded.conversations.members(group_uuid=CONVERSATION_UUID) if user.uuid == BAYKO)
    seeded.send(group_uuid=CONVERSATION_UUID, sender=bayko, text=HOSTILE)
    response = api("sub-a").get(f"/api/messages/{CONVERSATION_UUID}")
    status, data, printed = run("patterns/get-conversation")
    assert status == 0
    assert data == as_table(response.json)
    assert len(data) == 21
    query, cost, _ = printed.splitlines()
    assert query == (
        f'Query {table}: pk = "MSG#{CONVERSATION_UUID}", ScanIndexForward=False, ConsistentRead=True, Limit=21'
    )
    assert re.fullmatch(r"Rows: 20, requests: 1, capacity units: [1-9][\d.]*", cost)


def test_list_conversations_prints_the_rows_of_the_api(
    run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient], table: str
) -> None:
    augustsz = api("sub-a")
    augustsz.post("/api/messages", json={"message": HOSTILE, "handle": "londo"})
    for handle, sub, uuid, count in [("Augustsz", "sub-a", AUGUSTSZ, 2), ("bayko", "sub-b", BAYKO, 1)]:
        response = api(sub).get("/api/message_groups").json
        assert len(response or []) == count
        for user in (handle, uuid, uuid.upper()):
            status, data, printed = run("patterns/list-conversations", user)
            assert (status, data) == (0, as_table(response))
            assert printed.startswith(
                f'Query {table}: pk = "GRP#{uuid}", ScanIndexForward=False, ConsistentRead=True, '
            )


def test_uuid_needs_no_postgres(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("patterns/list-conversations") == run("patterns/list-conversations", "Augustsz")
    monkeypatch.delenv("DATABASE_URL")
    assert len(run("patterns/list-conversations", BAYKO)[1]) == 2
    assert len(run("patterns/get-conversation")[1]) == 21


@pytest.mark.parametrize(
    ("script", "limit", "pages", "rows"), [("get-conversation", "20", 3, 44), ("list-conversations", "1", 2, 2)]
)
def test_pages_together_are_the_whole_list(
    script: str, limit: str, pages: int, rows: int, run: Run, api: Callable[[str], FlaskClient]
) -> None:
    api("sub-a").post("/api/messages", json={"message": "Good evening!", "handle": "londo"})
    _, whole, printed = run(f"patterns/{script}", "--all", "--limit", limit)
    assert printed.count("Query ") == pages
    assert not CURSOR.search(printed)
    assert len(whole) == rows + 1
    put_together: list[str] = []
    cursor: list[str] = []
    for page in range(pages):
        status, data, printed = run(f"patterns/{script}", "--limit", limit, *cursor)
        assert status == 0
        assert (" AND sk < " in printed) == (page > 0)
        put_together += data[1:]
        cursor = [f"--cursor={text}" for text in CURSOR.findall(printed)]
    assert cursor == []
    assert put_together == whole[1:]


def test_api_and_script_accept_each_others_cursors(
    run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient]
) -> None:
    cursor = CURSOR.search(run("patterns/get-conversation")[2])
    assert cursor
    response = api("sub-b").get(f"/api/messages/{CONVERSATION_UUID}", query_string={"cursor": cursor[1]})
    assert run("patterns/get-conversation", "--cursor", cursor[1])[1] == as_table(response.json)


def test_cursor_needs_the_secret_key(run: Run, seeded: MessageStore) -> None:
    status, data, printed = run("patterns/get-conversation", "--limit", "40")
    assert (status, len(data)) == (0, 41)
    assert printed.endswith("More follow: --all shows them\n")
    assert len(run("patterns/get-conversation", "--limit", "40", "--all")[1]) == 45
    status, _, printed = run("patterns/get-conversation", "--cursor", "from-another-run")
    assert status == 2
    assert printed.startswith("SECRET_KEY is missing")


@pytest.mark.parametrize("user", ["Augustsz", "AUGUSTSZ", BAYKO])
def test_members_see_the_same_messages(user: str, run: Run, seeded: MessageStore) -> None:
    arguments = CONVERSATION_UUID.upper(), "--user", user
    assert run("patterns/get-conversation", *arguments) == run("patterns/get-conversation")


@pytest.mark.parametrize(
    ("script", "arguments", "status", "message"),
    [
        ("get-conversation", ["5ae290ed"], 1, "There is no conversation 5ae290ed\n"),
        ("get-conversation", [BAYKO], 1, f"There is no conversation {BAYKO}\n"),
        ("get-conversation", ["--user", "londo"], 1, "londo is no member of "),
        ("get-conversation", ["--cursor", "forged"], 1, "Invalid: cursor_invalid"),
        ("get-conversation", ["--limit", "101"], 2, "Error: Invalid value for '--limit': "),
        ("list-conversations", ["nobody"], 1, "No user has the handle nobody"),
        ("list-conversations", ["--limit", "0"], 2, "Error: Invalid value for '--limit': "),
    ],
)
def test_refused_request_is_reported_in_one_line(
    script: str, arguments: list[str], status: int, message: str, run: Run, seeded: MessageStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SECRET_KEY", SECRET)
    result, data, printed = run(f"patterns/{script}", *arguments)
    assert (result, data) == (status, [])
    assert printed.splitlines()[-1].startswith(message.rstrip())
