"""The check of one item by itself: its form, private data, and the attributes that the doctor can rewrite."""

from __future__ import annotations

from dataclasses import dataclass

from lib.ddb.items import Item, Key
from lib.ddb.keys import Kind
from tools.doctor.conversation_check import FindUsers
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite
from tools.doctor.shapes import GROUP, attributes_with, kind_of, parts, problems, text
from tools.doctor.survey import Survey


@dataclass
class ItemCheck:
    """The check of the item with a key. Every method raises StoreUnavailable."""

    reader: Reader
    find_users: FindUsers
    survey: Survey
    key: Key

    def findings(self) -> list[Finding]:
        """Read the item; return one finding for each code."""
        self._item = item = self.reader.item(self.key)
        if item is None:
            return []
        attributes: dict[Code, set[str]] = {}
        for code, attribute in problems(item):
            attributes.setdefault(code, set()).add(attribute)
        if private := attributes_with(item, self.survey.private_values([item])):
            attributes[Code.PRIVATE_DATA] = set(private)
        return [
            Finding.of(code, item, detail=", ".join(sorted(names)), repairable=self._expected(item) != item)
            for code, names in attributes.items()
        ]

    def repair(self) -> bool:
        """Rewrite the item; False if there is nothing to rewrite. Raises WriteRefused if somebody wrote meanwhile."""
        if self._item is None or (expected := self._expected(self._item)) == self._item:
            return False
        self.reader.table.transact([rewrite(self._item, expected)])
        return True

    def _expected(self, item: Item) -> Item:
        """The item with its user's names from Postgres, and without an attribute that wrongly indexes it."""
        expected, kind, user_uuid = dict(item), kind_of(item), text(item, "user_uuid")
        lacks_names = any(code is Code.ITEM_ATTRIBUTES and name != GROUP for code, name in problems(item))
        if lacks_names and user_uuid and (user := self.find_users([user_uuid]).get(user_uuid)):
            names = {"user_handle": {"S": user.handle}, "user_display_name": {"S": user.display_name}}
            expected |= {name: value for name, value in names.items() if text(item, name) is None}
        if kind in (Kind.MESSAGE, Kind.STATE) and parts(item) == [text(item, GROUP)]:
            del expected[GROUP]
        return expected
