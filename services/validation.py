"""All checks of client input, each with its error code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.clock import normalized
from lib.users.accounts import Senders
from lib.users.names import display_name, shows_nothing
from services.errors import Code, Invalid, NotFound

MESSAGE_MAX_CHARS = 1024
REASON_MAX_CHARS = 1024
DEFAULT_LIMIT = 20
MAX_LIMIT = 100

_UUID = re.compile("[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_IDEMPOTENCY_KEY = re.compile("[ -~]{1,255}")
# A string of RFC 8941 section 3.3.3, which the Idempotency-Key draft of the IETF requires.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
# A date (of a month or of a week) with a time of day in ISO 8601; the second group is the offset. `datetime` does the
# rest, but takes the fraction of an hour or a minute for one of a second, and a week for its Monday.
_TIME = re.compile(
    r"(\d{4}-?(?:\d\d-?\d\d|W\d\d-?\d)[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?)(Z|[ +-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
# Control characters other than tab and newline (C0, DEL, C1), and halves of surrogate pairs, which are no text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ToGroup:
    """A message for the conversation with this uuid."""

    text: str
    group_uuid: str


@dataclass(frozen=True, slots=True)
class ToUser:
    """A message for the user with this handle."""

    text: str
    handle: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report about a conversation, or about its message of this time, in the client's form of ISO 8601."""

    group_uuid: str
    created_at: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ProfileChanges:
    """New values of the caller's profile; None keeps the old one."""

    display_name: str | None = None
    accepts_messages_from: str | None = None


def check_new_message(body: object) -> ToGroup | ToUser:
    """A client's parsed JSON as a valid message. Raises Invalid with every code that applies."""
    if not isinstance(body, dict):
        raise Invalid(Code.BODY_INVALID)
    problems: list[Code] = []
    text = receiver = ""
    try:
        text = check_text(body.get("message"))
    except Invalid as error:
        problems += error.codes
    by_group = body.get("message_group_uuid") is not None
    try:
        if by_group and body.get("handle") is not None:
            raise Invalid(Code.RECEIVER_AMBIGUOUS)
        receiver = _check_group_uuid(body["message_group_uuid"]) if by_group else _check_handle(body.get("handle"))
    except Invalid as error:
        problems += error.codes
    if problems:
        raise Invalid(*problems)
    return ToGroup(text, receiver) if by_group else ToUser(text, receiver)


def check_text(value: object) -> str:
    """A message's text in the stored form: LF as line end, no white space at the ends. Raises Invalid.

    The limit counts code points.
    """
    return _check_text(
        value,
        MESSAGE_MAX_CHARS,
        blank=Invalid(Code.MESSAGE_BLANK),
        invalid=Invalid(Code.MESSAGE_INVALID),
        exceeds=Invalid(Code.MESSAGE_EXCEED_MAX_CHARS),
    )


def check_report(body: object) -> Report:
    """A client's parsed JSON as a valid report. Raises Invalid with every code that applies."""
    if not isinstance(body, dict):
        raise Invalid(Code.BODY_INVALID)
    checks = {"message_group_uuid": _check_reported_group, "created_at": _check_reported_time, "reason": _check_reason}
    values = _check_each(checks, {name: body.get(name) for name in checks})
    return Report(values["message_group_uuid"], values["created_at"], values["reason"])


def check_profile_changes(body: object) -> ProfileChanges:
    """A client's parsed JSON as changes of the caller's profile. Raises Invalid with every code that applies."""
    if not isinstance(body, dict):
        raise Invalid(Code.BODY_INVALID)
    checks = {"display_name": _check_display_name, "accepts_messages_from": _check_senders}
    return ProfileChanges(**_check_each(checks, {name: body[name] for name in checks if name in body}))


def check_limit(text: str | None) -> int:
    """The size of a page, from a query string. Raises Invalid."""
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise Invalid(Code.LIMIT_INVALID)
    return int(text)


def check_one_position(**positions: str | None) -> None:
    """Raise Invalid if a request names more than one position for its page."""
    if sum(text is not None for text in positions.values()) > 1:
        raise Invalid(Code.POSITION_AMBIGUOUS)


