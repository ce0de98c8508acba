"""The check of a pair of users: the guard that names their conversation, and their other conversations' links to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lib.ddb import keys
from lib.ddb.items import Conversation, Item, PairGuard, conversation_key, pair_key
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader
from tools.doctor.rewrite import is_absent, rewrite
from tools.doctor.shapes import GROUP, readable, text

_WRITES_PER_TRANSACTION = 100


@dataclass
class PairCheck:
    """The check of one pair. Every method raises StoreUnavailable and WriteConflict."""

    reader: Reader
    pair: tuple[str, str]
    seen: list[str]
    """Conversations of the pair that the inboxes may lack."""

    def findings(self) -> list[Finding]:
        """Read the pair; return the differences of the guard and the links."""
        guard, states = self._read()
        self._writes = []
        named = text(guard, "group_uuid") if guard else None
        if guard and (named is None or self._is_undecided(named, states.get(named))):
            return []
        own = {group: state for group, item in states.items() if (state := self._own(group, item))}
        newest = max(own.values(), key=lambda state: (state.last_message_at, state.group_uuid), default=None)
        self._writes = [rewrite(before, after) for before, after in self._differences(guard, own, newest)]
        if guard and newest is None and not states.get(named or ""):
            self._writes.append(is_absent(conversation_key(named or "")))
        # A guard may name any conversation of the pair. A repair lets it name the newest.
        if not self._differences(guard, own, own.get(named or "", newest)):
            return []
        detail = f"the guard names {named}, the newest is {newest and newest.group_uuid}"
        return [Finding.of(Code.PAIR_GUARD, pair_key(*self.pair), *map(conversation_key, own), detail=detail)]

    def repair(self) -> bool:
        """Make the guard and the links name the newest conversation; False if they do.

        Raises WriteRefused if somebody wrote meanwhile.
        """
        for start in range(0, len(self._writes), _WRITES_PER_TRANSACTION):
            self.reader.table.transact(self._writes[start : start + _WRITES_PER_TRANSACTION])
        return bool(self._writes)

    def _read(self) -> tuple[Item | None, dict[str, Item | None]]:
        """The guard, and the states by uuid of the pair's conversations and the one that the guard names.

        Both inboxes may name more conversations of the pair.
        """
        groups = set(self.seen)
        for owner, other in (self.pair, self.pair[::-1]):
            values = {":other": {"S": other}}
            rows = self.reader.table.partition(
                keys.inbox_pk(owner), FilterExpression="user_uuid = :other", values=values
            )
            groups |= {group for row in rows if (group := text(row, GROUP))}
        while True:
            names = sorted(groups)
            guard, *states = self.reader.together([pair_key(*self.pair), *map(conversation_key, names)])
            named = text(guard, "group_uuid") if guard else None
            if named is None or named in groups:
                return guard, dict(zip(names, states, strict=True))
            groups.add(named)

    def _own(self, group_uuid: str, item: Item | None) -> Conversation | None:
        """The conversation, or None if it is missing or another pair's."""
        if item is None or not readable(item):
            return None
        state = Conversation.from_item(item, group_uuid=group_uuid)
        return state if sorted(state.members) == sorted(self.pair) else None

    def _is_undecided(self, named: str, state: Item | None) -> bool:
        """Whether only the guard names the conversation's members, because its state is missing or unreadable."""
        if state:
            return not readable(state)
        conversation = self.reader.conversation(named)
        return bool(conversation.rows or conversation.messages.seqs)

    def _differences(
        self, guard: Item | None, own: dict[str, Conversation], target: Conversation | None
    ) -> list[tuple[Item | None, Item | None]]:
        """Each differing item and its expected form if the guard names `target`.

        The guard comes last: after a crash, the links already name its future conversation.
        """
        differences: list[tuple[Item | None, Item | None]] = []
        for state in own.values():
            link = None if target is None or state is target else target.group_uuid
            if state.pair_group_uuid != link:
                linked = replace(state, pair_group_uuid=link, version=state.version + 1)
                differences.append((state.to_item(), linked.to_item()))
        expected = PairGuard(user_uuids=self.pair, group_uuid=target.group_uuid).to_item() if target else None
        if text(guard or {}, "group_uuid") != text(expected or {}, "group_uuid"):
            differences.append((guard, expected))
        return differences
