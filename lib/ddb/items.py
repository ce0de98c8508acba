"""The items of the table as dataclasses, each with one conversion to and from DynamoDB's wire format.

Deployed tables have these attributes, so their names must not change (docs/data-model.md). Old data has no `seq`,
`read_seq`, `sender_uuid` and `message_uuid`: these fields are None until the migration of the conversation.

The conversions read attribute values directly: boto3's TypeDeserializer takes longer than all other work on a page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from lib.ddb import keys
from lib.logs import log
from lib.users.accounts import User

T = TypeVar("T")

Item = dict[str, Any]
"""An item in wire format: attribute name → `{"S": …}`, `{"N": …}`, `{"M": …}`, `{"SS": …}` or `{"BOOL": …}`."""

Key = tuple[str, str]
"""Partition key and sort key as text."""

EXPIRES_AT = "expires_at"
"""The TTL attribute, in epoch seconds: DynamoDB removes the item after that time, up to some days late."""

_LARGEST = 10**18 - 1  # JSON responses hold 64 bits

_MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What a conversion raises if an attribute is missing, malformed or of another type, or if the sort key is no time."""


@dataclass(slots=True)  # not frozen: a page has many, and to create a frozen one takes twice as long
class Message:
    """One message; `created_at` is its sort key, unique in the conversation."""

    group_uuid: str
    created_at: str
    uuid: str
    text: str
    sender: User
    seq: int | None

    def to_item(self) -> Item:
        return {
            **message_key(self.group_uuid, self.created_at),
            "message": {"S": self.text},
            "message_uuid": {"S": self.uuid},
            **_user_attributes(self.sender),
            **_number("seq", self.seq),
        }

    @classmethod
    def from_item(cls, item: Item) -> Message:
        return cls(  # by position: keyword arguments take 1.5 times as long
            keys.message_group(item["pk"]["S"]),
            _time(item),
            item["message_uuid"]["S"],
            item["message"]["S"],
            _user(item),
            _optional_number(item, "seq"),
        )


@dataclass(slots=True)  # not frozen, as above
class InboxRow:
    """One conversation in its owner's inbox: the other user and the last message.

    `blocks` says whether the owner blocks the other user.
    """

    owner_uuid: str
    last_message_at: str
    group_uuid: str
    text: str
    other: User
    seq: int | None
    read_seq: int | None
    sender_uuid: str | None
    message_uuid: str | None
    blocks: bool = False

    def key(self) -> Item:
        return inbox_row_key(self.owner_uuid, self.last_message_at)

    def to_item(self) -> Item:
        return {
            **self.key(),
            "message_group_uuid": {"S": self.group_uuid},
            "message": {"S": self.text},
            **_user_attributes(self.other),
            **_number("seq", self.seq),
            **_number("read_seq", self.read_seq),
            **_text("sender_uuid", self.sender_uuid),
            **_text("message_uuid", self.message_uuid),
            **_flag("blocks", self.blocks),
        }

    @property
    def unread_count(self) -> int:
        """The owner's number of unread messages; 0 if they block the other user, or without a `seq`, as in old rows."""
        return 0 if self.blocks else max(0, (self.seq or 0) - (self.read_seq or 0))

    @classmethod
    def from_item(cls, item: Item) -> InboxRow:
        return cls(  # by position, as above
            keys.inbox_owner(item["pk"]["S"]),
            _time(item),
            item["message_group_uuid"]["S"],
            item["message"]["S"],
            _user(item),
            _optional_number(item, "seq"),
            _optional_number(item, "read_seq"),
            _optional_text(item, "sender_uuid"),
            _optional_text(item, "message_uuid"),
            "blocks" in item,
        )


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a conversation. `read_seq` is the `seq` of the last message that they read.

    `last_seq` is the `seq` of the last message that they sent, 0 if there is none. It is None if the state does not
    show it: an earlier version of the server wrote the state, or a late message came in stream mode. `blocks` says
    whether they block the other member.
    """

    user: User
    read_seq: int
    last_seq: int | None = None
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation state: every write to the conversation has a condition on this item.

    `seq` counts its messages, `version` its writes; `last_message_at` is the sort key of both inbox rows. If the two
    members have a newer conversation, messages by handle go there, and `pair_group_uuid` names it; else it is None.
    """

    group_uuid: str
    members: Mapping[str, Member]
    last_message_at: str
    seq: int
    version: int
    created_at: str
    pair_group_uuid: str | None = None

    @property
    def blockers(self) -> frozenset[str]:
        """The uuids of the members who block the other one."""
        return frozenset(uuid for uuid, member in self.members.items() if member.blocks)

    def with_blocks(self, blockers: Container[str]) -> Conversation:
        """The state in which exactly these members block the other one."""
        members = {uuid: replace(member, blocks=uuid in blockers) for uuid, member in self.members.items()}
        return replace(self, members=members)

    def to_item(self) -> Item:
        return {
            **conversation_key(self.group_uuid),
            "members": members_attribute(self.members),
            "last_message_at": {"S": self.last_message_at},
            "seq": {"N": str(self.seq)},
            "version": {"N": str(self.version)},
            "created_at": {"S": self.created_at},
            **blocks_attribute(self.blockers),
            **_text("pair_group_uuid", self.pair_group_uuid),
        }

    @classmethod
    def from_item(cls, item: Item, *, group_uuid: str) -> Conversation:
        blockers = blockers_in(item)
        return cls(
            group_uuid=group_uuid,
            members={
                user_uuid: Member(
                    user=User(
                        uuid=user_uuid,
                        handle=member["M"]["handle"]["S"],
                        display_name=member["M"]["display_name"]["S"],
                    ),
                    read_seq=int(member["M"]["read_seq"]["N"]),
                    last_seq=_optional_number(member["M"], "last_seq"),
                    blocks=user_uuid in blockers,
                )
                for user_uuid, member in item["members"]["M"].items()
            },
            last_message_at=item["last_message_at"]["S"],
            seq=int(item["seq"]["N"]),
            version=int(item["version"]["N"]),
            created_at=item["created_at"]["S"],
            pair_group_uuid=_optional_text(item, "pair_group_uuid"),
        )


