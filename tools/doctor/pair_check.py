"""The check of a pair of users: the guard that names their conversation, and their other conversations' links to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from lib.ddb import keys
from lib.ddb.errors import WriteRefused
from lib.ddb.items import Item, PairGuard, conversation_key, pair_key
from lib.ddb.table import ABSENT, check
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import GROUP, readable, text

Pair = tuple[str, str]
"""The uuids of two users, the lower one first."""

Change = tuple[Item | None, Item | None]
"""An item and its expected form; None stands for no item."""


def check_pair(reader: Reader, pair: Pair, *, scanned: Iterable[str], migrated: bool = False) -> Result:
    """Read the pair, and check its guard and links. `scanned` are conversations that the inboxes may lack.

    A sound guard names any conversation of the pair; after a migration (`migrated`) it must name the newest. A repair
    makes it name the newest. Raises StoreUnavailable, WriteConflict.
    """
    guard, states = _read(reader, pair, scanned)
    named = text(guard or {}, "group_uuid")
    if guard and (named is None or _is_undecided(reader, named, states.get(named))):
        return [], None
    own = {group: item for group, item in states.items() if item and readable(item) and pair_of(item) == pair}
    if not migrated and is_sound(pair, guard, own):
        return [], None
    newest = _newest(own)
    writes = [rewrite(before, after) for before, after in _changes(pair, guard, own, newest)]
    if not writes:
        return [], None
    if named and newest is None and not states.get(named):
        writes.append(check(conversation_key(named), WriteRefused, when=ABSENT))
    detail = f"the guard names {named}, the newest is {newest}"
    finding = Finding.of(Code.PAIR_GUARD, pair_key(*pair), *map(conversation_key, own), detail=detail)
    return [finding], partial(write_all, reader.table, writes)


def pair_of(state: Item) -> Pair:
    """The members of a conversation."""
    first, second = sorted(state["members"]["M"])
    return first, second


def is_sound(pair: Pair, guard: Item | None, states: Mapping[str, Item]) -> bool:
    """Whether the guard names one of the pair's conversations, and the others link to that one."""
    named = text(guard or {}, "group_uuid")
    return not _changes(pair, guard, states, named if named in states else _newest(states))


def _read(reader: Reader, pair: Pair, scanned: Iterable[str]) -> tuple[Item | None, dict[str, Item | None]]:
    """The guard, and the states by uuid of the pair's conversations and of the one that the guard names."""
    groups = set(scanned)
    for owner, other in (pair, pair[::-1]):
        values = {":other": {"S": other}}
        rows = reader.table.partition(keys.inbox_pk(owner), FilterExpression="user_uuid = :other", values=values)
        groups |= {group for row in rows if (group := text(row, GROUP))}
    if named := text(reader.table.get(pair_key(*pair)) or {}, "group_uuid"):
        groups.add(named)
    uuids = sorted(groups)
    guard, *states = reader.items_at_once([pair_key(*pair), *map(conversation_key, uuids)])
    return guard, dict(zip(uuids, states, strict=True))


def _is_undecided(reader: Reader, group_uuid: str, state: Item | None) -> bool:
    """Whether only the guard names the conversation's members, because its state is missing or unreadable."""
    if state:
        return not readable(state)
    reading = reader.conversation(group_uuid)
    return bool(reading.rows or reading.messages.seqs)


def _newest(states: Mapping[str, Item]) -> str | None:
    """The conversation with the latest message."""
    return max(states, key=lambda group: (text(states[group], "last_message_at"), group), default=None)


def _changes(pair: Pair, guard: Item | None, states: Mapping[str, Item], target: str | None) -> list[Change]:
    """The items that differ from their expected form if the guard names the conversation `target`.

    The guard comes last: after a crash, the links already name its future conversation.
    """
    changes: list[Change] = []
    for group, state in states.items():
        link = None if group == target else target
        if text(state, "pair_group_uuid") != link:
            linked = {**state, "version": {"N": str(int(state["version"]["N"]) + 1)}, "pair_group_uuid": {"S": link}}
            if link is None:
                del linked["pair_group_uuid"]
            changes.append((state, linked))
    if text(guard or {}, "group_uuid") != target:
        changes.append((guard, PairGuard(pair, target).to_item() if target else None))
    return changes
