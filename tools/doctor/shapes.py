"""The form of each kind of item, and the problems of an item by itself. Knows no other item and no table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT, Item, blockers_in
from lib.ddb.keys import Kind
from tools.doctor.findings import Code

NAMES = ("user_handle", "user_display_name")
GROUP = "message_group_uuid"
"""The attribute that puts an item into the index."""

# The attributes of each kind and their types; `?` marks one that an item may lack.
_FORMS = {
    Kind.MESSAGE: {"message": "S", "message_uuid": "S", "user_uuid": "S", "seq": "N?"},
    Kind.ROW: {
        GROUP: "S",
        "message": "S",
        "user_uuid": "S",
        "seq": "N?",
        "read_seq": "N?",
        "sender_uuid": "S?",
        "message_uuid": "S?",
        "blocks": "BOOL?",
    },
    Kind.LATE_UPDATES: {"late_updates": "N", "updated_at": "S"},
    Kind.STATE: {
        "members": "M",
        "last_message_at": "S",
        "seq": "N",
        "version": "N",
        "created_at": "S",
        "blocks": "SS?",
        "pair_group_uuid": "S?",
    },
    Kind.GUARD: {"group_uuid": "S?", "blocks": "SS?"},
    Kind.RECEIPT: {"request_hash": "S", "answer": "M", EXPIRES_AT: "N"},
    Kind.BLOCK: {"user_uuid": "S", "created_at": "S"},
}
_MEMBER = {"handle": "S", "display_name": "S", "read_seq": "N", "last_seq": "N?"}
_NAMING = (Kind.MESSAGE, Kind.ROW, Kind.BLOCK)

_CHOSEN = frozenset({"message", *NAMES, "handle", "display_name"})

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
EMAIL = re.compile(r"[^\s@#]@[^\s@#]+\.[^\s@#]")
"""A part of an e-mail address. A search by this part takes linear time, by a whole address quadratic time."""


def kind_of(item: Item) -> Kind | None:
    """An item's kind, by its key."""
    return keys.kind(item["pk"]["S"], item["sk"]["S"])


def parts(item: Item) -> list[str]:
    """The partition key without its prefix: one uuid, two uuids, or a uuid and an idempotency key."""
    kind, rest = kind_of(item), item["pk"]["S"].partition("#")[2]
    return rest.split("#", 1) if kind in (Kind.GUARD, Kind.RECEIPT) else [rest]


def problems(item: Item) -> dict[Code, list[str]]:
    """The attributes of an item, by code, that do not have the form of its kind."""
    kind = kind_of(item)
    if kind is None:
        return {Code.ITEM_MALFORMED: ["pk"]}
    malformed = _malformed(item, _FORMS[kind]) or _malformed_inside(item, kind)
    wrongly_indexed = [GROUP] if kind is not Kind.ROW and GROUP in item else []
    names_by_code = {
        Code.ITEM_MALFORMED: _malformed_keys(item, kind) + malformed,
        Code.ITEM_ATTRIBUTES: _lacking_names(item) + wrongly_indexed,
    }
    return {code: names for code, names in names_by_code.items() if names}


def readable(item: Item) -> bool:
    """Whether lib/ddb/items.py can read an item, and its key sorts by time."""
    return Code.ITEM_MALFORMED not in problems(item) and not _lacking_names(item)


def whole(item: Mapping[str, Any], name: str) -> int | None:
    """An attribute that is a whole number, else None."""
    number = item[name].get("N") if name in item else None
    return int(number) if number and _WHOLE.fullmatch(number) else None


def text(item: Item, name: str) -> str | None:
    """An attribute that is a text, else None."""
    value: str | None = item[name].get("S") if name in item else None
    return value


def strings(value: object, *, without: frozenset[str] = frozenset({"message"})) -> Iterator[str]:
    """The texts in a value in wire format: values, parts of keys, names in maps, but not message texts."""
    if isinstance(value, str):
        yield value
        yield from value.split("#") if "#" in value else ()
    elif isinstance(value, Mapping):
        for name in value.keys() - without:
            yield name
            yield from strings(value[name], without=without)
    elif isinstance(value, list | set):
        for nested in value:
            yield from strings(nested, without=without)