@dataclass(frozen=True, slots=True)
class PairGuard:
    """Ensures that two users have one conversation, even if both write first at the same instant.

    Before the conversation begins, it has no `group_uuid`, and `blocks` has the uuids of the users who block the other.
    """

    user_uuids: tuple[str, str]
    group_uuid: str | None = None
    blocks: frozenset[str] = frozenset()

    def to_item(self) -> Item:
        return {
            **pair_key(*self.user_uuids),
            **_text("group_uuid", self.group_uuid),
            **blocks_attribute(self.blocks),
        }


@dataclass(frozen=True, slots=True)
class Block:
    """An entry in the list of the users whom the owner blocks: a copy of the block in the state or the pair guard."""

    owner_uuid: str
    user: User
    created_at: str

    def to_item(self) -> Item:
        return {
            **block_key(self.owner_uuid, self.user.uuid),
            **_user_attributes(self.user),
            "created_at": {"S": self.created_at},
        }

    @classmethod
    def from_item(cls, item: Item) -> Block:
        return cls(keys.block_owner(item["pk"]["S"]), _user(item), item["created_at"]["S"])


@dataclass(frozen=True, slots=True)
class LateUpdates:
    """The number of changes in a user's inbox that a feed cursor may be past, and the time of the last one."""

    count: int
    updated_at: str

    @classmethod
    def from_item(cls, item: Item) -> LateUpdates:
        return cls(count=int(item["late_updates"]["N"]), updated_at=item["updated_at"]["S"])


def parse_message(item: Item) -> Message | None:
    """The message that an item holds; None if an attribute is missing or malformed, or the sort key is no time."""
    try:
        return Message.from_item(item)
    except _MALFORMED:
        return None


def parse_item(item: Item, parse: Callable[[Item], T]) -> T | None:
    """The item, converted by `parse`. Logs a malformed item and returns None: it must not hide the rest of the page."""
    try:
        return parse(item)
    except _MALFORMED:
        log("item_malformed", level=logging.WARNING, pk=item["pk"]["S"])
        return None


