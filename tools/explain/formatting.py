"""DynamoDB's calls as text: expressions with their values in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tools.cli.tables import to_json, value_to_json

_PLACEHOLDER = re.compile(r":\w+")
_QUERY_OPTIONS = ("IndexName", "FilterExpression", "ScanIndexForward", "ConsistentRead", "ExclusiveStartKey", "Limit")


def filled(expression: str, arguments: Mapping[str, Any]) -> str:
    """An expression with the values of its call in place."""
    values = arguments.get("ExpressionAttributeValues", {})
    return _PLACEHOLDER.sub(lambda match: value_to_json(values[match[0]]), expression)


def options(arguments: Mapping[str, Any]) -> str:
    """The arguments that shape a read's answer beside its key."""
    given = ((name, arguments[name]) for name in _QUERY_OPTIONS if name in arguments)
    return ", ".join(
        f"{name}={to_json(value) if isinstance(value, dict) else filled(str(value), arguments)}"
        for name, value in given
    )


def describe_query(query: Mapping[str, Any]) -> str:
    """A Query as one line: its key condition, then the arguments that shape the answer."""
    condition = filled(query["KeyConditionExpression"], query)
    return f"Query {query['TableName']}: {', '.join(filter(None, [condition, options(query)]))}"