def check_created_at(text: str) -> str:
    """A client's time, in its own form of ISO 8601. Raises Invalid.

    Restores a `+` that the decoding of the URL turned into a space.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise Invalid(Code.CREATED_AT_INVALID)
    local, offset = match.groups(default="")
    position = (local + offset.replace(" ", "+")).upper()
    try:
        normalized(position)
    except (ValueError, OverflowError) as error:
        raise Invalid(Code.CREATED_AT_INVALID) from error
    return position


def check_idempotency_key(header: str | None) -> str | None:
    """The key in an Idempotency-Key header: a quoted string, or bare text as most clients send it. Raises Invalid."""
    if header is None:
        return None
    key = header.strip(" \t")
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Invalid(Code.IDEMPOTENCY_KEY_INVALID)
    return key


def check_read_position(body: object) -> int:
    """The number of the last read message, from `{seq}`. Raises Invalid."""
    if not isinstance(body, dict):
        raise Invalid(Code.BODY_INVALID)
    seq = body.get("seq")
    if isinstance(seq, float) and seq.is_integer():  # JSON has one kind of number
        seq = int(seq)
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
        raise Invalid(Code.SEQ_INVALID)
    return seq


def check_group_in_path(text: str) -> str:
    """The uuid of a conversation from a URL's path. Raises NotFound if it is no uuid."""
    if not is_uuid(text):
        raise NotFound(Code.MESSAGE_GROUP_NOT_FOUND)
    return text.lower()


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its canonical form, in either case."""
    return _UUID.fullmatch(text) is not None


def _check_group_uuid(value: object) -> str:
    if value == "":
        raise Invalid(Code.MESSAGE_GROUP_UUID_BLANK)
    if not (isinstance(value, str) and is_uuid(value)):
        raise Invalid(Code.MESSAGE_GROUP_UUID_INVALID)
    return value.lower()


def _check_each(checks: Mapping[str, Callable[[object], Any]], values: Mapping[str, object]) -> dict[str, Any]:
    """The values in the stored form, each by the check of its name. Raises Invalid with the codes of all checks."""
    problems: list[Code] = []
    checked: dict[str, Any] = {}
    for name, value in values.items():
        try:
            checked[name] = checks[name](value)
        except Invalid as error:
            problems += error.codes
    if problems:
        raise Invalid(*problems)
    return checked


def _check_reported_group(value: object) -> str:
    return _check_group_uuid("" if value is None else value)


def _check_reported_time(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(Code.CREATED_AT_INVALID)
    return check_created_at(value)


def _check_reason(value: object) -> str:
    return _check_text(
        value,
        REASON_MAX_CHARS,
        blank=Invalid(Code.REASON_BLANK),
        invalid=Invalid(Code.REASON_INVALID),
        exceeds=Invalid(Code.REASON_EXCEED_MAX_CHARS),
    )


def _check_text(value: object, max_chars: int, *, blank: Invalid, invalid: Invalid, exceeds: Invalid) -> str:
    """A text in the stored form. Raises one of the errors."""
    if value is None:
        raise blank
    if not isinstance(value, str):
        raise invalid
    text = value.replace("\r\n", "\n")
    if _FORBIDDEN.search(text):  # before strip(), which would remove some of them
        raise invalid
    text = text.strip()
    if shows_nothing(text):
        raise blank
    if len(text) > max_chars:
        raise exceeds
    return text


def _check_handle(value: object) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Invalid(Code.USER_RECEIVER_HANDLE_BLANK)
    if not isinstance(value, str):
        raise Invalid(Code.USER_RECEIVER_HANDLE_INVALID)
    return value.strip()


def _check_display_name(value: object) -> str:
    """A display name in the stored form."""
    if not isinstance(value, str):
        raise Invalid(Code.DISPLAY_NAME_INVALID)
    if shows_nothing(value):
        raise Invalid(Code.DISPLAY_NAME_BLANK)
    name = display_name(value)
    if name is None:
        raise Invalid(Code.DISPLAY_NAME_INVALID)
    return name


def _check_senders(value: object) -> str:
    if value not in list(Senders):
        raise Invalid(Code.ACCEPTS_MESSAGES_FROM_INVALID)
    return str(value)