def parse_all(items: Iterable[Item], parse: Callable[[Item], T]) -> Iterator[T]:
    """The items, converted by `parse`, without the malformed ones."""
    return (parsed for item in items if (parsed := parse_item(item, parse)) is not None)


def key_of(item: Item) -> Key:
    """The key of an item, or a key in wire format, as text."""
    return item["pk"]["S"], item["sk"]["S"]


def wire_key(item: Item) -> Item:
    """An item's key in wire format."""
    return {"pk": item["pk"], "sk": item["sk"]}


def message_key(group_uuid: str, created_at: str) -> Item:
    return {"pk": {"S": keys.message_pk(group_uuid)}, "sk": {"S": created_at}}


def conversation_key(group_uuid: str) -> Item:
    return {"pk": {"S": keys.conversation_pk(group_uuid)}, "sk": {"S": keys.STATE}}


def pair_key(user_uuid: str, other_user_uuid: str) -> Item:
    return {"pk": {"S": keys.pair_pk(user_uuid, other_user_uuid)}, "sk": {"S": keys.STATE}}


def block_key(owner_uuid: str, user_uuid: str) -> Item:
    return {"pk": {"S": keys.block_pk(owner_uuid)}, "sk": {"S": user_uuid}}


def blockers_in(item: Item) -> frozenset[str]:
    """The uuids of those who block the other one, in the item of a conversation state or of a pair guard."""
    return frozenset(item["blocks"]["SS"] if "blocks" in item else ())


def blocks_attribute(blockers: Collection[str]) -> Item:
    """The attribute with the uuids of those who block the other one; none if nobody does.

    It is no part of `members`: older versions of the server write `members` whole, and would drop it.
    """
    return {"blocks": {"SS": sorted(blockers)}} if blockers else {}


def late_updates_key(owner_uuid: str) -> Item:
    return {"pk": {"S": keys.inbox_pk(owner_uuid)}, "sk": {"S": keys.LATE_UPDATES}}


def inbox_row_key(owner_uuid: str, last_message_at: str) -> Item:
    return {"pk": {"S": keys.inbox_pk(owner_uuid)}, "sk": {"S": last_message_at}}


def members_attribute(members: Mapping[str, Member]) -> dict[str, Any]:
    """The `members` map of a conversation's state: user uuid → handle, display_name, read_seq, last_seq."""
    return {
        "M": {
            user_uuid: {
                "M": {
                    "handle": {"S": member.user.handle},
                    "display_name": {"S": member.user.display_name},
                    "read_seq": {"N": str(member.read_seq)},
                    **_number("last_seq", member.last_seq),
                }
            }
            for user_uuid, member in members.items()
        }
    }


def _time(item: Item) -> str:
    """The sort key of a message or an inbox row. Raises ValueError if it is no time."""
    sk: str = item["sk"]["S"]
    if not keys.is_time(sk):
        raise ValueError("the sort key is no time")
    return sk


def _user_attributes(user: User) -> Item:
    return {
        "user_uuid": {"S": user.uuid},
        "user_display_name": {"S": user.display_name},
        "user_handle": {"S": user.handle},
    }


def _user(item: Item) -> User:
    return _cached_user(item["user_uuid"]["S"], item["user_handle"]["S"], item["user_display_name"]["S"])


@lru_cache(maxsize=1024)
def _cached_user(uuid: str, handle: str, display_name: str) -> User:
    """A cached User: most items of a page repeat a user, and a new object costs as much as the rest of a message."""
    return User(uuid, handle, display_name)


def _text(name: str, value: str | None) -> Item:
    return {} if value is None else {name: {"S": value}}


def _optional_text(item: Item, name: str) -> str | None:
    return str(item[name]["S"]) if name in item else None


def _flag(name: str, value: bool) -> Item:
    return {name: {"BOOL": True}} if value else {}


def _number(name: str, value: int | None) -> Item:
    return {} if value is None else {name: {"N": str(value)}}


def _optional_number(item: Item, name: str) -> int | None:
    number = int(item[name]["N"]) if name in item else None
    if number and abs(number) > _LARGEST:
        raise ValueError("the number is too large")
    return number
