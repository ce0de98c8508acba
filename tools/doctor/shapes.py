"""The form of each kind of item, and the problems of an item by itself. Knows no other item and no table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lib.clock import sortable
from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT, Item
from lib.ddb.keys import Kind
from tools.doctor.findings import Code

NAMES = ("user_handle", "user_display_name")
GROUP = "message_group_uuid"
"""The attribute that puts an item into the index."""

_REQUIRED = {
    Kind.MESSAGE: {"message": "S", "message_uuid": "S", "user_uuid": "S"},
    Kind.ROW: {GROUP: "S", "message": "S", "user_uuid": "S"},
    Kind.STATE: {"members": "M", "last_message_at": "S", "seq": "N", "version": "N", "created_at": "S"},
    Kind.GUARD: {"group_uuid": "S"},
    Kind.RECEIPT: {"request_hash": "S", "answer": "M", EXPIRES_AT: "N"},
}
_OPTIONAL = {
    Kind.MESSAGE: {"seq": "N"},
    Kind.ROW: {"seq": "N", "read_seq": "N", "sender_uuid": "S"},
    Kind.STATE: {"pair_group_uuid": "S"},
}
_MEMBER = {"handle": "S", "display_name": "S", "read_seq": "N"}

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_EMAIL = re.compile(r"[^\s@#]+@[^\s@#]+\.[^\s@#]+")


def kind_of(item: Item) -> Kind | None:
    """An item's kind, by its partition key."""
    return keys.kind(item["pk"]["S"])


def parts(item: Item) -> list[str]:
    """The partition key without its prefix: one uuid, two uuids, or a uuid and an idempotency key."""
    kind, rest = kind_of(item), item["pk"]["S"].partition("#")[2]
    return rest.split("#", 1) if kind in (Kind.GUARD, Kind.RECEIPT) else [rest]


def problems(item: Item) -> list[tuple[Code, str]]:
    """The problems of an item's key and attributes, each as a code and an attribute."""
    kind = kind_of(item)
    if kind is None:
        return [(Code.ITEM_MALFORMED, "pk")]
    malformed = _lacking(item, _REQUIRED[kind], _OPTIONAL.get(kind, {}))
    if kind is Kind.STATE and not malformed:
        malformed = _malformed_in_state(item)
    if kind is Kind.RECEIPT and not malformed:
        malformed = _malformed_in_receipt(item)
    lacking = [name for name in NAMES if kind in (Kind.MESSAGE, Kind.ROW) and text(item, name) is None]
    indexed = [GROUP] if kind is not Kind.ROW and GROUP in item else []
    return [
        *((Code.ITEM_MALFORMED, name) for name in (*_malformed_keys(item, kind), *malformed)),
        *((Code.ITEM_ATTRIBUTES, name) for name in (*lacking, *indexed)),
    ]


def readable(item: Item) -> bool:
    """Whether lib/ddb/items.py can read an item, and its key sorts by time."""
    return all(problem == (Code.ITEM_ATTRIBUTES, GROUP) for problem in problems(item))


def whole(item: Mapping[str, Any], name: str) -> int | None:
    """An attribute that is a whole number, else None."""
    number = item[name].get("N") if name in item else None
    return int(number) if number and _WHOLE.fullmatch(number) else None


def text(item: Item, name: str) -> str | None:
    """An attribute that is a text, else None."""
    value: str | None = item[name].get("S") if name in item else None
    return value


def strings(item: Item) -> Iterator[tuple[str, str]]:
    """An item's texts with their attributes: values, parts of keys, names in maps, but not message texts."""
    for attribute, value in item.items():
        for content in _strings_in(attribute, value):
            yield attribute, content


def attributes_with(item: Item, values: set[str]) -> list[str]:
    """The attributes of an item that hold one of these texts."""
    return sorted({attribute for attribute, value in strings(item) if value in values})


def is_email(value: str) -> bool:
    """Whether a text contains an e-mail address."""
    return "@" in value and _EMAIL.search(value) is not None


def users(item: Item) -> Iterator[str]:
    """The uuids of users in an item."""
    kind = kind_of(item)
    if kind is Kind.STATE:
        yield from item.get("members", {}).get("M", {})
    elif kind is Kind.GUARD:
        yield from parts(item)
    elif kind in (Kind.ROW, Kind.RECEIPT):
        yield parts(item)[0]
    yield from (value for name in ("user_uuid", "sender_uuid") if (value := text(item, name)))


def is_uuid(value: str) -> bool:
    """Whether a text is a uuid in lower case."""
    return _UUID.fullmatch(value) is not None


def _is_time(value: str) -> bool:
    """Whether a text is a time in any format of an older backend, and not at the end of time."""
    try:
        sortable(value)
    except (ValueError, OverflowError):
        return False
    return True


def _strings_in(name: str, value: Mapping[str, Any]) -> Iterator[str]:
    [(kind, content)] = value.items()
    if kind == "S" and name != "message":
        yield content
        yield from content.split("#") if "#" in content else ()
    elif kind == "SS":
        yield from content
    elif kind == "M":
        yield from content
        for key, nested in content.items():
            yield from _strings_in(key, nested)
    elif kind == "L":
        for nested in content:
            yield from _strings_in("", nested)


def _malformed_keys(item: Item, kind: Kind) -> list[str]:
    names, sk = parts(item), item["sk"]["S"]
    right = all(map(is_uuid, names[:1] if kind is Kind.RECEIPT else names))
    if kind in (Kind.GUARD, Kind.RECEIPT):
        right = right and len(names) == 2 and all(names) and (kind is Kind.RECEIPT or names == sorted(names))
    in_place = _is_time(sk) if kind in (Kind.MESSAGE, Kind.ROW) else sk == keys.STATE
    return [*([] if right else ["pk"]), *([] if in_place else ["sk"])]


def _lacking(item: Mapping[str, Any], required: Mapping[str, str], optional: Mapping[str, str]) -> list[str]:
    """The attributes that are missing or of another type; a number must be whole."""
    return [
        name
        for name, kind in {**required, **optional}.items()
        if (name in required or name in item)
        and (kind not in item.get(name, ()) or (kind == "N" and whole(item, name) is None))
    ]


def _malformed_in_state(item: Item) -> list[str]:
    members = item["members"]["M"]
    wrong = len(members) != 2 or any(_lacking(member.get("M", {}), _MEMBER, {}) for member in members.values())
    return [*(["members"] if wrong else []), *([] if _is_time(item["last_message_at"]["S"]) else ["last_message_at"])]


def _malformed_in_receipt(item: Item) -> list[str]:
    """A receipt's answer is a message of the receipt's user."""
    answer = item["answer"]["M"]
    is_message = {"pk", "sk"} <= answer.keys() and kind_of(answer) is Kind.MESSAGE and readable(answer)
    return [] if is_message and text(answer, "user_uuid") == parts(item)[0] else ["answer"]
