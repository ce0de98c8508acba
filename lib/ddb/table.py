"""One DynamoDB table as a handful of calls: get, query, transact. Knows wire forms and retries, but no item's meaning.

Reads are strongly consistent, except on the index, which cannot be. Every call asks for its consumed capacity.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from lib.config import DynamoDBSettings
from lib.ddb.errors import Contended, StoreError, StoreUnavailable, translated
from lib.ddb.items import Item
from lib.ddb.shortcuts import quick_client
from lib.ddb.usage import meter

# A try takes at most two seconds: half of one to connect, the rest to answer.
CONNECT_TIMEOUT_SECONDS = 0.5
READ_TIMEOUT_SECONDS = 1.5
TRIES = 3

# A transaction that meets another one is cancelled, not queued: it is tried again after a random pause.
CONFLICT_TRIES = 8
_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.2

ABSENT = "attribute_not_exists(pk)"

_THROTTLING = frozenset({"ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"})


class _Throttled(StoreUnavailable):
    """Capacity was short for one of a transaction's items: nothing was written."""


@dataclass(frozen=True, slots=True)
class Write:
    """One action of a transaction, and the error to raise when its condition fails.

    `request` is `{"Put": …}`, `{"Update": …}` or `{"Delete": …}` without the table's name. `on_failure` makes the
    error from the item that stands in the way (empty where there is none).
    """

    request: dict[str, dict[str, Any]]
    on_failure: Callable[[Item], StoreError] = lambda item: StoreError("an unconditional write was refused")


def connect(settings: DynamoDBSettings, *, pool_size: int = 10) -> Any:
    """A DynamoDB client with bounded timeouts and retries; one a process. It connects at its first call.

    The client's own retries resend a transaction under the same ClientRequestToken, so a lost answer cannot turn
    into a second message.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=pool_size,
        tcp_keepalive=True,
    )
    make = quick_client if settings.ddb_shortcuts == "on" else _plain_client
    client = make(config, region=settings.aws_default_region, endpoint_url=settings.aws_endpoint_url_dynamodb)
    client.meta.events.register("before-parse.dynamodb", refuse_empty)
    meter(client)
    return client


def _plain_client(config: Config, *, region: str, endpoint_url: str | None) -> Any:
    import boto3  # a third of this module's time to import, and only this needs it

    return boto3.client("dynamodb", region_name=region, endpoint_url=endpoint_url, config=config)


def refuse_empty(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise for an answer that broke off within its headers: it looks like a whole one without a body, and none is.

    A failure of the server may have none, and is tried again.
    """
    if not response_dict["body"] and response_dict["status_code"] < 500:
        raise ConnectionClosedError(endpoint_url="DynamoDB")


