"""Users and accounts. This module imports nothing, so every part of the system may use it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_ISSUER_AHEAD_SECONDS = 1  # the clock of Cognito against that of Postgres; tokens give whole seconds


class Senders(StrEnum):
    """Who may write to a user."""

    EVERYBODY = "everybody"
    KNOWN = "known"  # only users who have a conversation with the user
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class User:
    """The public fields of a user, which messages show. If the row is gone, the names are the last known ones."""

    uuid: str
    handle: str
    display_name: str
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A user, who may write to them, and since when their tokens do not count (in epoch seconds)."""

    user: User
    accepts_messages_from: str
    disabled_at: float | None = None
    signed_out_at: float | None = None

    def refuses(self, issued_at: float) -> bool:
        """Whether a token that was issued at this time no longer counts."""
        return self.disabled_at is not None or precedes(issued_at, self.signed_out_at)


def precedes(issued_at: float, time_of_change: float | None) -> bool:
    """Whether a token was, or may have been, issued before a change. The times are epoch seconds."""
    return time_of_change is not None and issued_at <= time_of_change + _ISSUER_AHEAD_SECONDS


@dataclass(frozen=True, slots=True)
class Profile:
    """What users see of their own rows; `created_at` is a timestamp of lib/clock.py."""

    user: User
    accepts_messages_from: str
    created_at: str
