"""The doctor's codes and findings. A finding is one or more items that differ from their expected form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lib.ddb.items import Item, Key, key_of

PERSON = "changes nothing: a person must decide"


class Code(StrEnum):
    """The kinds of findings, each with its meaning and the effect of `--fix`.

    Codes keep their names, because scripts and alarms depend on them.
    """

    meaning: str
    fix: str

    def __new__(cls, value: str, meaning: str = "", fix: str = PERSON) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        code.fix = fix
        return code

    TABLE_SCHEMA = "table_schema", "the table's index, stream or TTL differs from lib/ddb/schema.py"
    ITEM_MALFORMED = "item_malformed", "an item's key or attributes do not have the form of its kind"
    ITEM_ATTRIBUTES = (
        "item_attributes",
        "a message or inbox row lacks its user's handle or display name, or the index holds an item of another kind",
        "takes the names from Postgres, and removes a `message_group_uuid` that repeats the key",
    )
    PRIVATE_DATA = (
        "private_data",
        "an item holds a user's e-mail address or Cognito id outside a message's text, or an address of nobody outside "
        "texts, names and idempotency keys",
    )
    USER_UNKNOWN = "user_unknown", "Postgres has no user with a uuid that an item names"
    NOT_MIGRATED = (
        "not_migrated",
        "a conversation has the form of an older backend",
        "migrates it, with numbers, state, guard and one row for each member",
    )
    STATE_MISSING = "state_missing", "a conversation has no state, and its other items do not suffice to rebuild one"
    SENDER_NOT_MEMBER = "sender_not_member", "the sender of a message is not a member of its conversation"
    MESSAGE_TWINS = (
        "message_twins",
        "several messages of a conversation have one uuid",
        "keeps the first of those with the same text and sender, and removes its copies",
    )
    MESSAGE_NUMBERS = (
        "message_numbers",
        "the numbers of a conversation's messages are not 1, 2, 3 and so on, each once",
        "gives late messages the next numbers, or renumbers all messages in the order of their keys",
    )
    CONVERSATION_STATE = (
        "conversation_state",
        "the conversation's `seq`, `last_message_at` or a read position differs from its messages",
        "rewrites the state, and carries the read positions over",
    )
    INBOX_ROW = (
        "inbox_row",
        "a member's row is missing, or differs from the state and the newest message, or a row is surplus",
        "rewrites both rows, and removes the surplus ones",
    )
    ROW_WITHOUT_NUMBERS = (
        "row_without_numbers",
        "an inbox row of a conversation state has no `seq`: an older backend's stream function still writes",
        "repairs the rows as for inbox_row; first take that function off the table's stream (docs/bootcamp.md)",
    )
    PAIR_GUARD = (
        "pair_guard",
        "a pair's guard names none of its conversations, or its conversations do not link to the one it names",
        "lets the guard and the links name the newest conversation, or removes the guard if there is none",
    )
    BLOCKS = (
        "blocks",
        "the conversation or the guard of a pair, the inbox rows and the lists of blocks do not have the same blocks",
        "takes the blocks from the pair's conversations, or from the guard if there is none, and rewrites the others",
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """Items that differ from their expected form. `detail` holds no user content."""

    code: Code
    keys: tuple[Key, ...]
    detail: str = ""
    repairable: bool = True

    @classmethod
    def of(cls, code: Code, *items: Item, detail: str = "", repairable: bool = True) -> Finding:
        """A finding on items, or on keys in wire format."""
        return cls(code, tuple(key_of(item) for item in items), detail, repairable and code.fix != PERSON)

    @property
    def fix(self) -> str:
        """The effect of `--fix`."""
        return self.code.fix if self.repairable else PERSON


Repair = Callable[[], object]
"""One step of a repair. Raises WriteRefused or WriteConflict if another writer changed an item since the read."""

Result = tuple[list[Finding], Repair | None]
"""The findings of a check, and the next step of the repair or None."""
