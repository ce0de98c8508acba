"""The scripts in bin/ddb on a real engine: their results, their second runs, and the tables that they refuse."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lib.ddb.store import MessageStore
from tests.support.ddb_scripts import (
    HOSTILE,
    Run,
    run_in_process,
    seeded_database,
    seeded_store,
    take_for_foreign,
    use_table,
)
from tools.cli import tables
from tools.seed.conversation import CONVERSATION_UUID

SECRET = "0123456789abcdef" * 2

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


def test_second_run_of_each_step_changes_nothing(
    run: Run, database: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    for name, first, second in [
        ("drop", "dropped", "already gone"),
        ("schema-load", "created", "already there"),
        ("seed", "44 messages added", "nothing to add"),
    ]:
        for outcome in (first, second):
            status, data, printed = run(name)
            assert (status, data) == (0, [])
            assert printed.startswith(f"{table} at http://")
            assert outcome in printed
            assert printed.count("\n") == 1


def test_table_with_other_keys_is_reported_in_one_line(
    run: Run, dynamodb_client: Any, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{table}-other"
    dynamodb_client.create_table(
        TableName=other,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    monkeypatch.setenv("DDB_TABLE", other)
    status, _, printed = run("schema-load")
    dynamodb_client.delete_table(TableName=other)
    assert status == 1
    assert re.fullmatch(f"The table {other} has another schema: [^\n]+\n", printed)


def test_prod_and_yes_allow_writes_and_reads_need_neither(
    run: Run, seeded: MessageStore, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_for_foreign(monkeypatch)
    monkeypatch.setenv("SECRET_KEY", SECRET)
    insert = ["partiql", f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': 'prod'}}"]
    for arguments in (["explain", "A"], ["explain", "B"]):
        assert run(*arguments)[0] == 0
    for arguments in (["explain", "C"], ["explain", "D"], ["seed", "--many", "3"], ["drop"], insert):
        prod = "--prod" if arguments == insert else "prod"
        assert [run(*arguments)[0], run(*arguments, prod, "--yes")[0]] == [1, 0]
        if arguments == ["drop"]:
            assert [run("schema-load")[0], run("schema-load", "prod", "--yes")[0]] == [1, 0]
    assert run("partiql", f"SELECT * FROM \"{table}\" WHERE pk = 'a'")[1] == ["pk sk", "a prod"]


@pytest.mark.parametrize(
    "command", ["seed", "scan", "explain A", "explain C", "patterns/get-conversation", "patterns/list-conversations"]
)
def test_missing_table_is_reported_in_one_line(
    command: str, run: Run, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    status, data, printed = run(*command.split())
    assert (status, data) == (1, [])
    assert re.fullmatch(r"There is no table no-such-table at [^\n]+: run ./bin/ddb/schema-load first\n", printed)


def test_unreachable_dynamodb_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    status, data, printed = run("list-tables")
    assert (status, data) == (1, [])
    assert re.fullmatch(r"Could not connect [^\n]+http://127.0.0.1:9[^\n]+\n", printed)


@pytest.mark.parametrize("name", ["schema-load", "drop"])
def test_unreachable_table_is_named(name: str, run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    status, data, printed = run(name)
    assert (status, data, printed.count("\n")) == (1, [], 1)
    assert printed.startswith(f"{table} at http://127.0.0.1:9 is unavailable: ")


def test_list_tables_marks_the_configured_table(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, data, printed = run("list-tables")
    assert (status, printed) == (0, "")
    assert [line for line in data if line.startswith("*")] == [f"* {table}"]
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    status, data, printed = run("list-tables")
    assert (status, table in data) == (0, True)
    assert "no table no-such-table" in printed


def test_list_tables_reads_every_page() -> None:
    client = boto3.client("dynamodb")
    with Stubber(client) as stub:
        stub.add_response("list_tables", {"TableNames": ["one", "two"], "LastEvaluatedTableName": "two"}, {})
        stub.add_response("list_tables", {"TableNames": ["three"]}, {"ExclusiveStartTableName": "two"})
        assert list(tables.table_names(client)) == ["one", "two", "three"]
    client.close()


def test_scan_prints_every_item_over_all_pages(
    run: Run, seeded: MessageStore, dynamodb_client: Any, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = seeded.conversations.members(group_uuid=CONVERSATION_UUID)
    seeded.send(group_uuid=CONVERSATION_UUID, sender=members[0], text=HOSTILE)
    monkeypatch.setattr(tables, "_ITEMS_PER_PAGE", 10)
    status, data, printed = run("scan")
    items = [json.loads(line) for line in data]
    stored = dynamodb_client.scan(TableName=table)["Items"]
    assert status == 0
    assert sorted((item["pk"], item["sk"]) for item in items) == sorted(
        (item["pk"]["S"], item["sk"]["S"]) for item in stored
    )
    [state] = [item for item in items if item["pk"].startswith("CONV#")]
    assert (state["seq"], state["members"].keys()) == (45, {user.uuid for user in members})
    assert HOSTILE in [item.get("message") for item in items]
    assert re.fullmatch(r"Items: 49, requests: 5, capacity units: [\d.]+\n", printed)


def test_scan_prints_the_attributes_of_other_systems(run: Run, dynamodb_client: Any, table: str) -> None:
    values = {"bytes": {"B": b"\x1b"}, "set": {"BS": [b"b", b"a"]}, "numbers": {"NS": ["10", "9"]}}
    dynamodb_client.put_item(TableName=table, Item={"pk": {"S": "OTHER#"}, "sk": {"S": "1"}, **values})
    [line] = run("scan")[1]
    assert json.loads(line).items() >= {"bytes": "Gw==", "set": ["YQ==", "Yg=="], "numbers": [9, 10]}.items()


def test_scan_stops_at_its_limit(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ITEMS_PER_PAGE", 5)
    status, data, printed = run("scan", "--limit", "7")
    assert (status, len(data)) == (0, 7)
    assert printed.startswith("Items: 7, requests: 2,")
    assert run("scan", "--limit", "0")[0] == 2
