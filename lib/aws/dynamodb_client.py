"""A DynamoDB client for the five operations that the API, the stream function and the loader use.

Its methods have the names, arguments, results and errors of boto3's, so lib/ddb/table.py works with either client.
botocore finds and renews the credentials. This module does not know the items.
"""

from __future__ import annotations

import random
import time
import uuid
import zlib
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any

import orjson
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError
from botocore.session import get_session

from lib.aws import metering
from lib.aws.connections import Connections
from lib.aws.endpoints import ca_bundle, endpoint_url
from lib.aws.errors import THROTTLING, NoResponse
from lib.aws.sigv4 import authorization
from lib.circuit_breaker import CircuitBreaker, CircuitOpen
from lib.config import DynamoDBSettings
from lib.deadline import seconds_left

TRIES = 3
TRY_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.05
_CONTENT_TYPE = "application/x-amz-json-1.0"

_RETRYABLE_CODES = THROTTLING | {"TransactionInProgressException"}


class DynamoDBClient:
    """One client per process, safe to share between threads. It connects at its first call.

    A call has three tries of two seconds each, within the current deadline. The client retries after a missing
    response, a 5xx, short capacity or TransactionInProgress. The tries of a transaction share a ClientRequestToken.
    A circuit breaker refuses tries while DynamoDB does not respond. Calls raise ClientError, NoResponse, BotoCoreError.
    """

    def __init__(self, settings: DynamoDBSettings, *, pool_size: int = 10) -> None:
        """At most `pool_size` threads wait for DynamoDB at a time.

        Raises SettingsError if a proxy is set or the CA bundle is unreadable.
        """
        self._session = get_session()
        self._region = settings.aws_default_region
        url = endpoint_url(self._session, "dynamodb", self._region, configured=settings.aws_endpoint_url_dynamodb)
        self.connections = Connections(url, pool_size=pool_size, ca_bundle=ca_bundle(self._session))
        self._breaker = CircuitBreaker("dynamodb", lambda error: isinstance(error, NoResponse), limit=pool_size)

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        body = orjson.dumps(request)
        retries = 0
        while True:
            try:
                return self._send(operation, body, retries=retries)
            except CircuitOpen as refusal:  # an earlier try may have been executed
                raise NoResponse(str(refusal)) from refusal
            except (NoResponse, ClientError) as error:
                pause = random.uniform(0, _FIRST_PAUSE_SECONDS * 2**retries)  # noqa: S311
                retries += 1
                if not _is_retryable(error) or retries == TRIES or pause > seconds_left():
                    raise
            time.sleep(pause)

    get_item = partialmethod(_call, "GetItem")
    query = partialmethod(_call, "Query")
    put_item = partialmethod(_call, "PutItem")
    batch_write_item = partialmethod(_call, "BatchWriteItem")

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        return self._call("TransactWriteItems", **{"ClientRequestToken": str(uuid.uuid4())} | request)

    def close(self) -> None:
        """Close the idle connections."""
        self.connections.close()

    def _send(self, operation: str, body: bytes, *, retries: int) -> dict[str, Any]:
        with self._breaker.call():
            metering.count_request()
            seconds = max(0.0, min(TRY_SECONDS, seconds_left()))
            status, headers, content = self.connections.post(self._headers(operation, body), body, seconds=seconds)
        if headers.get("x-amz-crc32") not in (None, str(zlib.crc32(content))):
            raise NoResponse("wrong checksum")
        try:
            response: dict[str, Any] = orjson.loads(content)
        except ValueError as error:
            raise NoResponse(f"no JSON, status {status}") from error
        is_whole = isinstance(response, dict) and (status == 200 or isinstance(response.get("__type"), str))
        if headers.get("content-type") != _CONTENT_TYPE or not is_whole:
            raise NoResponse(f"no response of DynamoDB, status {status}")  # a proxy may have sent this one
        if status == 200:
            metering.count_units(operation, response)
            return response
        # DynamoDB's message may quote an item.
        response["Error"] = {"Code": response["__type"].rpartition("#")[2], "Message": ""}
        response["ResponseMetadata"] = {"HTTPStatusCode": status, "RetryAttempts": retries}
        raise ClientError(response, operation)

    def _headers(self, operation: str, body: bytes) -> dict[str, str]:
        source = self._session.get_credentials()
        if source is None:
            raise NoCredentialsError
        try:
            credentials = source.get_frozen_credentials()  # renews them when they are about to expire
        except (ClientError, RuntimeError) as error:  # STS refused, or the credentials expired
            raise CredentialRetrievalError(provider=source.method, error_msg=type(error).__name__) from error
        headers = {
            "Host": self.connections.host,
            "Content-Type": _CONTENT_TYPE,
            "X-Amz-Date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        }
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        path, region = self.connections.path, self._region
        headers["Authorization"] = authorization(
            headers, body, path=path, credentials=credentials, region=region, service="dynamodb"
        )
        return headers


def _is_retryable(error: NoResponse | ClientError) -> bool:
    """Whether another try may succeed."""
    if isinstance(error, NoResponse):
        return True
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or error.response["Error"]["Code"] in _RETRYABLE_CODES
