"""PartiQL at DynamoDB: runs statements, tells reads from writes, and translates calls into statements.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lib.ddb.errors import StoreError, translate_errors
from lib.ddb.items import Item
from lib.ddb.schema import table_definition
from lib.ddb.table import ABSENT

_TAKEN = "There is an item with that key already: nothing was inserted"
_REFUSALS = {
    "ConditionalCheckFailedException": "There is no item with that key, or not as WHERE has it: nothing was changed",
    "DuplicateItem": _TAKEN,
    "DuplicateItemException": _TAKEN,
    "ResourceNotFoundException": "There is no such table or index",
}

_STRING = re.compile(r"'(?:[^']|'')*'")
_PLACEHOLDER = re.compile(r":\w+")


class StatementRefused(StoreError):
    """DynamoDB does not run the statement; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a `?` for each of its parameters, which are attribute values."""

    text: str
    parameters: Sequence[Mapping[str, Any]] = ()


def run(client: Any, statement: Statement, *, limit: int | None = None) -> Iterator[Item]:
    """The items that a statement gives, over all pages, or the first `limit`.

    With ORDER BY the limit is not passed on: DynamoDB orders what the limit has left
    (https://github.com/aws/aws-sdk-go-v2/issues/2917). Raises StatementRefused, StoreUnavailable.
    """
    arguments: dict[str, Any] = {"Statement": statement.text, "ReturnConsumedCapacity": "TOTAL"}
    if statement.parameters:
        arguments["Parameters"] = statement.parameters
    if limit and not re.search(r"\bORDER\b", _STRING.sub("?", statement.text), re.IGNORECASE):
        arguments["Limit"] = limit
    count = 0
    while True:
        answer = _execute(client, arguments)
        for item in answer.get("Items", []):
            yield item
            count += 1
            if count == limit:
                return
        if "NextToken" not in answer:
            return
        arguments["NextToken"] = answer["NextToken"]


def reads(text: str) -> bool:
    """Whether a statement is a SELECT; any other is taken to write."""
    return re.match(r"\s*SELECT\b", text, re.IGNORECASE) is not None


def may_read_everything(text: str) -> bool:
    """Whether a SELECT may read its whole table or index: a part of WHERE between two OR names no partition key by `=`
    or IN. Brackets do not count, so a rare SELECT of one partition counts as well.

    The keys are those of this system's table.
    """
    source, *conditions = re.split(r"\bWHERE\b", _STRING.sub("?", text), maxsplit=1, flags=re.IGNORECASE)
    definition = table_definition("any")
    if re.search(r'\.\s*"', source):
        definition = definition["GlobalSecondaryIndexes"][0]
    key = definition["KeySchema"][0]["AttributeName"]
    names_key = re.compile(rf'(?<!NOT )(?<![\w"])"?{key}"?\s*(=|(?i:IN)\b)')
    alternatives = re.split(r"\bOR\b", "".join(conditions), flags=re.IGNORECASE)
    return not all(names_key.search(alternative) for alternative in alternatives)


def select(query: Mapping[str, Any]) -> str:
    """The statement that gives what a Query gives, with its values in place; PartiQL has no Limit."""
    conditions = [query["KeyConditionExpression"], _as_partiql(query.get("FilterExpression", ""))]
    values = query["ExpressionAttributeValues"]
    where = _PLACEHOLDER.sub(lambda match: _literal(values[match[0]]), " AND ".join(filter(None, conditions)))
    order = "" if query.get("ScanIndexForward", True) else " ORDER BY sk DESC"
    return f'SELECT * FROM "{query["TableName"]}" WHERE {where}{order}'  # noqa: S608 - the values are quoted


def write(action: str, arguments: Mapping[str, Any]) -> Statement | None:
    """The statement that does what a Put, Update or Delete does; None for a Put where an item may be, which PartiQL
    does not have.
    """
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
    changes = arguments["UpdateExpression"].replace(", ", " SET ")
    return _bound(f"UPDATE {table} {changes} WHERE {where}", values)


def _execute(client: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    with translate_errors():
        try:
            answer: dict[str, Any] = client.execute_statement(**arguments)
        except ClientError as error:
            refused = error.response["Error"]
            if refused["Code"] == "ValidationException":
                raise StatementRefused(f"DynamoDB refuses the statement: {refused['Message']}") from error
            if refused["Code"] in _REFUSALS:
                raise StatementRefused(_REFUSALS[refused["Code"]]) from error
            raise
    return answer


def _literal(value: Mapping[str, Any]) -> str:
    """A number or a string as PartiQL has it."""
    return str(value["N"]) if "N" in value else "'" + value["S"].replace("'", "''") + "'"


def _bound(text: str, values: Mapping[str, Any]) -> Statement:
    """A statement whose parameters are named as those of an expression."""
    return Statement(_PLACEHOLDER.sub("?", text), [values[name] for name in _PLACEHOLDER.findall(text)])


def _as_partiql(condition: str) -> str:
    """A condition or a filter as a part of WHERE."""
    condition = re.sub(r"attribute_exists\((\w+)\)", r"\1 IS NOT MISSING", condition)
    condition = re.sub(r"attribute_not_exists\((\w+)\)", r"\1 IS MISSING", condition)
    return f"({condition})" if " OR " in condition else condition
