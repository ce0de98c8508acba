"""Users and accounts. This module imports nothing, so every part of the system may use it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Profile:
    """What users see of their own rows; `created_at` is a timestamp of lib/clock.py."""

    user: User
    accepts_messages_from: str
    created_at: str
