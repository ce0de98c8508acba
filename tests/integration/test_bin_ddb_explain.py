"""bin/ddb/explain on a real engine: what it shows is what was sent, what was billed and what is in the table."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from rich.cells import cell_len
from rich.console import Console

from lib.ddb.conversations import Conversations
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from lib.users.directory import User
from tests.support.ddb_scripts import (
    AWS,
    Run,
    run_in_process,
    seeded_database,
    seeded_store,
    take_for_foreign,
    use_table,
)
from tests.support.explained import Contents, Wire, check_calls, check_changes, contents_of, recorded_wire, section
from tests.support.old_data import GROUP, TIMES, old_conversation
from tests.support.stores import ANNA, BERT, TableContents
from tools.cli import console
from tools.explain import sql_equivalents
from tools.seed.conversation import CONVERSATION_UUID

AUGUSTSZ, LONDO = "76d2f241-a860-4d8b-a8e3-6cd68db75ab9", "a94d17c6-5e2b-4f80-8c3d-06e7b952f1da"
MODES = pytest.mark.parametrize("mode", ["inline", "stream"])

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)
wire = pytest.fixture(recorded_wire)
contents = pytest.fixture(contents_of)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef")


@pytest.mark.parametrize(("pattern", "limit"), [("A", 3), ("A", 60), ("B", 1), ("B", 60)])
def test_a_list_shows_the_query_that_ran_and_its_cost(pattern: str, limit: int, run: Run, wire: Wire) -> None:
    run("explain", "C")
    wire.requests.clear()
    status, data, said = run("explain", pattern, "--limit", str(limit))
    assert (status, said) == (0, "")
    check_calls(data, wire)
    assert [operation for operation, _, _ in wire.of_pattern()] == {"A": ["GetItem", "Query"], "B": ["Query"]}[pattern]
    assert f"ScanIndexForward=False, ConsistentRead=True, Limit={limit + 1}" in data


@pytest.mark.parametrize(
    ("pattern", "script"), [("A", "patterns/get-conversation"), ("B", "patterns/list-conversations")]
)
def test_the_rows_and_the_partiqls_rows_are_those_of_the_list(
    pattern: str, script: str, run: Run, seeded: MessageStore
) -> None:
    run("explain", "C", "--text", "Hello!")
    _, data, _ = run("explain", pattern, "--limit", "3")
    rows = section(data, "Rows")
    listed = run(script, "--limit", "3")[1]
    assert len(rows) == len(listed) == {"A": 4, "B": 3}[pattern]
    for row, line in zip(rows[1:], listed[1:], strict=True):
        assert set(row.split()) <= set(line.split())
    *statement, verdict = section(data, "PartiQL")
    assert verdict.startswith("gives the same rows: ")
    found = [json.loads(line) for line in run("partiql", "--json", "\n".join(statement))[1]]
    assert [row.split()[0] for row in rows[1:]] == [item["sk"] for item in found[:3]]


def test_other_rows_are_told_apart(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.explain.partiql.run", lambda *_, **__: iter([]))
    assert section(run("explain", "A")[1], "PartiQL")[-1].startswith("gives OTHER rows: ")


@MODES
@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["C"], "Pattern C: write a message, the first in a new conversation"),
        (["C", "--to", "bayko"], "Pattern C: write a message, in a conversation that exists"),
        (["C", "--group", CONVERSATION_UUID], "Pattern C: write a message, in a conversation that exists"),
        (["D"], "Pattern D: bring the last message into both members' inboxes"),
        (["D", "--user", "bayko"], "Pattern D: bring the last message into both members' inboxes"),
    ],
)
def test_a_send_shows_what_it_sent_what_it_changed_and_what_it_cost(
    mode: str,
    arguments: list[str],
    title: str,
    run: Run,
    wire: Wire,
    table: str,
    contents: Contents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GROUP_UPDATES", mode)
    before = contents()
    wire.requests.clear()
    status, data, said = run("explain", *arguments, "--text", "It's me.")
    sent = Wire(list(wire.requests))
    after = contents()
    assert status == 0
    assert data[1] == title
    assert re.fullmatch(rf'Writing to {table} at \S+, as (Augustsz|bayko): "It\'s me."\n', said)
    check_calls(data, sent)
    check_changes(data, before, after)
    [message] = [item for key, item in after.items() if key not in before and key[0].startswith("MSG#")]
    assert message["message"] == {"S": "It's me."}
    alone = mode == "stream" and title.endswith("that exists")
    assert ("seq" in message) != alone
    assert any("GROUP_UPDATES=stream" in line for line in data) == alone
    assert ("What the function on the table's stream ran" in data) == (mode == "stream" and arguments[0] == "D")


def test_a_second_first_message_goes_to_the_conversation_that_exists(run: Run, seeded: MessageStore) -> None:
    first, second = run("explain", "C")[1], run("explain", "C")[1]
    assert "the first in a new conversation" in first[1]
    assert "in a conversation that exists" in second[1]
    hint = "They talk already. For a first message, name two who do not, by --user and --to."
    assert [hint in data for data in (first, second, run("explain", "D")[1])] == [False, True, False]


def test_the_sql_is_valid_and_gives_what_the_table_gives(
    run: Run, seeded: MessageStore, new_database: Callable[[], str]
) -> None:
    run("explain", "D", "--text", "not in this database")
    url = seeded_database(new_database())
    texts = ["It's the first", "a \\ and a \n", "نعم 🍵"]
    with psycopg.connect(url, row_factory=dict_row) as postgres:
        postgres.execute(sql_equivalents.TABLES.encode())
        for pattern, text in zip(["C", "C", "C"], texts, strict=True):
            _, data, _ = run("explain", pattern, "--text", text)
            postgres.execute(statement(data))
        [group] = {row["uuid"] for row in postgres.execute("SELECT uuid FROM message_groups")}
        _, data, _ = run("explain", "D", "--group", str(group), "--user", "londo", "--text", "answered")
        postgres.execute(statement(data))
        messages = postgres.execute(statement(run("explain", "A", "--group", str(group))[1])).fetchall()
        inboxes = [
            postgres.execute(statement(run("explain", "B", "--user", user)[1])).fetchall() for user in (AUGUSTSZ, LONDO)
        ]
    user = User(AUGUSTSZ, "Augustsz", "Augustsz")
    page = seeded.list_messages(group_uuid=str(group), user=user, limit=100).items
    assert [(str(each["uuid"]), each["handle"], each["message"]) for each in messages] == [
        (each.uuid, each.sender.handle, each.text) for each in page
    ]
    assert [each["message"] for each in messages] == ["answered", *(text.strip() for text in reversed(texts))]
    for found, other in zip(inboxes, ["londo", "Augustsz"], strict=True):
        assert [(each["uuid"], each["handle"], each["message"]) for each in found] == [(group, other, "answered")]


def statement(data: list[str]) -> bytes:
    """The SQL that a run showed."""
    lines = section(data, "SQL, if Postgres had message_groups, members and messages beside users")
    return "\n".join(lines).replace("BEGIN;", "").replace("COMMIT;", "").encode()


@MODES
@pytest.mark.parametrize("pattern", ["A", "D"])
def test_an_older_backends_conversation_is_adopted_as_the_api_would(
    pattern: str, mode: str, run: Run, seeded: MessageStore, dynamodb_client: Any, table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GROUP_UPDATES", mode)
    group = GROUP.replace("5ae", "6ae")
    TableContents(dynamodb_client, table).put(*old_conversation(*TIMES, group=group))
    status, data, _ = run("explain", pattern, "--group", group)
    assert status == 0
    adopted = TableContents(dynamodb_client, table)
    if pattern == "A":
        assert [row.split()[:2] for row in section(data, "Rows")[1:]] == [
            [at, str(seq)] for seq, at in reversed(list(enumerate(TIMES, start=1)))
        ]
    else:
        assert sum(line.startswith("~ message MSG#") for line in data) == 3
        adopted.check(group, ["old 0", "old 1", "old 2", "Hello from bin/ddb/explain!"])
    assert {user.uuid for user in (ANNA, BERT)} == adopted.conversation(group).members.keys()


def test_what_is_alike_is_counted_after_the_first_of_it(
    run: Run, seeded: MessageStore, dynamodb_client: Any, table: str
) -> None:
    times = [f"2023-01-01T00:00:{second:02}.000000+00:00" for second in range(30)]
    TableContents(dynamodb_client, table).put(*old_conversation(*times, group=GROUP.replace("5ae", "6ae")))
    _, data, _ = run("explain", "A", "--group", GROUP.replace("5ae", "6ae"))
    assert any(re.search(r"^\d+ TransactWriteItems, 30 writes, all or none: ", line) for line in data)
    assert len([line for line in section(data, "What ran") if line.startswith("Update message ")]) == 8
    assert "… and 22 more" in section(data, "What ran")
    changed = section(data, "Items before and after")
    assert len([line for line in changed if line[0] in "+-~"]) == 8
    assert changed[0].startswith("+ conversation CONV#")
    assert changed[-1] == "… and 26 more"  # of 30 messages, the state, the guard and two rows


def test_a_function_elsewhere_may_be_faster(
    run: Run, seeded: MessageStore, dynamodb_client: Any, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = StreamedMessageStore.send

    def overtaken(store: StreamedMessageStore, **arguments: Any) -> Any:
        message = send(store, **arguments)
        SequenceNumbers(Table(dynamodb_client, table)).update(message.group_uuid, [message])
        return message

    monkeypatch.setenv("GROUP_UPDATES", "stream")
    monkeypatch.setattr(StreamedMessageStore, "send", overtaken)
    status, data, _ = run("explain", "D")
    assert status == 0
    function = section(data, "What the function on the table's stream ran")
    assert [line.split(":")[0] for line in function if line[0].isdigit()] == ["3 GetItem", "4 Query"]
    assert function[-1] == "Nothing was left to do: the function that runs elsewhere was faster."


@pytest.mark.parametrize("pattern", ["A", "B", "C", "D"])
def test_a_table_that_is_not_there_is_told_in_a_line(
    pattern: str, run: Run, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    status, data, said = run("explain", pattern)
    assert (status, data) == (1, [])
    assert re.fullmatch(r"There is no table no-such-table at [^\n]+: run ./bin/ddb/schema-load first\n", said)


def test_a_refused_call_is_told(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = iter([True])
    to_write = Conversations.to_write

    def overtaken(conversations: Conversations, **arguments: Any) -> Any:
        state = to_write(conversations, **arguments)
        if next(first, False):  # another process writes between this one's look at the state and its send
            seeded.send(group_uuid=CONVERSATION_UUID, sender=arguments["user"], text="from elsewhere")
        return state

    monkeypatch.setattr(Conversations, "to_write", overtaken)
    status, data, _ = run("explain", "D")
    assert status == 0
    assert "3 TransactWriteItems, 6 writes, all or none: refused, TransactionCanceledException" in data
    assert any(line.startswith("4 TransactWriteItems, 6 writes, all or none: ") for line in data)


@pytest.mark.parametrize("pattern", ["C", "D"])
@pytest.mark.parametrize("words", [[], ["--yes"], ["prod"]])
def test_nothing_is_written_elsewhere_unless_it_is_meant(
    pattern: str, words: list[str], run: Run, table: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", AWS)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{table}\n"))
    monkeypatch.setattr("boto3.client", lambda *_, **__: pytest.fail("a client was made"))
    status, data, said = run("explain", pattern, *words, "--text", "Hello!")
    assert (status, data) == (1, [])
    assert said.startswith(f'Refused to write the message "Hello!": {table} at {AWS} is no local stack')


@pytest.mark.parametrize("pattern", ["C", "D"])
def test_prod_and_yes_write(pattern: str, run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    take_for_foreign(monkeypatch)
    assert run("explain", pattern)[0] == 1
    assert run("explain", pattern, "prod", "--yes")[0] == 0
    assert run("explain", "A")[0] == run("explain", "B")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["A", "--group", "nonsense"], "There is no conversation nonsense"),
        (["A", "--user", "londo"], "londo is no member of "),
        (["A", "--limit", "101"], "Invalid: limit_invalid"),
        (["B", "--user", "nobody"], "No user has the handle nobody"),
        (["C", "--user", "nobody"], "No user has the handle nobody"),
        (["D", "--group", "nonsense"], "There is no conversation nonsense"),
        (["D", "--user", "londo"], "londo is no member of "),
    ],
)
def test_what_cannot_be_explained_is_told_in_a_line(
    arguments: list[str], shown: str, run: Run, seeded: MessageStore
) -> None:
    status, data, said = run("explain", *arguments)
    assert (status, data) == (1, [])
    assert said.startswith(shown)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "shown"), [(["--to", "nobody"], "receiver_not_found"), (["--text", " "], "blank")]
)
def test_what_the_api_refuses_is_refused(arguments: list[str], shown: str, run: Run, seeded: MessageStore) -> None:
    status, data, said = run("explain", "C", *arguments)
    assert (status, data) == (1, [])
    assert said.splitlines()[1].endswith(shown)


def test_a_terminal_gets_no_line_that_is_too_long_and_no_control_character_of_people(
    run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    terminal = Console(file=out, width=100, force_terminal=True, color_system=None, markup=False, emoji=False)
    monkeypatch.setattr(console, "data", terminal)
    text = "A long one \u202eand 🍵 " * 20 + "\n\tx"
    for arguments in (["C", "--text", text], ["D", "--text", text], ["A"], ["B"]):
        assert run("explain", *arguments)[0] == 0
    lines = out.getvalue().split("\n")
    assert len(lines) > 200
    assert max(cell_len(line) for line in lines) <= 100
    assert "\u202e" not in out.getvalue()
    assert "\t" not in out.getvalue()
    assert r"\u202e" in out.getvalue()
