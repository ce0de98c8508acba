"""The table of tests/fixtures/old_table.json: an older backend's, with every oddity that such a table may have.

Its conversations, by number: 1 has times in every form, and rows that were left behind; 2 and 3 are of the same pair,
3 is the newest; 4 has doubled rows, and a message at another conversation's instant; 5 has lost a row, and nothing
names its owner; 6 has a message of the year 9999; 7 has no messages; 8 has items without names; 9 has messages alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from lib.config import ROOT
from lib.ddb import keys
from lib.ddb.items import Item
from lib.users.accounts import User

_TABLE = json.loads((ROOT / "tests/fixtures/old_table.json").read_text())

ITEMS: list[Item] = _TABLE["items"]
PEOPLE = [User(**user) for user in _TABLE["users"]]


def group_of(number: int) -> str:
    return f"{number:08}-bbbb-4bbb-8bbb-{number:012}"


def texts(items: Iterable[Item]) -> dict[tuple[str, str], str]:
    """Every message's text by its key, in the order of the keys."""
    messages = (item for item in items if keys.kind(item["pk"]["S"]) is keys.Kind.MESSAGE)
    texts_by_key = {(item["pk"]["S"], item["sk"]["S"]): item["message"]["S"] for item in messages}
    return dict(sorted(texts_by_key.items()))
