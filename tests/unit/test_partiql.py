"""PartiQL statements: reads and writes, the equal calls, and pages."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lib.ddb.table import ABSENT
from lib.ddb.transactions import late_update_writes
from tests.support.examples import STATE
from tests.support.stores import START
from tools.explain.partiql import Statement, may_read_everything, reads, run, select, write

TABLE = '"cruddur-messages"'
INDEX = f'{TABLE}."message-group-sk-index"'
KEY = {"pk": {"S": "P"}, "sk": {"S": "S"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", True),
        ("  select * from t", True),
        ("INSERT INTO t VALUE {'pk': 'SELECT'}", False),
        ("UPDATE t SET a = 1 WHERE pk = 'x'", False),
        ("DELETE FROM t", False),
        ("EXISTS(SELECT * FROM t)", False),
        ('"SELECT" * FROM t', False),
        ("", False),
    ],
)
def test_only_select_reads(text: str, expected: bool) -> None:
    assert reads(text) == expected


@pytest.mark.parametrize(
    "where",
    [
        "pk = ?",
        "\"pk\"='x'",
        "pk in ['a', 'b']",
        "sk BETWEEN ? AND ? AND pk = ?",
        "(pk = ? AND sk = ?) OR (pk = ? AND sk = ?) ORDER BY sk DESC",
        "message = ' OR ' AND pk = ?",
    ],
)
def test_select_with_partition_keys_reads_their_partitions(where: str) -> None:
    assert not may_read_everything(f"SELECT * FROM {TABLE} where {where}")


@pytest.mark.parametrize(
    "where",
    [
        "WHERE pk > ?",
        "WHERE pk >= ?",
        "WHERE begins_with(pk, ?)",
        "WHERE sk = ?",
        "WHERE pk = ? or message = ?",
        "WHERE NOT pk = ?",
        "WHERE PK = ?",
        "WHERE message = 'pk = 1'",
        "WHERE contains(message, 'x') ORDER BY pk",
        "WHERE message_group_uuid = ?",
        "WHERE spk = ?",
        "",
    ],
)
def test_other_select_may_read_the_whole_table(where: str) -> None:
    assert may_read_everything(f"SELECT pk, sk FROM {TABLE} {where}")


def test_index_has_a_key_of_its_own() -> None:
    assert not may_read_everything(f"SELECT * FROM {INDEX} WHERE message_group_uuid = ?")
    assert may_read_everything(f"SELECT * FROM {INDEX} WHERE pk = ?")


def test_query_becomes_a_statement() -> None:
    query: dict[str, Any] = {
        "TableName": "cruddur-messages",
        "KeyConditionExpression": "pk = :pk AND sk < :pk_bound",
        "ExpressionAttributeValues": {":pk_bound": {"S": "it's"}, ":pk": {"S": "a ? b"}, ":seq": {"N": "7"}},
        "Limit": 21,
    }
    statement = f"SELECT * FROM {TABLE} WHERE pk = 'a ? b' AND sk < 'it''s'"
    assert select(query) == statement
    assert select({**query, "ScanIndexForward": False}) == f"{statement} ORDER BY sk DESC"
    condition = "attribute_not_exists(seq) OR seq > :seq"
    assert select({**query, "FilterExpression": condition}) == f"{statement} AND (seq IS MISSING OR seq > 7)"


@pytest.mark.parametrize("condition", [{}, {"ConditionExpression": f"{ABSENT} OR expires_at <= :now"}])
def test_put_that_may_replace_an_item_has_no_statement(condition: dict[str, str]) -> None:
    assert write("Put", {"TableName": "cruddur-messages", "Item": KEY, **condition}) is None


def test_update_that_may_create_an_item_has_no_statement() -> None:
    [update, _] = late_update_writes(STATE, now=START)
    assert write("Update", {"TableName": "cruddur-messages", **update.request["Update"]}) is None


@pytest.mark.parametrize(("limit", "expected", "pages"), [(None, "abc", 2), (3, "abc", 2), (2, "ab", 1), (1, "a", 1)])
def test_statement_is_read_over_all_pages_up_to_its_limit(limit: int | None, expected: str, pages: int) -> None:
    items = {letter: {"pk": {"S": letter}} for letter in "abc"}
    sent: dict[str, Any] = {"Statement": "SELECT", "ReturnConsumedCapacity": "TOTAL"} | (
        {"Limit": limit} if limit else {}
    )
    client = boto3.client("dynamodb")
    with Stubber(client) as stub:
        stub.add_response("execute_statement", {"Items": [items["a"], items["b"]], "NextToken": "more"}, sent)
        if pages == 2:
            stub.add_response("execute_statement", {"Items": [items["c"]]}, {**sent, "NextToken": "more"})
        assert [item["pk"]["S"] for item in run(client, Statement("SELECT"), limit=limit)] == list(expected)
        stub.assert_no_pending_responses()
    client.close()


def test_ordered_statement_is_sent_without_its_limit() -> None:
    client = boto3.client("dynamodb")
    text = "SELECT * FROM t WHERE pk = 'x' order by sk"
    with Stubber(client) as stub:
        stub.add_response(
            "execute_statement", {"Items": [KEY, KEY]}, {"Statement": text, "ReturnConsumedCapacity": "TOTAL"}
        )
        assert list(run(client, Statement(text), limit=1)) == [KEY]
    client.close()
