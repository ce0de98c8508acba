"""The table as scripts use it, not the API: connects to it, drops it, scans it, formats its items.

lib/ddb/schema.py creates the table. This module asks for no confirmation.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import boto3
from boto3.dynamodb.types import Binary, TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from lib.aws.connections import CONNECT_SECONDS
from lib.aws.dynamodb_client import TRIES, TRY_SECONDS
from lib.aws.metering import meter
from lib.config import DynamoDBSettings
from lib.ddb.errors import StoreError, StoreUnavailable, translate_errors
from lib.ddb.items import Item
from lib.ddb.table import Table
from tools.cli.console import Target, one_line
from tools.local_stack.environment import is_emulator

FAILURES = (StoreError, BotoCoreError, ClientError)
"""The errors that a script reports in one line."""

_ITEMS_PER_PAGE = 1_000


def connect(settings: DynamoDBSettings, service: str = "dynamodb", *, read_timeout: float = TRY_SECONDS) -> Any:
    """A boto3 client of DynamoDB or its streams, with as many tries as the API's own client."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        account_id_endpoint_mode="disabled",  # else a stream's ARN can lead to an endpoint that does not exist
    )
    client = boto3.client(
        service,
        region_name=settings.aws_default_region,
        endpoint_url=settings.aws_endpoint_url_dynamodb,
        config=config,
    )
    client.meta.events.register(f"before-parse.{service}", refuse_empty)
    meter(client)
    return client


def refuse_empty(response_dict: dict[str, Any], **_: Any) -> None:
    """Raise ConnectionClosedError for a response that ends in its headers, which boto3 would accept as empty.

    A 5xx may be empty; boto3 retries it.
    """
    if not response_dict["body"] and response_dict["status_code"] < 500:
        raise ConnectionClosedError(endpoint_url="DynamoDB")


def where(settings: DynamoDBSettings) -> str:
    """The table and its DynamoDB, for messages."""
    return f"{settings.ddb_table} at {settings.aws_endpoint_url_dynamodb or f'AWS {settings.aws_default_region}'}"


def table_target(settings: DynamoDBSettings) -> Target:
    """The table as a target of destructive actions."""
    return Target(where(settings), settings.ddb_table, is_emulator(settings.aws_endpoint_url_dynamodb))


@contextmanager
def describe_errors(settings: DynamoDBSettings) -> Iterator[None]:
    """Describe failures of DynamoDB in a sentence. Raises StoreUnavailable."""
    try:
        with translate_errors():
            yield
    except StoreUnavailable as error:
        if str(error) == "ResourceNotFoundException":
            raise StoreUnavailable(f"There is no table {where(settings)}: run ./bin/ddb/schema-load first") from error
        raise StoreUnavailable(f"{where(settings)} is unavailable: {error}") from error


def open_table(client: Any, settings: DynamoDBSettings) -> Table:
    """The configured table. Raises StoreUnavailable if it does not exist or respond."""
    table = Table(client, settings.ddb_table)
    with describe_errors(settings):
        table.ping()
    return table


def drop_table(client: Any, table: str) -> bool:
    """Drop the table and wait until it is gone; False if it does not exist."""
    try:
        client.delete_table(TableName=table)
    except client.exceptions.ResourceNotFoundException:
        return False
    client.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return True


def table_names(client: Any) -> Iterator[str]:
    """The names of all tables of the account and region."""
    for page in client.get_paginator("list_tables").paginate():
        yield from page["TableNames"]


def scan(client: Any, table: str, *, limit: int | None = None) -> Iterator[Item]:
    """Every item of the table, or the first `limit`, over all pages; eventually consistent, at half the price."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        ReturnConsumedCapacity="TOTAL",
        PaginationConfig={"PageSize": min(limit or _ITEMS_PER_PAGE, _ITEMS_PER_PAGE), "MaxItems": limit},
    )
    for page in pages:
        yield from page["Items"]


def to_json(item: Item) -> str:
    """An item or a key as one line of JSON, key attributes first."""
    return value_to_json({"M": {name: item[name] for name in sorted(item, key=key_first)}})


def value_to_json(value: Mapping[str, Any]) -> str:
    """An attribute's value as JSON, as a part of a line."""
    plain = TypeDeserializer().deserialize(value)
    return one_line(json.dumps(plain, ensure_ascii=False, default=_plain))


def key_first(name: str) -> tuple[bool, str]:
    """A sort key for attribute names: pk and sk come first."""
    return name not in ("pk", "sk"), name


def _plain(value: Any) -> object:
    """Values that JSON lacks: DynamoDB's numbers, and the sets and bytes of other systems' items."""
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, set):
        return sorted(bytes(member) if isinstance(member, Binary) else member for member in value)
    return b64encode(bytes(value)).decode()
