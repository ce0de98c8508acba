"""What the doctor can find: each code with its meaning and with what `--fix` does about it, and a finding itself.

A code is never renamed: scripts and alarms go by it. docs/doctor.md has them as a table, which a test holds to this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lib.ddb.items import Item, Key, key_of

PERSON = "nothing: a person must decide"


class Code(StrEnum):
    """Everything that can be wrong: value, meaning, what `--fix` does."""

    meaning: str
    fix: str

    def __new__(cls, value: str, meaning: str = "", fix: str = PERSON) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        code.fix = fix
        return code

    # an item by itself
    SHAPE_UNKNOWN = "shape_unknown", "an item is of no known kind, or lacks what its kind has"
    KEY_MALFORMED = (
        "key_malformed",
        "a key has not its kind's form: uuids in lower case, STATE, or a time that another can follow",
    )
    RECEIPT_MALFORMED = "receipt_malformed", "a receipt cannot answer the request that it is for"
    PRIVATE_DATA = "private_data", "an item holds an e-mail address or a Cognito id, other than in a message's text"
    NAMES_MISSING = (
        "names_missing",
        "a message or an inbox row lacks its user's handle or display name",
        "takes them from Postgres by the uuid",
    )
    INDEX_ENTRY_FOREIGN = (
        "index_entry_foreign",
        "an item other than an inbox row has a `message_group_uuid`, and so stands in the index",
        "removes the attribute where it repeats what the key says",
    )
    USER_UNKNOWN = "user_unknown", "a user uuid is not in Postgres"

    # a conversation without a state
    NOT_ADOPTED = (
        "not_adopted",
        "a conversation is as an older backend wrote it",
        "adopts it: numbers, state, guard, one row for each member",
    )
    MEMBERS_UNCLEAR = "members_unclear", "the rows of a conversation without a state do not name two members"
    MESSAGES_ORPHANED = "messages_orphaned", "messages have neither a state nor a row: their members cannot be known"
    ROW_ORPHANED = (
        "row_orphaned",
        "a numbered row's conversation has no state and no messages: the row may hold all that is left",
    )

    # messages and their numbers
    SEQ_MISSING = (
        "seq_missing",
        "messages have had no number for more than a minute",
        "gives them the next numbers, or the ones that are free in their places",
    )
    SEQ_DOUBLED = "seq_doubled", "messages of a conversation have the same number", "renumbers in the order of the keys"
    SEQ_GAP = "seq_gap", "a conversation's numbers have gaps", "renumbers in the order of the keys"
    SENDER_STRANGER = "sender_stranger", "the sender of a message is no member of its conversation"

    # a conversation's state
    STATE_SEQ = "state_seq", "the state counts other than there are messages", "counts them, and carries positions over"
    STATE_TIME = "state_time", "the state's time is not that of the newest message", "sets it, and moves both rows"
    READ_SEQ_RANGE = "read_seq_range", "a position of read is not within 0 and `seq`", "moves it to the nearest end"

    # inbox rows
    ROW_MISSING = "row_missing", "a member has no row", "rebuilds both rows from the state and the newest message"
    ROW_DOUBLED = "row_doubled", "a member has several rows", "leaves one, and rebuilds it"
    ROW_MISPLACED = "row_misplaced", "a row does not stand at the state's `last_message_at`", "moves it there"
    ROW_MESSAGE = "row_message", "a row does not show the newest message", "rebuilds both rows"
    ROW_NUMBERS = "row_numbers", "a row's `seq` is not the state's", "rebuilds both rows"
    ROW_NAMES = "row_names", "a row does not name the other member as the state does", "rebuilds both rows"
    ROW_STRANGER = "row_stranger", "somebody has a row of a conversation that they are no member of", "removes the row"
    READ_SEQ_ROW = "read_seq_row", "a row's `read_seq` is not the state's", "takes the state's"

    # pairs
    GUARD_MISSING = "guard_missing", "two users talk and no guard says where", "puts one that names the newest"
    GUARD_DANGLING = (
        "guard_dangling",
        "a guard names a conversation that is not there",
        "names the pair's newest instead, or removes the guard if there is none",
    )
    GUARD_WRONG = (
        "guard_wrong",
        "a guard names a conversation of others",
        "names the pair's newest instead, or removes the guard if there is none",
    )
    PAIR_UNLINKED = (
        "pair_unlinked",
        "several conversations of a pair do not lead to the one that the guard names",
        "links them to the newest by `pair_group_uuid`, and the guard names it",
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, after it was looked at twice. `detail` never holds what somebody wrote."""

    code: Code
    keys: tuple[Key, ...]
    detail: str = ""
    mendable: bool = True

    @property
    def fix(self) -> str:
        """What `--fix` would do."""
        return self.code.fix if self.mendable else PERSON


def found(code: Code, *items: Item, detail: str = "", mendable: bool = True) -> Finding:
    """A finding on items, or on keys as they are on the wire."""
    return Finding(code, tuple(key_of(item) for item in items), detail, mendable and code.fix != PERSON)
