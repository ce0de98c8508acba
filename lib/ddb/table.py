"""The calls on one DynamoDB table: wire format, conditions and retries. This module does not know what items mean.

Reads are strongly consistent, except on the index. Every response includes the consumed capacity. The client is the one
in lib/aws/dynamodb_client.py or boto3's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lib.aws.errors import THROTTLING
from lib.ddb.errors import (
    RequestRejected,
    StoreError,
    StoreUnavailable,
    Throttled,
    WriteConflict,
    WriteRefused,
    translate_errors,
)
from lib.ddb.items import Item
from lib.deadline import pause, tries

WRITE_SECONDS = 5.0
"""The time for all tries of a write, after conflicts or lost responses."""

MAX_WRITES = 100
"""DynamoDB's limit for one transaction."""

ABSENT = "attribute_not_exists(pk)"

_REFUSALS = frozenset(
    {"ConditionalCheckFailedException", "TransactionCanceledException", "TransactionConflictException"}
)


@dataclass(frozen=True, slots=True)
class Write:
    """One action of a transaction, and the error to raise when its condition fails.

    `request` is `{"Put": …}`, `{"Update": …}`, `{"Delete": …}` or `{"ConditionCheck": …}` without the table's name.
    `on_failure` makes the error from the item that failed the condition, which is empty if there is no item.
    """

    request: dict[str, dict[str, Any]]
    on_failure: Callable[[Item], StoreError] = lambda item: StoreError("an unconditional write was refused")


