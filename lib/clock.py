"""Timestamps in the table's format: UTC, microseconds, offset `+00:00`. Their string order is their time order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def now() -> datetime:
    """The current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def to_timestamp(moment: datetime) -> str:
    """An aware datetime as 32 characters: `2023-06-26T10:16:00.375877+00:00`.

    Raises ValueError for a naive datetime: its offset would be a guess.
    """
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs an offset")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def from_timestamp(text: str) -> datetime:
    """A stored timestamp as an aware datetime in UTC.

    Old data has other formats too: no offset (taken as UTC), another offset, no microseconds.
    Raises ValueError if the text is no ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def normalized(text: str) -> str:
    """A time of any form that `from_timestamp` knows, in the table's format.

    Raises ValueError if the text is no ISO 8601 time, OverflowError if its year in UTC is not from 1 to 9999.
    """
    return to_timestamp(from_timestamp(text))


def sortable(timestamp: str) -> str:
    """A stored timestamp in the current format; as a string, it never sorts before the original.

    Raises ValueError if the text is no ISO 8601 time, OverflowError if the result is after the year 9999.
    """
    canonical = normalized(timestamp)
    if canonical == timestamp:
        return timestamp
    # The local time, taken as UTC, and the least unit that the text shows of it.
    has_seconds = timestamp[16:17] == ":"
    local, unit = (timestamp[:19], timedelta(seconds=1)) if has_seconds else (timestamp[:16], timedelta(minutes=1))
    return max(canonical, to_timestamp(from_timestamp(local) + unit))


def tick_after(timestamp: str) -> str:
    """The earliest timestamp that sorts after this one: a microsecond later."""
    return to_timestamp(from_timestamp(timestamp) + timedelta(microseconds=1))
