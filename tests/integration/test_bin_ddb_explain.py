"""bin/ddb/explain on a real engine: it prints the requests, their capacity units, and the items of the table."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from botocore.endpoint import Endpoint
from psycopg.rows import dict_row
from rich.cells import cell_len
from rich.console import Console

from lib.ddb.conversations import Conversations
from lib.ddb.items import key_of
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from tests.support.ddb_scripts import (
    Run,
    run_in_process,
    seeded_database,
    seeded_store,
    take_for_foreign,
    use_table,
)
from tests.support.old_data import GROUP, TIMES, old_conversation
from tests.support.stores import ANNA, BERT, TableContents
from tools.cli import console
from tools.cli.tables import value_to_json
from tools.explain.recorder import filled
from tools.seed.conversation import CONVERSATION_UUID

AUGUSTSZ, LONDO = "76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "a94d17c6-5e2b-4f80-8c3d-06e7b952f1da"
EXPRESSIONS = ("KeyConditionExpression", "ConditionExpression", "UpdateExpression", "FilterExpression")
TABLES = b"""
CREATE TABLE message_groups (uuid uuid PRIMARY KEY, created_at timestamptz NOT NULL);
CREATE TABLE members (message_group_uuid uuid REFERENCES message_groups, user_uuid uuid REFERENCES users);
CREATE TABLE messages (
    uuid uuid PRIMARY KEY, message_group_uuid uuid REFERENCES message_groups, user_uuid uuid REFERENCES users,
    message text NOT NULL, created_at timestamptz NOT NULL
);
"""
"""The tables that the SQL needs beside `users`."""

Request = tuple[str, dict[str, Any], dict[str, Any]]
"""An operation, the body of its request, and the body of its response."""

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef" * 2)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, seeded: MessageStore) -> list[Request]:
    """The requests of the pattern.

    They ask for their capacity; the ping and the script's reads of items do not.
    """
    requests: list[Request] = []
    send = Endpoint._send

    def record(endpoint: Endpoint, request: Any) -> Any:
        response = send(endpoint, request)
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        body = json.loads(request.body)
        if "ReturnConsumedCapacity" in body and "PING" not in json.dumps(body):
            requests.append((operation, body, json.loads(response.content)))
        return response

    monkeypatch.setattr(Endpoint, "_send", record)
    return requests


def section(data: list[str], heading: str) -> list[str]:
    """The lines below the heading that begins with this text."""
    start = next(place for place, line in enumerate(data, start=1) if line.startswith(heading))
    return data[start : data.index("", start)] if "" in data[start:] else data[start:]


def check_calls(data: list[str], requests: list[Request]) -> None:
    """The script printed every call of the pattern with its keys, expressions and units, and the sum of the units."""
    text = "\n".join(data)
    total = 0.0
    for number, (operation, sent, response) in enumerate(requests, start=1):
        consumed = response["ConsumedCapacity"]
        units = sum(part["CapacityUnits"] for part in (consumed if isinstance(consumed, list) else [consumed]))
        total += units
        assert re.search(rf"^{number} {operation}\b.*: [\d.]+ (RCU|WCU), {units:g} reported$", text, re.MULTILINE), text
        writes = [next(iter(write.items())) for write in sent.get("TransactItems", [])]
        for action, arguments in writes or [("", sent)]:
            if key := arguments.get("Key") or arguments.get("Item"):
                assert re.search(rf"{action}.* {re.escape(key['pk']['S'])} {re.escape(key['sk']['S'])}$", text, re.M)
            for name in EXPRESSIONS:
                assert filled(arguments.get(name, ""), arguments) in text
    assert len(re.findall(r"^\d+ [A-Z]\w+.*: ", text, re.MULTILINE)) == len(requests)
    calls, reported = section(data, "Cost")
    priced = sum(float(number) for number in re.findall(r"^\d+ [A-Z].*: ([\d.]+) [RW]CU, ", text, re.MULTILINE))
    assert calls == f"calls: {len(requests)}, capacity units by AWS's rules: {priced:g}"
    assert reported.startswith(f"The engine reports {total:g};")


@pytest.mark.parametrize(
    ("pattern", "script", "operations", "limit"),
    [("A", "patterns/get-conversation", ["GetItem", "Query"], 4), ("B", "patterns/list-conversations", ["Query"], 5)],
)
def test_list_prints_its_calls_and_the_rows_of_the_api(
    pattern: str, script: str, operations: list[str], limit: int, run: Run, wire: list[Request]
) -> None:
    run("explain", "C", "--text", "Hello!")
    wire.clear()
    status, data, printed = run("explain", pattern, "--limit", "3")
    assert (status, printed) == (0, "")
    assert [operation for operation, _, _ in wire] == operations
    check_calls(data, wire)
    assert f"{len(operations)} Query: 1 RCU, 1 reported" in data
    assert f"ScanIndexForward=False, ConsistentRead=True, Limit={limit}" in data
    rows = section(data, "Rows")
    listed = run(script, "--limit", "3")[1]
    assert len(rows) == len(listed) == {"A": 4, "B": 3}[pattern]
    for row, line in zip(rows[1:], listed[1:], strict=True):
        assert set(row.split()) <= set(line.split())
    [statement] = section(data, "PartiQL")
    items = [json.loads(line) for line in run("partiql", "--json", statement)[1]]
    assert [row.split()[0] for row in rows[1:]] == [item["sk"] for item in items[:3]]


@pytest.mark.parametrize("mode", ["inline", "stream"])
@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["C"], "Pattern C: write the first message of a new conversation"),
        (["C", "--to", "bayko"], "Pattern C: write a message into an existing conversation"),
        (["C", "--group", CONVERSATION_UUID], "Pattern C: write a message into an existing conversation"),
        (["D", "--user", "bayko"], "Pattern D: bring the last message into both members' inboxes"),
    ],
)
def test_send_prints_its_calls_and_every_item_that_it_changes(
    mode: str, arguments: list[str], title: str, run: Run, wire: list[Request], table: str, dynamodb_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def contents() -> dict[tuple[str, str], Any]:
        return {key_of(item): item for item in TableContents(dynamodb_client, table).items()}

    monkeypatch.setenv("GROUP_UPDATES", mode)
    before = contents()
    wire.clear()
    status, data, printed = run("explain", *arguments, "--text", "It's me.")
    finds_sender = arguments[0] == "D" or "--group" in arguments  # by a first read, which is the script's own
    check_calls(data, wire[finds_sender:])
    after = contents()
    assert (status, data[1]) == (0, title)
    assert re.fullmatch(rf'Writing to {table} at \S+, as (Augustsz|bayko): "It\'s me."\n', printed)
    [message] = [item for key, item in after.items() if key not in before and key[0].startswith("MSG#")]
    assert message["message"] == {"S": "It's me."}
    # As in docs/performance.md: the first message, and one in a conversation that others write to.
    # A handle is looked up.
    if mode == "inline":
        priced = 15 if "first message" in title else 17 + ("--to" in arguments)
        assert section(data, "Cost")[0].endswith(f"by AWS's rules: {priced}")
    alone = mode == "stream" and title.endswith("existing conversation")
    assert ("seq" in message) != alone
    assert any("GROUP_UPDATES=stream" in line for line in data) == alone
    assert ("What the function on the table's stream ran" in data) == (mode == "stream" and arguments[0] == "D")
    lines = section(data, "Items before and after")
    changed = {key for key in after if before.get(key) != after[key]}
    assert sorted(tuple(line.split()[-2:]) for line in lines if line[0] in "+~-") == sorted(changed)
    for name in message.keys() - {"pk", "sk"}:
        assert f"{name} {value_to_json(message[name])}" in lines
    for pk, sk in changed - before.keys():
        if origin := next((key for key in before.keys() - after.keys() if key[0] == pk), None):
            assert f'sk "{origin[1]}" → "{sk}"' in lines


def test_sql_is_valid_and_returns_the_rows_of_the_table(
    run: Run, seeded: MessageStore, new_database: Callable[[], str]
) -> None:
    run("explain", "D", "--text", "not in this database")
    url = seeded_database(new_database())
    texts = ["It's the first", "a \\ and a\nline", "نعم 🍵"]
    with psycopg.connect(url, row_factory=dict_row) as postgres:
        postgres.execute(TABLES)
        for text in texts:
            postgres.execute(sql(run("explain", "C", "--text", text)[1]))
        [group] = {row["uuid"] for row in postgres.execute("SELECT uuid FROM message_groups")}
        _, data, _ = run("explain", "D", "--group", str(group), "--user", "londo", "--text", "answered")
        postgres.execute(sql(data))
        messages = postgres.execute(sql(run("explain", "A", "--group", str(group))[1])).fetchall()
        inboxes = [
            postgres.execute(sql(run("explain", "B", "--user", user)[1])).fetchall() for user in (AUGUSTSZ, LONDO)
        ]
    user = User(AUGUSTSZ, "Augustsz", "Augustsz")
    page = seeded.list_messages(group_uuid=str(group), user=user, limit=100).items
    assert [(str(row["uuid"]), row["handle"], row["message"]) for row in messages] == [
        (message.uuid, message.sender.handle, message.text) for message in page
    ]
    assert [row["message"] for row in messages] == ["answered", *reversed(texts)]
    for rows, other in zip(inboxes, ["londo", "Augustsz"], strict=True):
        assert [(row["uuid"], row["handle"], row["message"]) for row in rows] == [(group, other, "answered")]


def sql(data: list[str]) -> bytes:
    """The SQL that a run showed."""
    return "\n".join(section(data, "SQL, ")).replace("BEGIN;", "").replace("COMMIT;", "").encode()


@pytest.mark.parametrize(("pattern", "mode"), [("A", "inline"), ("D", "inline"), ("D", "stream")])
def test_conversation_of_an_older_backend_is_migrated_as_the_api_does(
    pattern: str, mode: str, run: Run, seeded: MessageStore, dynamodb_client: Any, table: str, database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GROUP_UPDATES", mode)
    with psycopg.connect(database) as postgres:
        postgres.cursor().executemany(
            "INSERT INTO users (uuid, handle, display_name, email) VALUES (%s, %s, %s, '-') ON CONFLICT DO NOTHING",
            [(user.uuid, user.handle, user.display_name) for user in (ANNA, BERT)],
        )
    group = GROUP.replace("5ae", "6ae")
    contents = TableContents(dynamodb_client, table)
    contents.put(*old_conversation(*TIMES, group=group))
    status, data, _ = run("explain", pattern, "--group", group)
    assert status == 0
    assert sum(line.startswith("~ message MSG#") for line in data) == 3
    if pattern == "A":
        assert [row.split()[:2] for row in section(data, "Rows")[1:]] == [
            [created_at, str(seq)] for seq, created_at in reversed(list(enumerate(TIMES, start=1)))
        ]
    else:
        contents.check(group, ["old 0", "old 1", "old 2", "Hello from bin/ddb/explain!"])
    assert {user.uuid for user in (ANNA, BERT)} == contents.conversation(group).members.keys()


@pytest.mark.parametrize(
    ("command", "prod"), [("explain A --group", "prod"), ("patterns/get-conversation", "--prod")], ids=str
)
def test_read_that_would_migrate_a_foreign_conversation_needs_prod(
    command: str, prod: str, run: Run, seeded: MessageStore, dynamodb_client: Any, table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    take_for_foreign(monkeypatch)
    group = GROUP.replace("5ae", "7ae")
    contents = TableContents(dynamodb_client, table)
    contents.put(*old_conversation(*TIMES, group=group))
    before = contents.items()
    arguments = [*command.split(), group]
    status, data, printed = run(*arguments)
    assert (status, data, printed.endswith(f"If you mean it, add `{prod} --yes`.\n")) == (1, [], True)
    assert contents.items() == before
    assert run(*arguments, prod, "--yes")[0] == 0
    assert contents.items() != before


def test_refused_call_is_printed_with_its_code(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = iter([True])
    read_for_write = Conversations.read_for_write

    def read_and_overtake(conversations: Conversations, **arguments: Any) -> Any:
        state = read_for_write(conversations, **arguments)
        if next(first, False):  # another process writes between this one's read of the state and its send
            seeded.send(group_uuid=CONVERSATION_UUID, sender=arguments["user"], text="from elsewhere")
        return state

    monkeypatch.setattr(Conversations, "read_for_write", read_and_overtake)
    status, data, _ = run("explain", "D")
    assert status == 0
    assert "2 TransactWriteItems, 6 writes, all or none: 12 WCU, refused, TransactionCanceledException" in data
    assert any(line.startswith("3 TransactWriteItems, 6 writes, all or none: 16 WCU, ") for line in data)
    counts = [line.split(" × ")[0] for line in section(data, "PartiQL") if " × " in line]
    assert set(counts) == {"2"}  # both members' rows, without the refused call's


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["A", "--user", "londo"], "londo is no member of "),
        (["C", "--user", "nobody"], "No user has the handle nobody"),
        (["D", "--user", "londo"], "londo is no member of "),
        (["C", "--to", "nobody"], "No user has the handle nobody"),
        (["C", "--text", " "], "The API refuses the message: message_blank"),
    ],
)
def test_refusal_is_reported_in_one_line(arguments: list[str], message: str, run: Run, seeded: MessageStore) -> None:
    status, data, printed = run("explain", *arguments)
    assert (status, data) == (1, [])
    assert printed.splitlines()[-1].startswith(message)


def test_output_for_a_terminal_is_folded_and_escaped(
    run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    terminal = Console(file=out, width=100, force_terminal=True, color_system=None, markup=False, emoji=False)
    monkeypatch.setattr(console, "stdout", terminal)
    text = "A long one \u202eand 🍵 " * 20 + "\n\tx"
    for arguments in (["C", "--text", text], ["D", "--text", text], ["A"], ["B"]):
        assert run("explain", *arguments)[0] == 0
    lines = out.getvalue().split("\n")
    assert len(lines) > 200
    assert max(cell_len(line) for line in lines) <= 100
    assert "\u202e" not in out.getvalue()
    assert "\t" not in out.getvalue()
    assert r"\u202e" in out.getvalue()
