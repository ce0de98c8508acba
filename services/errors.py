"""The errors of the services, and the codes that clients see.

The class of an error decides the HTTP status (routes/errors.py). A code names the exact problem. The codes are part of
the HTTP contract (openapi.yaml), so their names must not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from lib.ddb.errors import (
    ConversationNotFound,
    CursorInvalid,
    FeedGap,
    ReceiverBlocked,
    ReceiverUnavailable,
    StoreUnavailable,
    WriteConflict,
)
from lib.postgres.errors import DatabaseUnavailable


class Code(StrEnum):
    """The codes in error responses."""

    # the request itself
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONTENT_TYPE_UNSUPPORTED = "content_type_unsupported"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_SLOW = "body_too_slow"
    BODY_TOO_LARGE = "body_too_large"
    BODY_INVALID = "body_invalid"
    BAD_REQUEST = "bad_request"
    INTERNAL_ERROR = "internal_error"

    # the client's identity
    TOKEN_MISSING = "token_missing"  # noqa: S105
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    TOKEN_INVALID = "token_invalid"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    USER_NOT_FOUND = "user_not_found"
    HANDLE_TAKEN = "handle_taken"

    # the caller's profile
    DISPLAY_NAME_BLANK = "display_name_blank"
    DISPLAY_NAME_INVALID = "display_name_invalid"
    ACCEPTS_MESSAGES_FROM_INVALID = "accepts_messages_from_invalid"
    PRECONDITION_FAILED = "precondition_failed"

    # reading
    LIMIT_INVALID = "limit_invalid"
    ORDER_INVALID = "order_invalid"
    CURSOR_INVALID = "cursor_invalid"
    CURSOR_OUTDATED = "cursor_outdated"
    CREATED_AT_INVALID = "created_at_invalid"
    POSITION_AMBIGUOUS = "position_ambiguous"
    MESSAGE_GROUP_NOT_FOUND = "message_group_not_found"

    # writing
    MESSAGE_BLANK = "message_blank"
    MESSAGE_INVALID = "message_invalid"
    MESSAGE_EXCEED_MAX_CHARS = "message_exceed_max_chars"
    MESSAGE_GROUP_UUID_BLANK = "message_group_uuid_blank"
    MESSAGE_GROUP_UUID_INVALID = "message_group_uuid_invalid"
    USER_RECEIVER_HANDLE_BLANK = "user_receiver_handle_blank"
    USER_RECEIVER_HANDLE_INVALID = "user_receiver_handle_invalid"
    RECEIVER_AMBIGUOUS = "receiver_ambiguous"
    RECEIVER_NOT_FOUND = "receiver_not_found"
    RECEIVER_IS_SENDER = "receiver_is_sender"
    RECEIVER_BLOCKED = "receiver_blocked"
    RECEIVER_UNAVAILABLE = "receiver_unavailable"

    # blocks and reports
    USER_IS_CALLER = "user_is_caller"
    MESSAGE_NOT_FOUND = "message_not_found"
    REASON_BLANK = "reason_blank"
    REASON_INVALID = "reason_invalid"
    REASON_EXCEED_MAX_CHARS = "reason_exceed_max_chars"

    # idempotency and the read state
    IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    SEQ_INVALID = "seq_invalid"

    # live updates
    TOO_MANY_STREAMS = "too_many_streams"
    LIVE_UPDATES_UNAVAILABLE = "live_updates_unavailable"

    # temporary failures
    RATE_LIMITED = "rate_limited"
    SERVER_BUSY = "server_busy"
    CONVERSATION_BUSY = "conversation_busy"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    IDENTITY_PROVIDER_UNAVAILABLE = "identity_provider_unavailable"
    POSTGRES_UNAVAILABLE = "postgres_unavailable"
    DYNAMODB_UNAVAILABLE = "dynamodb_unavailable"


class ServiceError(Exception):
    """A service refused the request; `codes` has one or more reasons."""

    def __init__(self, *codes: Code) -> None:
        super().__init__(", ".join(codes))
        self.codes = codes


class Invalid(ServiceError):
    """The input violates the HTTP contract."""


class Unauthenticated(ServiceError):
    """The request has no valid access token."""


class Forbidden(ServiceError):
    """The access token is valid, but its user may not use this system."""


class NotAccepted(ServiceError):
    """The sender blocks the receiver, or the receiver does not accept the message; nothing was written."""


class NotFound(ServiceError):
    """The resource does not exist, or it belongs to others. The response does not say which."""


class Conflict(ServiceError):
    """The request contradicts an earlier request of the caller."""


class PreconditionFailed(ServiceError):
    """The resource has changed since the caller read it; nothing was written."""


class Gone(ServiceError):
    """The server can no longer continue from the client's position: the client must load its data again."""


class TooMany(ServiceError):
    """The caller uses all that one user may use at a time."""


class RateLimited(ServiceError):
    """The caller has used up a limit of `limit` requests; nothing was written. `retry_after` is in seconds."""

    def __init__(self, *codes: Code, limit: int = 1, retry_after: int = 1) -> None:
        super().__init__(*codes)
        self.limit = limit
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """A dependency does not respond, or a conversation is too busy. The client should retry later.

    Nothing was written, with one exception: after STORAGE_UNAVAILABLE a write may have succeeded, and only its response
    was lost (docs/data-model.md, "The write path").
    """


@contextmanager
def as_service_errors() -> Iterator[None]:
    """Translate the errors of the table and of Postgres into ServiceErrors. Also works as a decorator."""
    try:
        yield
    except ConversationNotFound as error:
        raise NotFound(Code.MESSAGE_GROUP_NOT_FOUND) from error
    except ReceiverBlocked as error:
        raise NotAccepted(Code.RECEIVER_BLOCKED) from error
    except ReceiverUnavailable as error:
        raise NotAccepted(Code.RECEIVER_UNAVAILABLE) from error
    except CursorInvalid as error:
        raise Invalid(Code.CURSOR_INVALID) from error
    except FeedGap as error:
        raise Gone(Code.CURSOR_OUTDATED) from error
    except WriteConflict as error:
        raise Unavailable(Code.CONVERSATION_BUSY) from error
    except (StoreUnavailable, DatabaseUnavailable) as error:
        raise Unavailable(Code.STORAGE_UNAVAILABLE) from error