class Table:
    """The calls on one table; safe to share between threads. Every call raises StoreUnavailable and RequestRejected."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self.name = name

    def get(self, key: Item) -> Item | None:
        """The item with this key, strongly consistent."""
        with translate_errors():
            response = self._client.get_item(
                TableName=self.name, Key=key, ConsistentRead=True, ReturnConsumedCapacity="TOTAL"
            )
        item: Item | None = response.get("Item")
        return item

    def put_batch(self, items: Sequence[Item]) -> Sequence[Item]:
        """Put up to 25 items, replacing existing ones; return those that DynamoDB lacked the capacity for."""
        puts = [{"PutRequest": {"Item": item}} for item in items]
        with translate_errors():
            try:
                response = self._client.batch_write_item(RequestItems={self.name: puts}, ReturnConsumedCapacity="TOTAL")
            except ClientError as error:
                if error.response["Error"]["Code"] in THROTTLING:
                    return items
                raise
        return [request["PutRequest"]["Item"] for request in response["UnprocessedItems"].get(self.name, [])]

    def ping(self) -> None:
        """Read an item that does not exist, to see whether the table responds."""
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
            with translate_errors():
                response = self._client.query(TableName=self.name, ReturnConsumedCapacity="TOTAL", **arguments, **start)
            yield from response["Items"]
            if "LastEvaluatedKey" not in response:
                return
            start = {"ExclusiveStartKey": response["LastEvaluatedKey"]}

    def partition(self, pk: str, *, values: Item | None = None, **arguments: Any) -> Iterator[Item]:
        """Every item of a partition, the lowest sort key first; `values` are those of a filter among the arguments."""
        return self.all(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}, **(values or {})},
            ConsistentRead=True,
            **arguments,
        )

    def index_partition(self, index: str, key: Item) -> Iterator[Item]:
        """Every item of a partition of an index, eventually consistent; `key` has the partition key alone.

        Raises StoreUnavailable if the table lacks this index.
        """
        [(name, value)] = key.items()
        try:
            yield from self.all(
                IndexName=index, KeyConditionExpression=f"{name} = :key", ExpressionAttributeValues={":key": value}
            )
        except RequestRejected as error:
            raise StoreUnavailable(f"the table {self.name} has no index {index} on {name}") from error

    def transact(self, writes: Sequence[Write], *, retry_conflicts: bool = True) -> None:
        """Make all writes or none. Every try has the same token, so DynamoDB applies the writes once.

        Tries again after a conflict with another write and after short capacity; without `retry_conflicts`, only while
        the outcome is unknown. Raises the error of the first write whose condition failed. Raises WriteConflict and
        Throttled, both with nothing written.
        """
        token, uncertain = str(uuid.uuid4()), False
        for attempt in tries(WRITE_SECONDS):
            try:
                return self._send(writes, token)
            except ClientError as error:
                uncertain = uncertain or _was_retried(error)
                refusal = _refusal(error.response, writes)
                if isinstance(refusal, WriteRefused):
                    refusal.uncertain = uncertain
                if not isinstance(refusal, WriteConflict | Throttled) or not (uncertain or retry_conflicts):
                    raise refusal from error
                pause(attempt)
        raise StoreUnavailable("the outcome of the write is unknown") if uncertain else refusal

    def _send(self, writes: Sequence[Write], token: str) -> None:
        """One call. Raises ClientError if a condition, a conflict or short capacity refused it."""
        [(action, arguments), *others] = [next(iter(write.request.items())) for write in writes]
        with translate_errors(but=_REFUSALS):
            if action == "Put" and not others:  # half the price of a transaction
                self._client.put_item(TableName=self.name, ReturnConsumedCapacity="TOTAL", **arguments)
            else:
                self._client.transact_write_items(
                    TransactItems=[_with_table(write.request, self.name) for write in writes],
                    ClientRequestToken=token,
                    ReturnConsumedCapacity="TOTAL",
                )

    def _page(self, pk: str, limit: int, side: str, bound: str | None) -> tuple[list[Item], bool]:
        """One Query for one item more than the limit: at the limit, LastEvaluatedKey does not say if more follows."""
        values = {":pk": {"S": pk}} if bound is None else {":pk": {"S": pk}, ":bound": {"S": bound}}
        with translate_errors():
            response = self._client.query(
                TableName=self.name,
                KeyConditionExpression="pk = :pk" if bound is None else f"pk = :pk AND sk {side} :bound",
                ExpressionAttributeValues=values,
                ScanIndexForward=side == ">",
                ConsistentRead=True,
                Limit=limit + 1,
                ReturnConsumedCapacity="TOTAL",
            )
        items: list[Item] = response["Items"]
        # A page also ends at 1 MB. Then LastEvaluatedKey says that another item may follow.
        return items[:limit], len(items) > limit or "LastEvaluatedKey" in response


OnFailure = Callable[[Item], StoreError]


def put(item: Item, on_failure: OnFailure, *, when: str = ABSENT, values: Item | None = None) -> Write:
    """Put an item on a condition: by default, that no item has its key."""
    return Write({"Put": {"Item": item, **_conditional(when, values or {})}}, on_failure)


def update(
    key: Item, changes: Item, on_failure: OnFailure, *, when: str, values: Item | None = None, removed: str = ""
) -> Write:
    """Set attributes of an item on a condition: an update without a condition would create a missing item.

    `removed` is the name of an attribute to remove.
    """
    arguments = _conditional(when, {**(values or {}), **{f":{name}": value for name, value in changes.items()}})
    expression = f"SET {', '.join(f'{name} = :{name}' for name in changes)}{removed and f' REMOVE {removed}'}"
    return Write({"Update": {"Key": key, "UpdateExpression": expression, **arguments}}, on_failure)


def delete(key: Item, on_failure: OnFailure, *, when: str, values: Item | None = None) -> Write:
    """Delete an item on a condition."""
    return Write({"Delete": {"Key": key, **_conditional(when, values or {})}}, on_failure)


def check(key: Item, on_failure: OnFailure, *, when: str, values: Item | None = None) -> Write:
    """Write nothing; refuse the transaction unless the condition holds for the item."""
    return Write({"ConditionCheck": {"Key": key, **_conditional(when, values or {})}}, on_failure)


def _conditional(when: str, values: Item) -> dict[str, Any]:
    return {
        "ConditionExpression": when,
        **({"ExpressionAttributeValues": values} if values else {}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _with_table(request: dict[str, dict[str, Any]], table: str) -> dict[str, dict[str, Any]]:
    return {action: {"TableName": table, **arguments} for action, arguments in request.items()}


def _was_retried(error: ClientError) -> bool:
    """Whether the client sent the request more than once, so that an earlier try may have been applied."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _refusal(response: dict[str, Any], writes: Sequence[Write]) -> StoreError:
    """The error for a refused call. A single Put has no list of reasons: its error is the reason."""
    code = response["Error"]["Code"]
    single = [{"Code": code.removesuffix("Exception"), "Item": response.get("Item", {})}]
    reasons = response.get("CancellationReasons", single)
    for write, reason in zip(writes, reasons, strict=False):
        if reason["Code"] == "ConditionalCheckFailed":
            return write.on_failure(reason.get("Item", {}))
    codes = {reason["Code"] for reason in reasons} - {"None"}
    if codes <= {"TransactionConflict"}:
        return WriteConflict()
    if codes <= {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}:
        return Throttled(", ".join(sorted(codes)))
    return RequestRejected(", ".join(sorted(codes)))  # a retry cannot help
