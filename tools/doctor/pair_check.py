"""The check of a pair of users: the guard that names their conversation, the links to it, and their blocks.

The conversation that the guard names has the blocks of the pair; without a conversation, the guard has them. The inbox
rows and the lists of the two users follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from lib.clock import to_timestamp
from lib.ddb import keys
from lib.ddb.errors import WriteRefused
from lib.ddb.items import (
    Block,
    Item,
    Key,
    PairGuard,
    block_key,
    blockers_in,
    blocks_attribute,
    conversation_key,
    inbox_row_key,
    key_of,
    pair_key,
    wire_key,
)
from lib.ddb.table import ABSENT, check
from lib.users.accounts import User
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import GROUP, parts, readable, text

Pair = tuple[str, str]
"""The uuids of two users, the lower one first."""

Change = tuple[Item | None, Item | None]
"""An item and its expected form; None stands for no item."""

_LINKS = ("group_uuid", "pair_group_uuid")


class PairItems(NamedTuple):
    """The guard of a pair, the states of its conversations by uuid, and its items in the lists of blocks, by owner."""

    guard: Item | None
    states: Mapping[str, Item]
    blocks: Mapping[str, Item]


def check_pair(reader: Reader, pair: Pair, *, scanned: Iterable[str], migrated: bool = False) -> Result:
    """Read the pair, and check its guard, links and blocks. `scanned` are conversations that the inboxes may lack.

    A sound guard names any conversation of the pair; after a migration (`migrated`) it must name the newest. A repair
    makes it name the newest. Raises StoreUnavailable, WriteConflict, DatabaseUnavailable.
    """
    guard, states, blocks = _read(reader, pair, scanned)
    named = text(guard or {}, "group_uuid")
    if guard and (not readable(guard) or (named and _is_undecided(reader, named, states.get(named)))):
        return [], None
    own = {group: item for group, item in states.items() if item and readable(item) and pair_of(item) == pair}
    items = PairItems(guard, own, blocks)
    newest = _newest(own)
    target = newest if migrated else _target(items)
    changes = list(_changes(pair, items, target, reader))
    changes += _row_changes(reader, changes)
    if not changes:
        return [], None
    writes = [rewrite(before, after) for before, after in changes]
    truth, version = (own[target], "version") if target else (guard or {}, "blocks")
    if version in truth and truth not in [before for before, _ in changes]:
        values = {":value": truth[version]}
        writes.append(check(wire_key(truth), WriteRefused, when=f"{version} = :value", values=values))
    if named and newest is None and not states.get(named):
        writes.append(check(conversation_key(named), WriteRefused, when=ABSENT))
    findings = []
    if places := _places(changes, Code.PAIR_GUARD):
        detail = f"the guard names {named}, the newest is {newest}"
        findings.append(Finding.of(Code.PAIR_GUARD, pair_key(*pair), *map(conversation_key, own), detail=detail))
    if places := _places(changes, Code.BLOCKS):
        blockers = sorted(_blockers(items))
        findings.append(Finding(Code.BLOCKS, places, f"blocked by {', '.join(blockers) or 'nobody'}"))
    return findings, partial(write_all, reader.table, writes)


def pair_of(state: Item) -> Pair:
    """The members of a conversation."""
    first, second = sorted(state["members"]["M"])
    return first, second


def is_sound(pair: Pair, items: PairItems) -> bool:
    """Whether the guard names one of the pair's conversations, the others link to it, and all items have its blocks."""
    return not any(_changes(pair, items, _target(items)))


def _read(
    reader: Reader, pair: Pair, scanned: Iterable[str]
) -> tuple[Item | None, dict[str, Item | None], dict[str, Item]]:
    """The guard, the states by uuid of the pair's conversations and of the one that the guard names, and the blocks."""
    groups = set(scanned)
    for owner, other in (pair, pair[::-1]):
        values = {":other": {"S": other}}
        rows = reader.table.partition(keys.inbox_pk(owner), FilterExpression="user_uuid = :other", values=values)
        groups |= {group for row in rows if (group := text(row, GROUP))}
    if named := text(reader.table.get(pair_key(*pair)) or {}, "group_uuid"):
        groups.add(named)
    uuids = sorted(groups)
    places = [pair_key(*pair), *(block_key(*users) for users in (pair, pair[::-1])), *map(conversation_key, uuids)]
    guard, first, second, *states = reader.items_at_once(places)
    blocks = {owner: item for owner, item in zip(pair, (first, second), strict=True) if item}
    return guard, dict(zip(uuids, states, strict=True)), blocks


