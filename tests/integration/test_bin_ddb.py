"""The scripts in bin/ddb on a real engine: what they do, do again, show, and refuse to do."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lib.ddb.store import MessageStore
from tests.support import scripts
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
from tools.cli import tables
from tools.seed.conversation import CONVERSATION_UUID

database = pytest.fixture(scope="module")(seeded_database)
settings = pytest.fixture(autouse=True)(use_table)
run = pytest.fixture(run_in_process)
seeded = pytest.fixture(seeded_store)


def test_step_by_step_and_every_step_twice(
    run: Run, database: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    for name, first, second in [
        ("drop", "dropped", "already gone"),
        ("schema-load", "created", "already there"),
        ("seed", "44 messages added", "nothing to add"),
    ]:
        for shown in (first, second):
            status, data, said = run(name)
            assert (status, data) == (0, [])
            assert said.startswith(f"{table} at http://")
            assert shown in said
            assert said.count("\n") == 1


def test_a_seeded_table_is_read_from_another_folder(seeded: MessageStore) -> None:
    assert "nothing to add" in scripts.run("ddb/seed").stderr
    done = scripts.run("ddb/patterns/get-conversation", "--limit", "1")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr


def test_a_table_with_other_keys_is_told_in_a_line(
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
    status, _, said = run("schema-load")
    dynamodb_client.delete_table(TableName=other)
    assert status == 1
    assert re.fullmatch(f"table {other} has [^\n]+\n", said)


@pytest.mark.parametrize("name", ["seed", "drop"])
def test_table_elsewhere_is_not_touched_without_prod(
    name: str, run: Run, table: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AWS_ENDPOINT_URL_DYNAMODB", AWS)
        elsewhere.setattr("boto3.client", lambda *_, **__: pytest.fail("a client was made"))
        status, _, said = run(name)
    assert (status, said.startswith("Refused to "), f"{table} at {AWS} is no local stack" in said) == (1, True, True)
    take_for_foreign(monkeypatch)
    assert run(name)[0] == 1
    assert run(name, "prod", "--yes")[0] == 0
    assert run("schema-load")[0] == 0  # unlike these two, it can do no harm: it is not guarded


@pytest.mark.parametrize("name", ["seed", "scan", "patterns/get-conversation", "patterns/list-conversations"])
def test_a_table_that_is_not_there_is_told_in_a_line(
    name: str, run: Run, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    status, data, said = run(name)
    assert (status, data) == (1, [])
    assert re.fullmatch(r"There is no table no-such-table at [^\n]+: run ./bin/ddb/schema-load first\n", said)


def test_a_dynamodb_that_is_not_there_is_told_in_a_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    status, data, said = run("list-tables")
    assert (status, data) == (1, [])
    assert re.fullmatch(r"[^\n]+ at http://127.0.0.1:9 is unavailable: [^\n]+\n", said)


def test_list_tables_marks_the_configured_one(run: Run, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    status, data, said = run("list-tables")
    assert (status, said) == (0, "")
    assert [line for line in data if line.startswith("*")] == [f"* {table}"]
    monkeypatch.setenv("DDB_TABLE", "no-such-table")
    status, data, said = run("list-tables")
    assert (status, table in data) == (0, True)
    assert "no table no-such-table" in said


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
    status, data, said = run("scan")
    items = [json.loads(line) for line in data]
    stored = dynamodb_client.scan(TableName=table)["Items"]
    assert status == 0
    assert sorted((item["pk"], item["sk"]) for item in items) == sorted(
        (item["pk"]["S"], item["sk"]["S"]) for item in stored
    )
    [state] = [item for item in items if item["pk"].startswith("CONV#")]
    assert (state["seq"], state["members"].keys()) == (45, {user.uuid for user in members})
    assert HOSTILE in [item.get("message") for item in items]
    assert re.fullmatch(r"Items: 49, requests: 5, capacity units: [\d.]+\n", said)


def test_scan_stops_at_its_limit(run: Run, seeded: MessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ITEMS_PER_PAGE", 5)
    status, data, said = run("scan", "--limit", "7")
    assert (status, len(data)) == (0, 7)
    assert said.startswith("Items: 7, requests: 2,")
    assert run("scan", "--limit", "0")[0] == 2
