"""bin/ddb/patterns on a real engine: they list what the API lists, and tell how and at what cost."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from app import create_app
from lib.config import Settings, load
from lib.ddb.items import InboxRow, Message
from lib.ddb.store import MessageStore
from lib.users.directory import User
from tests.support.ddb_scripts import HOSTILE, Run, run_in_process, seeded_database, seeded_store, use_table
from tools.seed.conversation import CONVERSATION_UUID

AUGUSTSZ, BAYKO = "76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35"
CURSOR = re.compile(r"^Next page: --cursor (\S+)$", re.MULTILINE)

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


@pytest.fixture
def api(seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], FlaskClient]]:
    """The API on the same data, for a user whose `sub` is taken as the token."""
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_ID", "us-east-1_Any")
    monkeypatch.setenv("AWS_COGNITO_USER_POOL_CLIENT_ID", "any")
    monkeypatch.setattr("lib.identity.tokens.TokenVerifier.verify", lambda self, authorization: authorization)
    with redirect_stdout(io.StringIO()):  # where its log goes from now on
        app = create_app(load(Settings))

    def client_of(sub: str) -> FlaskClient:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = sub
        return client

    yield client_of
    app.extensions["dependencies"].users._database.close()


def as_table(answer: Any) -> list[str]:
    """A JSON answer as the lines that a script prints, with one space between the columns."""
    lines = [list(answer[0]), *([str(value) for value in row.values()] for row in answer)]
    return [" ".join(" ".join(line).replace("\n", "\\n").replace("\t", "\\t").split()) for line in lines]


def test_get_conversation_lists_what_the_api_lists(
    run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient], table: str
) -> None:
    bayko = next(user for user in seeded.conversations.members(group_uuid=CONVERSATION_UUID) if user.uuid == BAYKO)
    seeded.send(group_uuid=CONVERSATION_UUID, sender=bayko, text=HOSTILE)
    answer = api("sub-a").get(f"/api/messages/{CONVERSATION_UUID}")
    status, data, said = run("patterns/get-conversation")
    assert status == 0
    assert data == as_table(answer.json)
    assert len(data) == 21
    query, cost, _ = said.splitlines()
    assert query == (
        f'Query {table}: pk = "MSG#{CONVERSATION_UUID}", ScanIndexForward=False, ConsistentRead=True, Limit=21'
    )
    assert re.fullmatch(r"Rows: 20, requests: 1, capacity units: [1-9][\d.]*", cost)


def test_list_conversations_lists_what_the_api_lists(
    run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient], table: str
) -> None:
    augustsz = api("sub-a")
    augustsz.post("/api/messages", json={"message": HOSTILE, "handle": "londo"})
    for who, sub, uuid, count in [("Augustsz", "sub-a", AUGUSTSZ, 2), ("bayko", "sub-b", BAYKO, 1)]:
        answer = api(sub).get("/api/message_groups").json
        assert len(answer or []) == count
        for named in (who, uuid, uuid.upper()):
            status, data, said = run("patterns/list-conversations", named)
            assert (status, data) == (0, as_table(answer))
            assert said.startswith(f'Query {table}: pk = "GRP#{uuid}", ScanIndexForward=False, ConsistentRead=True, ')


def test_uuid_needs_no_postgres(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("patterns/list-conversations") == run("patterns/list-conversations", "Augustsz")
    monkeypatch.delenv("DATABASE_URL")
    assert len(run("patterns/list-conversations", BAYKO)[1]) == 2
    assert len(run("patterns/get-conversation")[1]) == 21


@pytest.mark.parametrize(
    ("script", "limit", "pages", "rows"), [("get-conversation", "20", 3, 44), ("list-conversations", "1", 2, 2)]
)
def test_pages_put_together_are_the_whole(
    script: str, limit: str, pages: int, rows: int, run: Run, api: Callable[[str], FlaskClient]
) -> None:
    api("sub-a").post("/api/messages", json={"message": "Good evening!", "handle": "londo"})
    _, whole, said = run(f"patterns/{script}", "--all", "--limit", limit)
    assert said.count("Query ") == pages
    assert not CURSOR.search(said)
    assert len(whole) == rows + 1
    put_together: list[str] = []
    cursor: list[str] = []
    for page in range(pages):
        status, data, said = run(f"patterns/{script}", "--limit", limit, *cursor)
        assert status == 0
        assert (" AND sk < " in said) == (page > 0)
        put_together += data[1:]
        cursor = [f"--cursor={text}" for text in CURSOR.findall(said)]
    assert cursor == []
    assert put_together == whole[1:]


def test_the_scripts_cursor_is_the_apis(run: Run, seeded: MessageStore, api: Callable[[str], FlaskClient]) -> None:
    cursor = CURSOR.search(run("patterns/get-conversation")[2])
    assert cursor
    answer = api("sub-b").get(f"/api/messages/{CONVERSATION_UUID}", query_string={"cursor": cursor[1]})
    assert run("patterns/get-conversation", "--cursor", cursor[1])[1] == as_table(answer.json)


def test_a_cursor_needs_the_secret_key_and_a_run_without_one_does_not(run: Run, seeded: MessageStore) -> None:
    status, data, said = run("patterns/get-conversation", "--limit", "40")
    assert (status, len(data)) == (0, 41)
    assert said.endswith("More follow: --all shows them\n")
    assert len(run("patterns/get-conversation", "--limit", "40", "--all")[1]) == 45
    status, _, said = run("patterns/get-conversation", "--cursor", "from-another-run")
    assert status == 2
    assert said.startswith("SECRET_KEY is missing")


@pytest.mark.parametrize("who", ["Augustsz", "bayko", AUGUSTSZ, BAYKO])
def test_every_member_sees_the_same(who: str, run: Run, seeded: MessageStore) -> None:
    asked = CONVERSATION_UUID.upper()
    assert run("patterns/get-conversation", asked, "--user", who) == run("patterns/get-conversation")


@pytest.mark.parametrize(
    ("script", "arguments", "shown"),
    [
        ("get-conversation", ["5ae290ed"], "There is no conversation 5ae290ed\n"),
        ("get-conversation", [BAYKO], f"There is no conversation {BAYKO}\n"),
        ("get-conversation", ["--user", "londo"], "londo is no member of "),
        ("get-conversation", ["--cursor", "forged"], "Invalid: cursor_invalid"),
        ("list-conversations", ["nobody"], "No user has the handle nobody"),
    ],
)
def test_what_the_api_would_refuse_is_told_in_a_line(
    script: str, arguments: list[str], shown: str, run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef")
    status, data, said = run(f"patterns/{script}", *arguments)
    assert (status, data) == (1, [])
    assert said.startswith(shown)
    assert said.count("\n") == 1


@pytest.mark.parametrize("limit", ["0", "101", "many"])
@pytest.mark.parametrize("script", ["get-conversation", "list-conversations"])
def test_limit_out_of_range_is_a_usage_error(script: str, limit: str, run: Run) -> None:
    status, data, said = run(f"patterns/{script}", "--limit", limit)
    assert (status, data, "Invalid value for '--limit': " in said) == (2, [], True)


def test_a_conversation_that_an_older_backend_wrote_is_listed_without_naming_a_member(
    run: Run, dynamodb_client: Any, table: str
) -> None:
    at, group = "2023-06-26T10:16:00.375877+00:00", str(uuid4())
    anna, bert = person("anna"), person("bert")
    old = [
        Message(group, at, str(uuid4()), "hello", anna, seq=None),
        InboxRow(anna.uuid, at, group, "hello", bert, seq=None, read_seq=None, sender_uuid=None),
        InboxRow(bert.uuid, at, group, "hello", anna, seq=None, read_seq=None, sender_uuid=None),
    ]
    for each in old:
        dynamodb_client.put_item(TableName=table, Item=each.to_item())
    status, data, _ = run("patterns/get-conversation", group)
    assert status == 0
    assert [line.split()[-3:] for line in data] == [["message", "created_at", "seq"], ["hello", at, "1"]]


def person(handle: str) -> User:
    return User(uuid=str(uuid4()), handle=handle, display_name=handle.title())
