"""The errors of lib/ddb. This module alone translates the errors of DynamoDB's clients into them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lib.aws.errors import THROTTLING, NoResponse

# DynamoDB's codes whose cause is the service, the account or the deployment, not the request.
_UNAVAILABLE_CODES = THROTTLING | {
    "AccessDeniedException",
    "ExpiredTokenException",
    "InvalidSignatureException",
    "LimitExceededException",
    "ResourceNotFoundException",
    "TransactionInProgressException",
    "UnrecognizedClientException",
}


class StoreError(Exception):
    """Base of all errors of the table."""


class StoreUnavailable(StoreError):
    """DynamoDB is unreachable, throttles, or refuses this deployment. A write may still have succeeded."""


class Throttled(StoreUnavailable):
    """DynamoDB had too little capacity for one of the items; nothing was written."""


class RequestRejected(StoreError):
    """DynamoDB rejected the request as invalid: a bug of this system. `code` is DynamoDB's error code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class WriteRefused(StoreError):
    """A condition of a write failed; this try wrote nothing.

    `item` is the item that failed the condition, in wire format, or empty if there is no item. `uncertain` says whether
    an earlier try of the same writes got no clear response, so that it may have succeeded.
    """

    uncertain = False

    def __init__(self, item: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.item = item or {}


class SchemaMismatch(StoreError):
    """The schema of the existing table differs from lib/ddb/schema.py."""


class ConversationNotFound(StoreError):
    """The conversation does not exist, or the user is not a member; callers cannot tell which."""


class WriteConflict(StoreError):
    """Other writes to the same items were faster at every try; nothing was written."""


class ReceiverBlocked(StoreError):
    """The sender blocks the receiver; nothing was written."""


class ReceiverUnavailable(StoreError):
    """The receiver blocks the sender, or accepts no message of theirs; nothing was written."""


class CursorInvalid(StoreError):
    """The server did not issue this cursor for this partition."""


class FeedGap(StoreError):
    """An inbox row changed too late for a feed cursor: the client must list the inbox again."""


@contextmanager
def translate_errors(*, but: Collection[str] = ()) -> Iterator[None]:
    """Translate the errors of a DynamoDB client into StoreUnavailable or RequestRejected, with DynamoDB's code.

    A ClientError with a code in `but` passes through.
    """
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response["Error"]["Code"]
        if code in but:
            raise
        if status >= 500 or code in _UNAVAILABLE_CODES:
            raise StoreUnavailable(code) from error
        raise RequestRejected(code, error.response["Error"].get("Message", "")) from error
    except NoResponse as error:
        raise StoreUnavailable(str(error)) from error
    except ParamValidationError:
        raise
    except BotoCoreError as error:
        raise StoreUnavailable(type(error).__name__) from error
