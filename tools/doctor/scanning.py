"""The whole table, page by page: a parallel scan."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from lib.ddb.errors import translate_errors
from lib.ddb.items import Item

_SEGMENTS = 4
_ITEMS_A_PAGE = 1_000


def about(client: Any, table: str) -> int:
    """How many items a table has, as DynamoDB last counted: maybe hours ago. Raises StoreUnavailable."""
    with translate_errors():
        return int(client.describe_table(TableName=table)["Table"]["ItemCount"])


def pages(client: Any, table: str) -> Iterator[list[Item]]:
    """Every item of a table: eventually consistent, at half the price, in no order. Raises StoreUnavailable.

    Each segment has one page in memory at the most: its next one is asked for when that is taken.
    """
    with ThreadPoolExecutor(_SEGMENTS) as threads:
        running = {threads.submit(_page, client, table, segment, {}) for segment in range(_SEGMENTS)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                segment, answer = future.result()
                if start := answer.get("LastEvaluatedKey"):
                    following = {"ExclusiveStartKey": start}
                    running.add(threads.submit(_page, client, table, segment, following))
                yield answer["Items"]


def _page(client: Any, table: str, segment: int, start: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    with translate_errors():
        answer = client.scan(
            TableName=table,
            Segment=segment,
            TotalSegments=_SEGMENTS,
            Limit=_ITEMS_A_PAGE,
            ReturnConsumedCapacity="TOTAL",
            **start,
        )
    return segment, answer