class Table:
    """The calls on one table; safe to share between threads. All raise StoreUnavailable."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, key: Item) -> Item | None:
        """The item with this key, strongly consistent."""
        with translated():
            answer = self._client.get_item(
                TableName=self.name, Key=key, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
            )
        item: Item | None = answer.get("Item")
        return item

    def create(self, item: Item) -> Item | None:
        """Put an item where none is, by itself; the item that is there already, None if this one was written.

        A try that is repeated because its answer was lost may find its own item there.
        """
        with translated():
            try:
                self._client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression=ABSENT,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    ReturnConsumedCapacity="TOTAL",
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                there: Item = error.response["Item"]
                return there
        return None

    def put_batch(self, items: Sequence[Item]) -> Sequence[Item]:
        """Put up to 25 items, over whatever is there, each by itself; those that capacity did not suffice for."""
        puts = [{"PutRequest": {"Item": item}} for item in items]
        with translated():
            try:
                answer = self._client.batch_write_item(RequestItems={self.name: puts}, ReturnConsumedCapacity="TOTAL")
            except ClientError as error:
                if error.response["Error"]["Code"] in _THROTTLING:
                    return items
                raise
        return [each["PutRequest"]["Item"] for each in answer["UnprocessedItems"].get(self.name, [])]

    def ping(self) -> None:
        """Ask the table for an item that is not there."""
        self.get({"pk": {"S": "PING"}, "sk": {"S": "PING"}})

    def newest(self, pk: str, *, limit: int, before: str | None) -> tuple[list[Item], bool]:
        """Items of a partition below `before`, the highest sort key first, up to `limit`; and whether more follow."""
        return self._page(pk, limit, "<", before)

    def oldest(self, pk: str, *, limit: int, after: str | None) -> tuple[list[Item], bool]:
        """Items of a partition above `after`, the lowest sort key first, up to `limit`; and whether more follow."""
        return self._page(pk, limit, ">", after)

    def all(self, **arguments: Any) -> Iterator[Item]:
        """Every item of a Query, over all of its pages; `arguments` are those of boto3's `query`."""
        start: dict[str, Any] = {}
        while True:
            with translated():
                answer = self._client.query(TableName=self.name, ReturnConsumedCapacity="TOTAL", **arguments, **start)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def partition(self, pk: str, *, values: Item | None = None, **arguments: Any) -> Iterator[Item]:
        """Every item of a partition, the lowest sort key first; `values` are those of a filter among the arguments."""
        return self.all(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}, **(values or {})},
            ConsistentRead=True,
            **arguments,
        )

    def transact(self, writes: Sequence[Write]) -> None:
        """Make all writes or none.

        Raises the error of the first write whose condition failed; Contended when other transactions kept having
        the items, and StoreUnavailable when capacity stayed short, over all tries.
        """
        for attempt in range(CONFLICT_TRIES):
            if attempt:
                pause(attempt)
            try:
                return self._transact_once(writes)
            except (Contended, _Throttled) as error:
                cancelled = error
        raise cancelled

    def _page(self, pk: str, limit: int, side: str, bound: str | None) -> tuple[list[Item], bool]:
        """One Query, for one item more than the limit: a LastEvaluatedKey at the limit does not say if any follows."""
        values = {":pk": {"S": pk}} if bound is None else {":pk": {"S": pk}, ":bound": {"S": bound}}
        with translated():
            answer = self._client.query(
                TableName=self.name,
                KeyConditionExpression="pk = :pk" if bound is None else f"pk = :pk AND sk {side} :bound",
                ExpressionAttributeValues=values,
                ScanIndexForward=side == ">",
                ConsistentRead=True,
                Limit=limit + 1,
                ReturnConsumedCapacity="TOTAL",
            )
        items: list[Item] = answer["Items"]
        # A page also ends at 1 MB, and then LastEvaluatedKey does say that something may follow.
        return items[:limit], len(items) > limit or "LastEvaluatedKey" in answer

    def _transact_once(self, writes: Sequence[Write]) -> None:
        with translated():
            try:
                self._client.transact_write_items(
                    TransactItems=[_with_table(write.request, self.name) for write in writes],
                    ReturnConsumedCapacity="TOTAL",
                )
            except self._client.exceptions.TransactionCanceledException as error:
                raise _reason(error.response["CancellationReasons"], writes) from error


def pause(attempt: int) -> None:
    """Wait before the next attempt: a random part of a span that doubles (full jitter)."""
    time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt)))  # noqa: S311


def put(item: Item, on_failure: Callable[[Item], StoreError]) -> Write:
    """Put an item where none is."""
    return Write(
        {"Put": {"Item": item, "ConditionExpression": ABSENT, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
        on_failure,
    )


def delete(key: Item) -> Write:
    """Delete an item, if it is there."""
    return Write({"Delete": {"Key": key}})


def _with_table(request: dict[str, dict[str, Any]], table: str) -> dict[str, dict[str, Any]]:
    return {action: {"TableName": table, **arguments} for action, arguments in request.items()}


def _reason(reasons: Sequence[dict[str, Any]], writes: Sequence[Write]) -> Exception:
    for write, reason in zip(writes, reasons, strict=True):
        if reason["Code"] == "ConditionalCheckFailed":
            return write.on_failure(reason.get("Item", {}))
    codes = {reason["Code"] for reason in reasons} - {"None"}
    if codes <= {"TransactionConflict"}:
        return Contended()
    if codes <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}:
        return _Throttled(", ".join(sorted(codes)))
    return ValueError(f"a transaction was not valid: {', '.join(sorted(codes))}")  # no retry mends it
