"""DynamoDB's calls in words: expressions with their values in place, as people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tools.cli.tables import to_json, value_to_json

_PLACEHOLDER = re.compile(r":\w+")
_IN_OTHER_WORDS = (
    *("TableName", "Key", "Item", "TransactItems", "Statement", "Parameters"),
    *("KeyConditionExpression", "ConditionExpression", "UpdateExpression", "ExpressionAttributeValues"),
    *("ReturnConsumedCapacity", "ReturnValuesOnConditionCheckFailure", "ClientRequestToken"),
)


def filled(expression: str, arguments: Mapping[str, Any]) -> str:
    """An expression with the values of its call in place."""
    values = arguments.get("ExpressionAttributeValues", {})
    return _PLACEHOLDER.sub(lambda found: value_to_json(values[found[0]]), expression)


def options(arguments: Mapping[str, Any]) -> list[str]:
    """What shapes a call's answer beside its key condition."""
    return [
        f"{name}={filled(value, arguments) if name == 'FilterExpression' else _shown(value)}"
        for name, value in arguments.items()
        if name not in _IN_OTHER_WORDS
    ]


def describe_query(query: Mapping[str, Any]) -> str:
    """A Query as one line: its key condition, then every argument that shapes the answer."""
    condition = filled(query["KeyConditionExpression"], query)
    return f"Query {query['TableName']}: {', '.join([condition, *options(query)])}"


def _shown(value: Any) -> str:
    return to_json(value) if isinstance(value, dict) else str(value)