def _is_undecided(reader: Reader, group_uuid: str, state: Item | None) -> bool:
    """Whether only the guard names the conversation's members, because its state is missing or unreadable."""
    if state:
        return not readable(state)
    reading = reader.conversation(group_uuid)
    return bool(reading.rows or reading.messages.seqs)


def _newest(states: Mapping[str, Item]) -> str | None:
    """The conversation with the latest message."""
    return max(states, key=lambda group: (text(states[group], "last_message_at"), group), default=None)


def _target(items: PairItems) -> str | None:
    """The conversation that the guard names, if all others link to it; else the newest."""
    named = text(items.guard or {}, "group_uuid")
    links = {group: text(state, "pair_group_uuid") for group, state in items.states.items()}
    is_linked = named in links and all(link == (None if group == named else named) for group, link in links.items())
    return named if is_linked else _newest(items.states)


def _blockers(items: PairItems) -> frozenset[str]:
    """The users who block the other one: by any of their conversations, or by a guard that names none."""
    guard = items.guard or {}
    blockers = {uuid for state in items.states.values() for uuid in blockers_in(state)}
    return frozenset(blockers if "group_uuid" in guard else blockers | blockers_in(guard))


def _changes(pair: Pair, items: PairItems, target: str | None, reader: Reader | None = None) -> Iterator[Change]:
    """The items that differ from their expected form if the guard names the conversation `target`.

    The guard comes last: after a crash, the links already name its future conversation. Without a reader, new items
    lack names and times.
    """
    blockers = _blockers(items)
    for owner, other in (pair, pair[::-1]):
        listed = items.blocks.get(owner)
        if listed and owner not in blockers:
            yield listed, None
        elif not listed and owner in blockers:
            # A block must not end because the names are unknown. The API shows today's names in any case.
            user = (reader.users([other]) if reader else {}).get(other) or User(other, other, other)
            yield None, Block(owner, user, to_timestamp(reader.clock()) if reader else "").to_item()
    for group, state in items.states.items():
        linked = _linked(state, None if group == target else target)
        expected = _with_blocks(linked, blockers if group == target else ())
        if expected != state:
            yield state, {**expected, "version": {"N": str(int(state["version"]["N"]) + 1)}}
    guard = items.guard or {}
    group_uuid, blocks = (target, frozenset[str]()) if target else (None, blockers)
    is_needed = bool(target or blockers)
    if (text(guard, "group_uuid"), blockers_in(guard), items.guard is not None) != (group_uuid, blocks, is_needed):
        yield items.guard, PairGuard(pair, group_uuid, blocks).to_item() if is_needed else None


def _linked(state: Item, link: str | None) -> Item:
    others = {name: value for name, value in state.items() if name != "pair_group_uuid"}
    return {**others, "pair_group_uuid": {"S": link}} if link else others


def _with_blocks(state: Item, blockers: Collection[str]) -> Item:
    if blockers_in(state) == frozenset(blockers):  # DynamoDB returns a set in any order
        return state
    others = {name: value for name, value in state.items() if name != "blocks"}
    return others | blocks_attribute(blockers)


def _flagged(attributes: Item, blocks: bool) -> Item:
    others = {name: value for name, value in attributes.items() if name != "blocks"}
    return {**others, "blocks": {"BOOL": True}} if blocks else others


def _row_changes(reader: Reader, changes: Iterable[Change]) -> Iterator[Change]:
    """The inbox rows that differ after these changes of states. They keep their places."""
    for before, after in changes:
        if before and after and "members" in after and blockers_in(before) != blockers_in(after):
            users = sorted(after["members"]["M"])
            rows = reader.items_at_once([inbox_row_key(uuid, after["last_message_at"]["S"]) for uuid in users])
            for uuid, row in zip(users, rows, strict=True):
                expected = _flagged(row or {}, uuid in blockers_in(after))
                if row and expected != row and [text(row, GROUP)] == parts(after):
                    yield row, expected


def _places(changes: Iterable[Change], code: Code) -> tuple[Key, ...]:
    """The keys of the changes of the guard and the links, or of those of the blocks."""
    pairs = ((before or {}, after or {}) for before, after in changes)
    return tuple(key_of(before or after) for before, after in pairs if code in _codes(before, after))


def _codes(before: Item, after: Item) -> set[Code]:
    codes = {Code.PAIR_GUARD} if any(text(before, name) != text(after, name) for name in _LINKS) else set()
    ignored = {"pk", "sk", "version", *_LINKS}
    if not codes or any(before.get(name) != after.get(name) for name in (before.keys() | after.keys()) - ignored):
        codes.add(Code.BLOCKS)
    return codes
