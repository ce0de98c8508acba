"""PartiQL at DynamoDB: statements are run, judged by their text, and made of the calls that they are equal to.

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

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|[<>!=]+|\S""")
_KEYWORDS = ("SELECT", "FROM", "WHERE", "ORDER", "AND", "OR", "IN")
_PLACEHOLDER = re.compile(r":\w+")


class StatementRefused(StoreError):
    """DynamoDB does not run the statement; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with a `?` for each of its parameters, which are attribute values."""

    text: str
    parameters: Sequence[Mapping[str, Any]] = ()

    def filled(self) -> str:
        """The statement with its parameters in place, all of them strings."""
        values = (each["S"].replace("'", "''") for each in self.parameters)
        return re.sub(r"\?", lambda _: f"'{next(values)}'", self.text)


def run(
    client: Any, statement: Statement, *, limit: int | None = None, consistent_read: bool = False
) -> Iterator[Item]:
    """The items that a statement gives, over all pages, or the first `limit`.

    With ORDER BY the limit is not passed on: DynamoDB orders what the limit has left
    (https://github.com/aws/aws-sdk-go-v2/issues/2917). Raises StatementRefused, StoreUnavailable.
    """
    arguments: dict[str, Any] = {"Statement": statement.text, "ReturnConsumedCapacity": "TOTAL"}
    if statement.parameters:
        arguments["Parameters"] = statement.parameters
    if consistent_read:
        arguments["ConsistentRead"] = True
    if limit and "ORDER" not in _tokens(statement.text):
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
    """Whether a statement reads; one that is not known to is taken to write."""
    return _tokens(text)[:1] == ["SELECT"]


def reads_everything(text: str) -> bool:
    """Whether a SELECT passes every item of its table or index: its WHERE names no partition key with `=` or IN.

    The keys are those of this system's table.
    """
    tokens = _tokens(text)
    definition = table_definition("any")
    if "." in _clause(tokens, "FROM", "WHERE"):
        definition = definition["GlobalSecondaryIndexes"][0]
    return not _names_key(_clause(tokens, "WHERE", "ORDER"), definition["KeySchema"][0]["AttributeName"])


def select(query: Mapping[str, Any]) -> Statement:
    """The statement that gives what a Query gives, but for its Limit: PartiQL has none."""
    lines = [f'SELECT * FROM "{query["TableName"]}"']  # noqa: S608 - values are parameters
    lines.append(f"WHERE {query['KeyConditionExpression']}")
    if not query.get("ScanIndexForward", True):
        lines.append("ORDER BY sk DESC")
    return _bound("\n".join(lines), query["ExpressionAttributeValues"])


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


def _bound(text: str, values: Mapping[str, Any]) -> Statement:
    """A statement whose parameters are named as those of an expression."""
    return Statement(_PLACEHOLDER.sub("?", text), [values[name] for name in _PLACEHOLDER.findall(text)])


def _as_partiql(condition: str) -> str:
    """The condition of a write, as a part of WHERE."""
    condition = re.sub(r"attribute_exists\((\w+)\)", r"\1 IS NOT MISSING", condition)
    condition = re.sub(r"attribute_not_exists\((\w+)\)", r"\1 IS MISSING", condition)
    return f"({condition})" if " OR " in condition else condition


def _tokens(text: str) -> list[str]:
    """The statement's words, quoted names, strings and signs; keywords in capitals."""
    return [token.upper() if token.upper() in _KEYWORDS else token for token in _TOKEN.findall(text)]


def _clause(tokens: Sequence[str], first: str, *ends: str) -> list[str]:
    """What stands between two words; nothing if the first is not there."""
    if first not in tokens:
        return []
    rest = list(tokens[tokens.index(first) + 1 :])
    return rest[: next((place for place, token in enumerate(rest) if token in ends), len(rest))]


def _names_key(condition: Sequence[str], key: str) -> bool:
    """Whether a condition holds for items of certain partitions alone."""
    if len(parts := _split(condition, "OR")) > 1:
        return all(_names_key(part, key) for part in parts)
    if len(parts := _split(condition, "AND")) > 1:
        return any(_names_key(part, key) for part in parts)
    if condition[:1] == ["("]:
        return _names_key(condition[1:-1], key)
    return len(condition) > 2 and condition[0].strip('"') == key and condition[1] in ("=", "IN")


def _split(tokens: Sequence[str], word: str) -> list[list[str]]:
    """The parts between a word, where it stands outside all brackets."""
    parts: list[list[str]] = [[]]
    depth = 0
    for each in tokens:
        depth += (each in "([{") - (each in ")]}")
        if each == word and not depth:
            parts.append([])
        else:
            parts[-1].append(each)
    return parts
