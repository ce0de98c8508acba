"""bin/ddb/partiql on a real engine: what it prints, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lib.ddb.schema import MESSAGE_GROUP_INDEX
from lib.ddb.store import MessageStore
from tests.support.ddb_scripts import (
    AWS,
    HOSTILE,
    Run,
    run_in_process,
    seeded_database,
    seeded_store,
    take_for_foreign,
    use_table,
)
from tools.seed.conversation import CONVERSATION_UUID

STEERING = "\x1b[2J\x9b31m\x7f \u202eevil"
"""Text that a terminal would obey."""

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


def test_a_select_gives_the_items_of_a_partition(run: Run, seeded: MessageStore, table: str) -> None:
    partition = f"MSG#{CONVERSATION_UUID}"
    status, data, said = run("partiql", f'SELECT * FROM "{table}" WHERE pk = ? ORDER BY sk DESC', partition)
    page = seeded.list_messages(
        group_uuid=CONVERSATION_UUID, user=seeded.conversations.members(group_uuid=CONVERSATION_UUID)[0], limit=100
    )
    assert status == 0
    assert data[0] == "pk sk message message_uuid seq user_display_name user_handle user_uuid"
    assert data[1:] == [
        " ".join(
            f"{partition} {each.created_at} {each.text} {each.uuid} {each.seq} {each.sender.display_name} "
            f"{each.sender.handle} {each.sender.uuid}".replace("\n", "\\n").split()
        )
        for each in page.items
    ]
    assert re.fullmatch(r"Rows: 44, requests: 1, capacity units: (\d[\d.]*|not reported)\n", said)


def test_the_items_as_json_over_the_index(run: Run, seeded: MessageStore, table: str, dynamodb_client: Any) -> None:
    text = f'SELECT * FROM "{table}"."{MESSAGE_GROUP_INDEX}" WHERE message_group_uuid = ?'
    status, data, said = run("partiql", "--json", text, CONVERSATION_UUID)
    assert status == 0
    rows = [json.loads(line) for line in data]
    assert [list(row)[:3] for row in rows] == [["pk", "sk", "message"]] * 2
    assert {row["message_group_uuid"] for row in rows} == {CONVERSATION_UUID}
    assert said.startswith("Rows: 2, ")


def test_what_an_item_has_not_is_a_dash_and_what_is_nested_is_json(run: Run, seeded: MessageStore, table: str) -> None:
    keys = [f"CONV#{CONVERSATION_UUID}", f"MSG#{CONVERSATION_UUID}"]
    status, data, _ = run(
        "partiql", "--limit", "45", f'SELECT pk, seq, members FROM "{table}" WHERE pk IN [?, ?]', *keys
    )
    assert (status, data[0], len(data)) == (0, "pk members seq", 46)
    assert sum(line.startswith(f"{keys[1]} - ") for line in data) == 44
    [state] = [line for line in data if line.startswith(f"{keys[0]} ")]
    members = json.loads(state.removeprefix(f"{keys[0]} ").removesuffix(" 44"))
    assert {member["handle"] for member in members.values()} == {"Augustsz", "bayko"}


@pytest.mark.parametrize("order", ["", " ORDER BY sk DESC"])
def test_a_limit_gives_the_first_rows(order: str, run: Run, seeded: MessageStore, table: str) -> None:
    arguments = [f'SELECT * FROM "{table}" WHERE pk = ?{order}', f"MSG#{CONVERSATION_UUID}"]
    assert run("partiql", *arguments, "--limit", "3", "--json")[1] == run("partiql", *arguments, "--json")[1][:3]


def test_a_select_without_a_key_warns_before_it_reads_everything(run: Run, seeded: MessageStore, table: str) -> None:
    status, data, said = run("partiql", f'SELECT pk FROM "{table}"')
    assert (status, len(data)) == (0, 49)
    warning, cost = said.splitlines()
    assert "whole table" in warning
    assert cost.startswith("Rows: 48, ")
    assert "whole table" not in run("partiql", f'SELECT pk FROM "{table}" WHERE pk = ?', "x")[2]


def test_no_row_is_an_empty_answer(run: Run, table: str) -> None:
    status, data, said = run("partiql", f'SELECT * FROM "{table}" WHERE pk = ?', "nothing")
    assert (status, data) == (0, [])
    assert said.startswith("Rows: 0, requests: 1, ")


def test_an_item_is_inserted_updated_and_deleted(run: Run, table: str, dynamodb_client: Any) -> None:
    key = ["a", "b"]
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': ?, 'sk': ?, 'n': 1}}"
    assert run("partiql", insert, *key)[:2] == (0, [])
    taken = "There is an item with that key already: nothing was inserted\n"
    assert run("partiql", insert, *key) == (1, [], taken)
    update = f'UPDATE "{table}" SET n = 2 WHERE pk = ? AND sk = ? AND n = 1 RETURNING ALL NEW *'
    assert run("partiql", "--json", update, *key)[:2] == (0, ['{"pk": "a", "sk": "b", "n": 2}'])
    missed = "There is no item with that key, or not as WHERE has it: nothing was changed\n"
    assert run("partiql", update, *key) == (1, [], missed)
    status, _, said = run("partiql", f'DELETE FROM "{table}" WHERE pk = ? AND sk = ?', *key)
    assert (status, said.startswith("Done, requests: 1, ")) == (0, True)
    assert dynamodb_client.scan(TableName=table)["Items"] == []


@pytest.mark.parametrize("text", ["DELETE FROM t", "SELEC", "EXISTS(SELECT * FROM t)"])
def test_table_elsewhere_is_not_written(text: str, run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", AWS)
    monkeypatch.setattr("boto3.client", lambda *_, **__: pytest.fail("a client was made"))
    refusal = f"Refused to run a statement other than SELECT: {table} at {AWS} is no local stack"
    assert run("partiql", text) == (1, [], f"{refusal}. If you mean it, add `--prod`.\n")


def test_prod_and_yes_write_and_reading_needs_neither(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_for_foreign(monkeypatch)
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': 'prod'}}"
    assert run("partiql", insert)[0] == 1
    assert run("partiql", insert, "--prod", "--yes")[0] == 0
    assert run("partiql", f'SELECT * FROM "{table}" WHERE pk = ?', "a")[1] == ["pk sk", "a prod"]


@pytest.mark.parametrize(
    ("text", "parameters", "shown"),
    [
        ("SELEC * FROM t", [], r"DynamoDB refuses the statement: .+"),
        ("SELECT * FROM TABLE WHERE pk = ?", [], r"DynamoDB refuses the statement: Number of parameters .+"),
        ("UPDATE TABLE SET n = 1 WHERE pk = 'a'", [], r"DynamoDB refuses the statement: .+"),
        ("SELECT * FROM \"no-such-table\" WHERE pk = 'a'", [], r"There is no such table or index"),
    ],
)
def test_what_dynamodb_refuses_is_told_in_a_line(
    text: str, parameters: list[str], shown: str, run: Run, table: str
) -> None:
    status, data, said = run("partiql", text.replace("TABLE", f'"{table}"'), *parameters)
    assert (status, data) == (1, [])
    assert re.fullmatch(f"{shown}\n", said)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [([" "], "Error: the statement is empty\n"), ([], "Error: Missing argument 'STATEMENT'.\n")],
)
def test_missing_statement_is_a_usage_error(arguments: list[str], printed: str, run: Run) -> None:
    status, _, said = run("partiql", *arguments)
    assert (status, said.endswith(printed)) == (2, True)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_peoples_text_cannot_steer_the_terminal(
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
