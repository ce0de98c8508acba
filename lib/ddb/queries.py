"""What is read page by page: a conversation's messages, a user's inbox, and what moved in it (patterns A and B).

A page says with which arguments of the same call the reading goes on, and holds the cursor of the feed
(lib/ddb/feed.py) from which its reader catches up. Knows nothing of writing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from lib.clock import Clock
from lib.ddb import feed, keys
from lib.ddb.conversations import Conversations
from lib.ddb.cursors import CursorSigner
from lib.ddb.feed import FeedPosition
from lib.ddb.items import InboxRow, Item, Message, message_key
from lib.ddb.shapes import readable, shaped
from lib.ddb.table import Table
from lib.users.directory import User

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list, and the arguments that ask for what lies beyond it, None where nothing does.

    `next` goes on in the reading's own direction, `prev` in the other. `feed_cursor` is None on a page that a cursor
    asked for: its reader has one from the first page.
    """

    items: list[T]
    next: dict[str, str] | None = None
    prev: dict[str, str] | None = None
    feed_cursor: str | None = None

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page of a list that is read by cursors; None on the last."""
        return (self.next or {}).get("cursor")


class MessageLists:
    """The lists of one table. Every method raises StoreUnavailable."""

    def __init__(self, table: Table, cursors: CursorSigner, *, clock: Clock, feed_window: timedelta) -> None:
        self._table = table
        self._cursors = cursors
        self._clock = clock
        self._feed_window = feed_window
        self.conversations = Conversations(table)

    def list_messages(
        self,
        *,
        group_uuid: str,
        user: User,
        limit: int,
        cursor: str | None = None,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
    ) -> Page[Message]:
        """Pattern A: a page of a conversation, newest first.

        It is the newest page, that of a cursor, or one beside a time: right before it, right after it, or around it, at
        most one of the four. A time is a sort key; its `Z` is `+00:00`. Raises ConversationNotFound, CursorInvalid.
        """
        self.conversations.known(group_uuid=group_uuid, user=user)
        now, pk = self._clock(), keys.message_pk(group_uuid)
        if around is not None:
            page = self._around(pk, limit, self._sort_key(group_uuid, around))
        elif after is not None:
            page = self._after(pk, limit, self._sort_key(group_uuid, after))
        elif before is not None:
            page = self._before(pk, limit, self._sort_key(group_uuid, before))
        else:
            page = self._newest(pk, limit, cursor)
        messages = list(shaped(page.items, partial(Message.from_item, group_uuid=group_uuid)))
        if cursor is not None:
            return Page(messages, page.next)
        position = feed.after_messages(messages, now=now, window=self._feed_window)
        return Page(messages, page.next, page.prev, self._feed_cursor(user.uuid, position))

    def list_inbox(self, *, user_uuid: str, limit: int, cursor: str | None = None) -> Page[InboxRow]:
        """Pattern B: a page of a user's conversations, the newest one or that of a cursor. Raises CursorInvalid."""
        now = self._clock()
        page = self._newest(keys.inbox_pk(user_uuid), limit, cursor)
        rows = list(shaped(page.items, InboxRow.from_item))
        if cursor is not None:
            return Page(rows, page.next)
        position = feed.after_inbox(rows, now=now, window=self._feed_window)
        return Page(rows, page.next, feed_cursor=self._feed_cursor(user_uuid, position))

    def list_moved(self, *, user_uuid: str, limit: int, since: str) -> Page[InboxRow]:
        """The conversations that moved since a feed cursor was handed out, the oldest first. Raises CursorInvalid."""
        now, pk = self._clock(), keys.inbox_pk(user_uuid)
        position = FeedPosition.from_payload(self._cursors.verify("feed", since, pk=pk))
        moved, position, more = feed.read(self._table, pk, position, limit=limit, now=now, window=self._feed_window)
        feed_cursor = self._feed_cursor(user_uuid, position)
        return Page(moved, {"since": feed_cursor} if more else None, feed_cursor=feed_cursor)

    def message_at(self, *, group_uuid: str, created_at: str) -> Message | None:
        """The message that has exactly this time."""
        item = self._table.get(message_key(group_uuid, created_at))
        return readable(item, group_uuid=group_uuid) if item else None

    def _newest(self, pk: str, limit: int, cursor: str | None) -> Page[Item]:
        end = None if cursor is None else str(self._cursors.verify("cursor", cursor, pk=pk))
        items, more = self._table.newest(pk, limit=limit, before=end)
        return Page(items, {"cursor": self._cursors.sign("cursor", _sk(items[-1]), pk=pk)} if more else None)

    def _sort_key(self, group_uuid: str, time: str) -> str:
        """A time as a sort key. Those of old data may end in `Z` themselves, so there is a look whether this one is."""
        if not time.endswith("Z") or self.message_at(group_uuid=group_uuid, created_at=time):
            return time
        return time.removesuffix("Z") + "+00:00"

    def _before(self, pk: str, limit: int, position: str) -> Page[Item]:
        items, more = self._table.newest(pk, limit=limit, before=position)
        return Page(items, {"before": _sk(items[-1])} if more else None)

    def _after(self, pk: str, limit: int, position: str) -> Page[Item]:
        items, more = self._table.oldest(pk, limit=limit, after=position)
        return Page(items[::-1], {"after": _sk(items[-1])} if more else None)

    def _around(self, pk: str, limit: int, position: str) -> Page[Item]:
        newer, beyond = self._table.oldest(pk, limit=limit // 2, after=position)
        older = self._before(pk, limit - len(newer), position + "\0")  # the least string above it: itself included
        newest = _sk(newer[-1]) if newer else position
        return replace(older, items=newer[::-1] + older.items, prev={"after": newest} if beyond else None)

    def _feed_cursor(self, user_uuid: str, position: FeedPosition) -> str:
        return self._cursors.sign("feed", position.to_payload(), pk=keys.inbox_pk(user_uuid))


def _sk(item: Item) -> str:
    return str(item["sk"]["S"])
