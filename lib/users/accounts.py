"""Users and accounts. This module imports nothing, so every part of the system may use it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_ISSUER_AHEAD_SECONDS = 1  # of the clock of Cognito before that of Postgres; the times of tokens are whole seconds


class Senders(StrEnum):
    """Whose messages a user accepts."""

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
    """A user, whose messages they accept (a `Senders`), and since when the server refuses their tokens.

    The times are epoch seconds. `disabled_at` refuses every token, `signed_out_at` those that were issued before.
    """

    user: User
    accepts_messages_from: str
    disabled_at: float | None = None
    signed_out_at: float | None = None

    def refuses(self, issued_at: float) -> bool:
        """Whether the server refuses a token that was issued at this time, in epoch seconds."""
        return self.disabled_at is not None or precedes(issued_at, self.signed_out_at)


def precedes(issued_at: float, time_of_change: float | None) -> bool:
    """Whether a token was, or may have been, issued before a change. The times are epoch seconds."""
    return time_of_change is not None and issued_at <= time_of_change + _ISSUER_AHEAD_SECONDS


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's own row, as the user sees it; `created_at` is a timestamp of lib/clock.py."""

    user: User
    accepts_messages_from: str
    created_at: str