def system_strings(item: Item) -> Iterator[str]:
    """The texts of an item that no user chose: neither messages nor names nor idempotency keys."""
    return strings(item, without=_CHOSEN | {"pk"} if kind_of(item) is Kind.RECEIPT else _CHOSEN)


def attributes_with(item: Item, values: set[str]) -> list[str]:
    """The attributes of an item that hold one of these texts."""
    return [name for name in item if not values.isdisjoint(strings({name: item[name]}))]


def users(item: Item) -> Iterator[str]:
    """The uuids of users in an item."""
    kind = kind_of(item)
    if kind is Kind.STATE:
        yield from item.get("members", {}).get("M", {})
    elif kind is Kind.GUARD:
        yield from parts(item)
    elif kind in (Kind.ROW, Kind.LATE_UPDATES, Kind.RECEIPT, Kind.BLOCK):
        yield parts(item)[0]
    yield from (value for name in ("user_uuid", "sender_uuid") if (value := text(item, name)))


def is_uuid(value: str) -> bool:
    """Whether a text is a uuid in lower case."""
    return _UUID.fullmatch(value) is not None


def _malformed_keys(item: Item, kind: Kind) -> list[str]:
    names, sk = parts(item), item["sk"]["S"]
    is_valid_pk = all(map(is_uuid, names[:1] if kind is Kind.RECEIPT else names))
    if kind in (Kind.GUARD, Kind.RECEIPT):
        is_valid_pk = (
            is_valid_pk and len(names) == 2 and all(names) and (kind is Kind.RECEIPT or names == sorted(names))
        )
    if kind in (Kind.MESSAGE, Kind.ROW):
        is_valid_sk = keys.is_time(sk)
    elif kind is Kind.BLOCK:
        is_valid_sk = is_uuid(sk)
    else:
        is_valid_sk = kind is Kind.LATE_UPDATES or sk == keys.STATE
    return [*([] if is_valid_pk else ["pk"]), *([] if is_valid_sk else ["sk"])]


def _malformed(item: Mapping[str, Any], form: Mapping[str, str]) -> list[str]:
    """The attributes that are missing or of another type; a number must be whole."""
    return [
        name
        for name, kind in form.items()
        if (name in item or "?" not in kind)
        and (
            (type_ := kind.removesuffix("?")) not in item.get(name, ())
            or (type_ == "N" and whole(item, name) is None)
            or item[name].get("BOOL") is False  # a flag is true or absent
        )
    ]


def _lacking_names(item: Item) -> list[str]:
    return [name for name in NAMES if kind_of(item) in _NAMING and text(item, name) is None]


def _malformed_inside(item: Item, kind: Kind) -> list[str]:
    """The malformed maps and times. A state has two members; a receipt holds a message of its own user.

    In a state or a guard, only the two users can block.
    """
    validity = {}
    if kind is Kind.STATE:
        members = [member.get("M", {}) for member in item["members"]["M"].values()]
        validity["members"] = len(members) == 2 and not any(_malformed(member, _MEMBER) for member in members)
        validity["last_message_at"] = keys.is_time(item["last_message_at"]["S"])
        validity["blocks"] = blockers_in(item) <= item["members"]["M"].keys()
    elif kind is Kind.LATE_UPDATES:
        validity["late_updates"] = (whole(item, "late_updates") or 0) > 0
        validity["updated_at"] = keys.is_time(item["updated_at"]["S"])
    elif kind is Kind.RECEIPT:
        message = item["answer"]["M"]
        is_message = {"pk", "sk"} <= message.keys() and kind_of(message) is Kind.MESSAGE and readable(message)
        validity["answer"] = is_message and text(message, "user_uuid") == parts(item)[0]
    elif kind is Kind.GUARD and "blocks" in item:
        validity["blocks"] = blockers_in(item) <= set(parts(item))
    elif kind is Kind.BLOCK:
        validity["user_uuid"] = text(item, "user_uuid") == item["sk"]["S"] != parts(item)[0]
        validity["created_at"] = keys.is_time(item["created_at"]["S"])
    return [name for name in validity if not validity[name]]
