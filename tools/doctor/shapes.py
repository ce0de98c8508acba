"""What an item is, and what is wrong with it by itself. Knows no other item and no table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lib.clock import sortable
from lib.ddb import keys
from lib.ddb.items import EXPIRES_AT, Item
from lib.ddb.keys import Kind
from tools.doctor.findings import Code

Problem = tuple[Code, str]
"""What is wrong, and where in the item."""


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

_UNREADABLE = {Code.SHAPE_UNKNOWN, Code.KEY_MALFORMED, Code.NAMES_MISSING, Code.RECEIPT_MALFORMED}

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_EMAIL = re.compile(r"[^\s@#]+@[^\s@#]+\.[^\s@#]+")


def kind_of(item: Item) -> Kind | None:
    """The kind that an item's partition key says."""
    return keys.kind(item["pk"]["S"])


def parts(item: Item) -> list[str]:
    """What the partition key is made of besides its prefix: one uuid, two, or a uuid and an idempotency key."""
    kind, rest = kind_of(item), item["pk"]["S"].partition("#")[2]
    return rest.split("#", 1) if kind in (Kind.GUARD, Kind.RECEIPT) else [rest]


def problems(item: Item) -> list[Problem]:
    """Everything that is wrong with an item's key and attributes by themselves."""
    kind = kind_of(item)
    if kind is None:
        return [(Code.SHAPE_UNKNOWN, "pk")]
    lacking = [*_lacking(item, _REQUIRED[kind]), *_lacking(item, _OPTIONAL.get(kind, {}), optional=True)]
    if kind is Kind.STATE and not lacking:
        lacking = _wrong_state(item)
    if kind is Kind.RECEIPT and not lacking:
        lacking = _wrong_answer(item)
    code = Code.RECEIPT_MALFORMED if kind is Kind.RECEIPT else Code.SHAPE_UNKNOWN
    named = kind in (Kind.MESSAGE, Kind.ROW)
    return [
        *((Code.KEY_MALFORMED, name) for name in _malformed(item, kind)),
        *((code, name) for name in lacking),
        *((Code.NAMES_MISSING, name) for name in NAMES if named and "S" not in item.get(name, {})),
        *([(Code.INDEX_ENTRY_FOREIGN, GROUP)] if kind is not Kind.ROW and GROUP in item else []),
    ]


def readable(item: Item) -> bool:
    """Whether an item can be made one of lib/ddb/items.py, and its key be ordered by time."""
    return _UNREADABLE.isdisjoint(code for code, _ in problems(item))


def counts(item: Item, wrong: Iterable[Code]) -> bool:
    """Whether a message, which has these problems, counts: what cannot be read and has no number never did."""
    return whole(item, "seq") is not None or _UNREADABLE.isdisjoint(wrong)


def whole(item: Mapping[str, Any], name: str) -> int | None:
    """A whole number, None if there is none."""
    number = item[name].get("N") if name in item else None
    return int(number) if number and _WHOLE.fullmatch(number) else None


def text(item: Item, name: str) -> str | None:
    """A text, None if there is none."""
    value: str | None = item[name].get("S") if name in item else None
    return value


def strings(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every text of an item with where it stands, but what people wrote: values, parts of keys, names in maps."""
    found: list[tuple[str, str]] = []
    _collect(item, "", found)
    return found


def is_email(value: str) -> bool:
    """Whether there is an e-mail address in a text."""
    return "@" in value and _EMAIL.search(value) is not None


def users(item: Item) -> Iterator[str]:
    """The users whom an item names by uuid."""
    kind = kind_of(item)
    if kind is Kind.STATE:
        yield from item.get("members", {}).get("M", {})
    elif kind is Kind.GUARD:
        yield from parts(item)
    elif kind in (Kind.ROW, Kind.RECEIPT):
        yield parts(item)[0]
    yield from (value for name in ("user_uuid", "sender_uuid") if (value := text(item, name)))


def is_uuid(value: str) -> bool:
    """Whether a text is a uuid as the table has them, in lower case."""
    return _UUID.fullmatch(value) is not None


def is_time(value: str) -> bool:
    """Whether a text is a time, in whatever form an older backend wrote it, that another one can follow."""
    try:
        sortable(value)
    except (ValueError, OverflowError):
        return False
    return True


def _collect(attributes: Mapping[str, Any], path: str, found: list[tuple[str, str]]) -> None:
    for name, value in attributes.items():
        for kind, content in value.items():  # there is one
            where = f"{path}{name}" if path else name
            if kind == "S" and name != "message":
                found.append((where, content))
                if "#" in content:
                    found += [(where, part) for part in content.split("#")]
            elif kind == "SS":
                found += [(where, each) for each in content]
            elif kind == "M":
                found += [(where, each) for each in content]
                _collect(content, f"{where}.", found)
            elif kind == "L":
                for each in content:
                    _collect({"": each}, where, found)


def _malformed(item: Item, kind: Kind) -> list[str]:
    """The keys that have not the form of the kind."""
    names, sk = parts(item), item["sk"]["S"]
    uuids = names[:1] if kind is Kind.RECEIPT else names
    right = all(map(is_uuid, uuids)) and names == sorted(names) if kind is Kind.GUARD else all(map(is_uuid, uuids))
    if kind in (Kind.GUARD, Kind.RECEIPT):
        right = right and len(names) == 2 and all(names)
    in_place = is_time(sk) if kind in (Kind.MESSAGE, Kind.ROW) else sk == keys.STATE
    return [*([] if right else ["pk"]), *([] if in_place else ["sk"])]


def _lacking(item: Mapping[str, Any], attributes: Mapping[str, str], *, optional: bool = False) -> list[str]:
    """The attributes that are missing, or not of their type; a number has to be whole."""
    return [
        name
        for name, kind in attributes.items()
        if (name in item or not optional)
        and (kind not in item.get(name, ()) or (kind == "N" and whole(item, name) is None))
    ]


def _wrong_state(item: Item) -> list[str]:
    members = item["members"]["M"]
    wrong = len(members) != 2 or any(_lacking(member.get("M", {}), _MEMBER) for member in members.values())
    return [*(["members"] if wrong else []), *([] if is_time(item["last_message_at"]["S"]) else ["last_message_at"])]


def _wrong_answer(item: Item) -> list[str]:
    answer = item["answer"]["M"]
    whole_answer = {"pk", "sk"} <= answer.keys() and kind_of(answer) is Kind.MESSAGE and readable(answer)
    own = whole_answer and text(answer, "user_uuid") == parts(item)[0]
    return [] if own else ["answer"]
