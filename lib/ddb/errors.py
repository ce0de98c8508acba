"""What can go wrong at the table. botocore's errors become these here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

# Refusals that say nothing about the request: the service, the account or the deployment is the cause.
_NOT_OUR_REQUEST = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "ThrottlingException",
        "TransactionInProgressException",
        "UnrecognizedClientException",
    }
)


class StoreError(Exception):
    """Base of everything that the table's adapter raises."""


class StoreUnavailable(StoreError):
    """DynamoDB cannot be reached, throttles, or refuses this deployment, after the client's own retries."""


class SchemaMismatch(StoreError):
    """The table that is there is not the one this code works on."""


class ConversationNotFound(StoreError):
    """No such conversation, or the user is no member of it: the caller cannot tell which."""


class Contended(StoreError):
    """Others kept writing to the same items until the retries ran out; nothing was written."""


class CursorInvalid(StoreError):
    """A cursor that this server did not give out for this partition."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn botocore's failures into StoreUnavailable; what is a mistake of ours stays what it is."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response["Error"]["Code"]
        if status >= 500 or code in _NOT_OUR_REQUEST:
            raise StoreUnavailable(code) from error
        raise
    except ParamValidationError:
        raise
    except BotoCoreError as error:
        raise StoreUnavailable(type(error).__name__) from error
