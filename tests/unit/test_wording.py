"""DynamoDB's calls in words: every value stands where its placeholder stood."""

from __future__ import annotations

from tools.explain.formatting import describe_query, filled


def test_a_placeholder_that_begins_like_another_keeps_its_own_value() -> None:
    values = {":at": {"S": "noon"}, ":at_known": {"N": "7"}, ":m": {"M": {"a": {"S": '"\x1b"'}}}}
    expression = "SET at = :at, known = :at_known, m = :m"
    assert filled(expression, {"ExpressionAttributeValues": values}) == (
        r'SET at = "noon", known = 7, m = {"a": "\"\u001b\""}'
    )


def test_a_query_is_one_line_with_all_that_shapes_its_answer() -> None:
    query = {
        "TableName": "messages",
        "IndexName": "by-group",
        "KeyConditionExpression": "pk = :pk",
        "FilterExpression": "message_group_uuid = :group",
        "ExpressionAttributeValues": {":pk": {"S": "P"}, ":group": {"S": "G"}},
        "ExclusiveStartKey": {"sk": {"S": "1"}, "pk": {"S": "P"}},
        "Limit": 3,
        "ReturnConsumedCapacity": "TOTAL",
    }
    assert describe_query(query) == (
        'Query messages: pk = "P", IndexName=by-group, FilterExpression=message_group_uuid = "G", '
        'ExclusiveStartKey={"pk": "P", "sk": "1"}, Limit=3'
    )
