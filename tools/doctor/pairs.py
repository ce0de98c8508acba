"""The guard of a pair, and what its conversations say of each other: looked at, and mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.ddb.items import Conversation, Item, PairGuard, conversation_key, pair_key, wire_key
from lib.ddb.table import ABSENT, Table, Write
from lib.ddb.transactions import unchanged
from tools.doctor.findings import Code, Finding, found
from tools.doctor.reading import Reader
from tools.doctor.repair import Moved, no_state
from tools.doctor.shapes import GROUP, readable, text

Pair = tuple[str, str]
_AT_ONCE = 99


@dataclass(frozen=True, slots=True)
class PairReading:
    """A pair's guard and conversations as they were at one instant."""

    pair: Pair
    guard: Item | None
    conversations: list[Conversation]
    guarded_state: Item | None

    @property
    def newest(self) -> Conversation | None:
        return max(self.conversations, key=lambda each: (each.last_message_at, each.group_uuid), default=None)

    @property
    def outdated(self) -> bool:
        """Whether the guard names one of the conversations that is not the newest any more."""
        named = text(self.guard, "group_uuid") if self.guard else None
        others = [each.group_uuid for each in self.conversations if each is not self.newest]
        return named in others


def read_pair(reader: Reader, pair: Pair, *, seen: Sequence[str] = ()) -> PairReading:
    """A pair as it is; `seen` are conversations that were seen to be theirs, their inboxes tell of the others."""
    a, b = pair
    rows = [*reader.inbox(a, other_uuid=b), *reader.inbox(b, other_uuid=a)]
    groups = set(seen) | {group for row in rows if (group := text(row, GROUP))}
    known = ""
    while True:
        named = sorted(groups | ({known} if known else set()))
        guard, *states = reader.together([pair_key(a, b), *map(conversation_key, named)])
        guarded = text(guard, "group_uuid") if guard else None
        if not guarded or guarded in named:
            break
        known = guarded
    there = {group: item for group, item in zip(named, states, strict=True) if item and readable(item)}
    conversations = [Conversation.from_item(item, group_uuid=group) for group, item in there.items()]
    theirs = [each for each in conversations if sorted(each.members) == sorted(pair)]
    guarded_state = dict(zip(named, states, strict=True)).get(guarded or "")
    return PairReading(pair, guard, theirs, guarded_state)


def pair_findings(reader: Reader, reading: PairReading) -> list[Finding]:
    """What is wrong with a pair."""
    guard, conversations = reading.guard, reading.conversations
    if guard is None:
        states = [conversation_key(each.group_uuid) for each in conversations]
        return [found(Code.GUARD_MISSING, pair_key(*reading.pair), *states)] if states else []
    guarded = text(guard, "group_uuid")
    if guarded is None:
        return []  # its shape is what is wrong
    if reading.guarded_state and not readable(reading.guarded_state):
        return []  # its shape is what is wrong: whose it is cannot be told
    if guarded not in {each.group_uuid for each in conversations}:
        if reading.guarded_state:
            return [found(Code.GUARD_WRONG, guard, detail=f"it names {guarded}")]
        old = reader.conversation(guarded)
        if old.rows or old.messages.seqs:
            return []  # it waits for its adoption, or for a person: the guard may be all that names its members
        return [found(Code.GUARD_DANGLING, guard, detail=f"it names {guarded}")]
    unlinked = [
        each for each in conversations if each.pair_group_uuid != (None if each.group_uuid == guarded else guarded)
    ]
    links = [conversation_key(each.group_uuid) for each in unlinked]
    return [found(Code.PAIR_UNLINKED, guard, *links, detail=f"the guard names {guarded}")] if unlinked else []


def mend_pair(table: Table, reading: PairReading) -> None:
    """Let the guard name the newest conversation, and every other lead to it. Raises Moved.

    Of more than a transaction takes, the first ones are linked before: they lead to where the guard will.
    """
    newest, guard = reading.newest, reading.guard
    if newest is None:
        return table.transact([_remove_guard(guard), *_still_absent(reading)]) if guard else None
    links = [link for each in reading.conversations if (link := _link(each, newest.group_uuid))]
    while len(links) > _AT_ONCE:
        table.transact(links[:_AT_ONCE])
        links = links[_AT_ONCE:]
    writes = [*_set_guard(reading.pair, guard, newest.group_uuid), *links]
    return table.transact(writes) if writes else None


def _link(state: Conversation, newest: str) -> Write | None:
    target = None if state.group_uuid == newest else newest
    if state.pair_group_uuid == target:
        return None
    update = unchanged(state).request["ConditionCheck"]
    change = ", pair_group_uuid = :target" if target else " REMOVE pair_group_uuid"
    update["UpdateExpression"] = f"SET version = :version{change}"
    update["ExpressionAttributeValues"] |= {
        ":version": {"N": str(state.version + 1)},
        **({":target": {"S": target}} if target else {}),
    }
    return Write({"Update": update}, Moved)


def _set_guard(pair: Pair, guard: Item | None, newest: str) -> list[Write]:
    known = text(guard, "group_uuid") if guard else None
    if known == newest:
        return []
    put = {
        "Item": PairGuard(user_uuids=pair, group_uuid=newest).to_item(),
        "ConditionExpression": "group_uuid = :known" if known else ABSENT,
        **({"ExpressionAttributeValues": {":known": {"S": known}}} if known else {}),
    }
    return [Write({"Put": put}, Moved)]


def _remove_guard(guard: Item) -> Write:
    delete = {
        "Key": wire_key(guard),
        "ConditionExpression": "group_uuid = :known",
        "ExpressionAttributeValues": {":known": guard["group_uuid"]},
    }
    return Write({"Delete": delete}, Moved)


def _still_absent(reading: PairReading) -> list[Write]:
    if reading.guarded_state or not reading.guard:
        return []
    return [no_state(reading.guard["group_uuid"]["S"])]
