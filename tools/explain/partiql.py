"""PartiQL at DynamoDB: runs statements, distinguishes reads from writes, and translates calls into statements.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from lib.ddb.errors import StoreError, translate_errors
from lib.ddb.items import Item
from lib.ddb.table import ABSENT
from tools.explain.recorder import PLACEHOLDER

_TAKEN = "An item with this key exists: nothing was inserted"
_REFUSALS = {
    "ConditionalCheckFailedException": "No item has this key and meets the conditions: nothing was changed",
    "DuplicateItem": _TAKEN,
    "DuplicateItemException": _TAKEN,
    "ResourceNotFoundException": "There is no table or index {source}",
    "ValidationException": "DynamoDB refuses the statement: {}",
}

MISSING = {
    "Put": "-- PartiQL has no Put that replaces an item",
    "Update": "-- PartiQL has no Update that creates an item",
}
"""What PartiQL lacks, by action."""

_STRING = re.compile(r"'(?:[^']|'')*'")


class StatementRefused(StoreError):
    """DynamoDB refuses the statement; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a `?` for each of its parameters, which are attribute values."""

    text: str
    parameters: Sequence[Mapping[str, Any]] = ()


def run(client: Any, statement: Statement, *, limit: int | None = None) -> Iterator[Item]:
    """The items of a statement's result, over all pages, or the first `limit`.

    With ORDER BY the request has no limit, because DynamoDB applies the limit before it orders
    (https://github.com/aws/aws-sdk-go-v2/issues/2917). Raises StatementRefused, StoreUnavailable.
    """
    arguments: dict[str, Any] = {"Statement": statement.text, "ReturnConsumedCapacity": "TOTAL"}
    if statement.parameters:
        arguments["Parameters"] = statement.parameters
    if limit and not re.search(r"\bORDER\b", _STRING.sub("?", statement.text), re.IGNORECASE):
        arguments["Limit"] = limit
    return islice(_items(client, arguments), limit)


def reads(text: str) -> bool:
    """Whether a statement is a SELECT; every other statement counts as a write."""
    return re.match(r"\s*SELECT\b", text, re.IGNORECASE) is not None


def may_read_everything(text: str) -> bool:
    """Whether a SELECT may read its whole table or index: an alternative of WHERE names no partition key by `=` or IN.

    The keys are those of this system's table. The function ignores brackets, so it is also true for a few statements
    that read one partition.
    """
    source, *conditions = re.split(r"\bWHERE\b", _STRING.sub("?", text), maxsplit=1, flags=re.IGNORECASE)
    key = "message_group_uuid" if re.search(r'\.\s*"', source) else "pk"
    names_key = re.compile(rf'(?<!NOT )(?<![\w"])"?{key}"?\s*(=|(?i:IN)\b)')
    alternatives = re.split(r"\bOR\b", "".join(conditions), flags=re.IGNORECASE)
    return not all(names_key.search(alternative) for alternative in alternatives)


def select(query: Mapping[str, Any]) -> str:
    """The SELECT that is equal to a Query, with literal values; PartiQL has no Limit."""
    conditions = [query["KeyConditionExpression"], _as_partiql(query.get("FilterExpression", ""))]
    values = query["ExpressionAttributeValues"]
    where = PLACEHOLDER.sub(lambda match: _literal(values[match[0]]), " AND ".join(filter(None, conditions)))
    order = "" if query.get("ScanIndexForward", True) else " ORDER BY sk DESC"
    return f'SELECT * FROM "{query["TableName"]}" WHERE {where}{order}'  # noqa: S608 - the values are quoted


def write(action: str, arguments: Mapping[str, Any]) -> Statement | None:
    """The statement that is equal to a Put, Update or Delete; None if PartiQL has no such statement."""
    table, condition = f'"{arguments["TableName"]}"', arguments.get("ConditionExpression", "")
    if action == "Put":
        attributes = ", ".join(f"'{name}': ?" for name in arguments["Item"])
        text = f"INSERT INTO {table} VALUE {{{attributes}}}"
        return Statement(text, list(arguments["Item"].values())) if condition == ABSENT else None
    where = " AND ".join(filter(None, ["pk = :pk AND sk = :sk", _as_partiql(condition)]))
    key = {f":{name}": value for name, value in arguments["Key"].items()}
    values = {**arguments.get("ExpressionAttributeValues", {}), **key}
    if action == "Delete":
        return _bound(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608 - values are parameters
    if arguments["UpdateExpression"].startswith("ADD"):
        return None
    changes = arguments["UpdateExpression"].replace(", ", " SET ")
    return _bound(f"UPDATE {table} {changes} WHERE {where}", values)


def _items(client: Any, arguments: dict[str, Any]) -> Iterator[Item]:
    while True:
        with translate_errors():
            try:
                response = client.execute_statement(**arguments)
            except ClientError as error:
                if sentence := _REFUSALS.get(error.response["Error"]["Code"]):
                    message, source = error.response["Error"]["Message"], _source(arguments["Statement"])
                    raise StatementRefused(sentence.format(message, source=source)) from error
                raise
        yield from response.get("Items", [])
        if "NextToken" not in response:
            return
        arguments["NextToken"] = response["NextToken"]


def _source(text: str) -> str:
    """The table of a statement, or its table and index."""
    name = r'(?:"[^"]*"|[\w.-]+)'
    match = re.search(rf"\b(?:FROM|INTO|UPDATE)\s+({name}(?:\s*\.\s*{name})?)", _STRING.sub("?", text), re.IGNORECASE)
    return match[1].replace('"', "") if match else "of that name"


def _literal(value: Mapping[str, Any]) -> str:
    """A number or a string as a PartiQL literal."""
    return str(value["N"]) if "N" in value else "'" + value["S"].replace("'", "''") + "'"


def _bound(text: str, values: Mapping[str, Any]) -> Statement:
    """A statement whose parameters are named as those of an expression."""
    return Statement(PLACEHOLDER.sub("?", text), [values[name] for name in PLACEHOLDER.findall(text)])


def _as_partiql(condition: str) -> str:
    """A condition or a filter as a part of WHERE."""
    condition = re.sub(r"attribute_exists\((\w+)\)", r"\1 IS NOT MISSING", condition)
    condition = re.sub(r"attribute_not_exists\((\w+)\)", r"\1 IS MISSING", condition)
    return f"({condition})" if " OR " in condition else condition
