"""Time as the table stores it: UTC, microseconds, offset `+00:00`, so that string order is time order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


def now() -> datetime:
    """The present, aware and in UTC."""
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

    Old data has other forms as well (no offset, another offset, no microseconds); no offset is read as UTC.
    Raises ValueError for what is no ISO 8601 time.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def sortable(timestamp: str) -> str:
    """A stored timestamp in today's form, and not before it as a string, whatever offset it was written with.

    Raises ValueError for what is no ISO 8601 time, OverflowError at the end of all times.
    """
    canonical = to_timestamp(from_timestamp(timestamp))
    if canonical == timestamp:
        return timestamp
    next_second = from_timestamp(timestamp[:19]) + _SECOND  # what the string says, as if it were UTC
    return max(canonical, to_timestamp(next_second))


def tick_after(timestamp: str) -> str:
    """The earliest timestamp that sorts after this one: a microsecond later."""
    return to_timestamp(from_timestamp(timestamp) + _TICK)
