"""bin/ddb/partiql on a real engine, and the statements that bin/ddb/explain shows for writes."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any

import boto3
import pytest

from lib.ddb.cursors import CursorSigner
from lib.ddb.schema import MESSAGE_GROUP_INDEX
from lib.ddb.sequence_numbers import SequenceNumbers
from lib.ddb.store import MessageStore, StreamedMessageStore
from lib.ddb.table import Table
from tests.support.ddb_scripts import HOSTILE, Run, run_in_process, seeded_database, seeded_store, use_table
from tests.support.stores import ANNA, BERT, TableContents
from tools.explain.partiql import write
from tools.explain.recorder import Call, record
from tools.seed.conversation import CONVERSATION_UUID

STEERING = "\x1b[2J\x9b31m\x7f \u202eevil"
"""Text that a terminal would obey."""

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


def test_select_prints_the_items_of_a_partition(run: Run, seeded: MessageStore, table: str) -> None:
    partition = f"MSG#{CONVERSATION_UUID}"
    status, data, printed = run("partiql", f'SELECT * FROM "{table}" WHERE pk = ? ORDER BY sk DESC', partition)
    [user, _] = seeded.conversations.members(group_uuid=CONVERSATION_UUID)
    page = seeded.list_messages(group_uuid=CONVERSATION_UUID, user=user, limit=100)
    assert (status, data[0]) == (0, "pk sk message message_uuid seq user_display_name user_handle user_uuid")
    for line, message in zip(data[1:], page.items, strict=True):
        user = message.sender
        cells = [partition, message.created_at, message.text, message.uuid, f"{message.seq}"]
        cells += [user.display_name, user.handle, user.uuid]
        assert line == " ".join(" ".join(cells).replace("\n", "\\n").split())
    assert re.fullmatch(r"Rows: 44, requests: 1, capacity units: (\d[\d.]*|not reported)\n", printed)
    status, data, printed = run("partiql", f'SELECT * FROM "{table}" WHERE pk = ?', "nothing")
    assert (status, data, printed.startswith("Rows: 0, requests: 1, ")) == (0, [], True)


def test_json_option_prints_the_items_of_the_index(run: Run, seeded: MessageStore, table: str) -> None:
    text = f'SELECT * FROM "{table}"."{MESSAGE_GROUP_INDEX}" WHERE message_group_uuid = ?'
    status, data, printed = run("partiql", "--json", text, CONVERSATION_UUID)
    rows = [json.loads(line) for line in data]
    assert (status, [list(row)[:3] for row in rows]) == (0, [["pk", "sk", "message_group_uuid"]] * 2)
    assert {row["message_group_uuid"] for row in rows} == {CONVERSATION_UUID}
    assert printed.startswith("Rows: 2, ")


def test_missing_attribute_is_a_dash_and_a_map_is_json(run: Run, seeded: MessageStore, table: str) -> None:
    keys = [f"CONV#{CONVERSATION_UUID}", f"MSG#{CONVERSATION_UUID}"]
    status, data, _ = run(
        "partiql", "--limit", "45", f'SELECT pk, seq, members FROM "{table}" WHERE pk IN [?, ?]', *keys
    )
    assert (status, data[0], len(data)) == (0, "pk members seq", 46)
    assert sum(line.startswith(f"{keys[1]} - ") for line in data) == 44
    [state] = [line for line in data if line.startswith(f"{keys[0]} ")]
    members = json.loads(state.removeprefix(f"{keys[0]} ").removesuffix(" 44"))
    assert {member["handle"] for member in members.values()} == {"Augustsz", "bayko"}


def test_select_without_a_key_prints_a_warning(run: Run, seeded: MessageStore, table: str) -> None:
    status, data, printed = run("partiql", f'SELECT pk FROM "{table}"')
    assert (status, len(data)) == (0, 49)
    warning, cost = printed.splitlines()
    assert "whole table" in warning
    assert cost.startswith("Rows: 48, ")
    assert "whole table" not in run("partiql", f'SELECT pk FROM "{table}" WHERE pk = ?', "x")[2]


def test_statements_insert_update_and_delete_an_item(run: Run, table: str, dynamodb_client: Any) -> None:
    key = ["a", "b"]
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': ?, 'sk': ?, 'n': 1}}"
    assert run("partiql", insert, *key)[:2] == (0, [])
    taken = "An item with this key exists: nothing was inserted\n"
    assert run("partiql", insert, *key) == (1, [], taken)
    update = f'UPDATE "{table}" SET n = 2 WHERE pk = ? AND sk = ? AND n = 1 RETURNING ALL NEW *'
    assert run("partiql", "--json", update, *key)[:2] == (0, ['{"pk": "a", "sk": "b", "n": 2}'])
    missed = "No item has this key and meets the conditions: nothing was changed\n"
    assert run("partiql", update, *key) == (1, [], missed)
    status, _, printed = run("partiql", f'DELETE FROM "{table}" WHERE pk = ? AND sk = ?', *key)
    assert (status, printed.startswith("Done, requests: 1, ")) == (0, True)
    assert dynamodb_client.scan(TableName=table)["Items"] == []


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("SELEC * FROM t", [], r"DynamoDB refuses the statement: .+"),
        ("SELECT * FROM TABLE WHERE pk = ?", [], r"DynamoDB refuses the statement: Number of parameters .+"),
        ("UPDATE TABLE SET n = 1 WHERE pk = 'a'", [], r"DynamoDB refuses the statement: .+"),
        ("SELECT * FROM \"no-such-table\" WHERE pk = 'a'", [], r"There is no table or index no-such-table"),
    ],
)
def test_refused_statement_is_reported_in_one_line(
    text: str, parameters: list[str], message: str, run: Run, table: str
) -> None:
    status, data, printed = run("partiql", text.replace("TABLE", f'"{table}"'), *parameters)
    assert (status, data) == (1, [])
    assert re.fullmatch(f"{message}\n", printed)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [([" "], "Error: the statement is empty\n"), ([], "Error: Missing argument 'STATEMENT'.\n")],
)
def test_missing_statement_is_a_usage_error(arguments: list[str], printed: str, run: Run) -> None:
    status, _, printed = run("partiql", *arguments)
    assert (status, printed.endswith(printed)) == (2, True)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_control_characters_are_escaped(
    options: list[str], run: Run, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate([STEERING, HOSTILE]):
        insert = f"INSERT INTO \"{table}\" VALUE {{'pk': ?, 'sk': ?, 'message': ?}}"
        run("partiql", insert, "steering", f"{number}", text)
    _, data, _ = run("partiql", *options, f'SELECT message FROM "{table}" WHERE pk = ?', "steering")
    spelled = [r"\u001b[2J\u009b31m\u007f \u202eevil", HOSTILE.replace("\n", "\\n").replace("\t", "\\t")]
    if options:
        assert [json.loads(line)["message"] for line in data] == [STEERING, HOSTILE]
        assert data == [f'{{"message": "{text}"}}' for text in spelled]
    else:
        assert data == ["message", *spelled]


@pytest.mark.parametrize("store_type", [MessageStore, StreamedMessageStore])
def test_statements_of_a_send_rebuild_its_items_once(
    store_type: type[MessageStore], dynamodb_url: str, dynamodb_client: Any, table: str
) -> None:
    with closing(boto3.client("dynamodb", endpoint_url=dynamodb_url)) as client:
        calls = record(client)
        store = store_type(Table(client, table), CursorSigner("any"))
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="It's the first").group_uuid
        sent = [store.send(group_uuid=group, sender=user, text=f"after {user.handle}") for user in (BERT, ANNA)]
        if store_type is StreamedMessageStore:
            assert SequenceNumbers(Table(client, table)).update(group, sent) == 2
    writing_calls = [call for call in calls if call.writes]
    assert len(writing_calls) == (4 if store_type is StreamedMessageStore else 3)
    contents = TableContents(dynamodb_client, table)
    items = sorted_by_key(contents)
    contents.clear()
    for call in writing_calls:
        repeat(dynamodb_client, call)
    assert sorted_by_key(contents) == items
    for call in writing_calls:
        with pytest.raises(dynamodb_client.exceptions.TransactionCanceledException):
            repeat(dynamodb_client, call)


def repeat(client: Any, call: Call) -> None:
    """Run the statements of a call's writes in one transaction."""
    statements = [write(action, arguments) for action, arguments in call.writes]
    client.execute_transaction(
        TransactStatements=[{"Statement": part.text, "Parameters": part.parameters} for part in statements if part]
    )


def sorted_by_key(contents: TableContents) -> list[dict[str, Any]]:
    return sorted(contents.items(), key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
