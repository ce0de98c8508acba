"""The check of one item by itself: its form, private data, and the attributes that the doctor can rewrite."""

from __future__ import annotations

from functools import partial

from lib.ddb.items import Item, Key
from lib.ddb.keys import Kind
from tools.doctor.findings import Code, Finding, Result
from tools.doctor.reading import Reader
from tools.doctor.rewrite import rewrite, write_all
from tools.doctor.shapes import GROUP, NAMES, attributes_with, kind_of, parts, problems, text
from tools.doctor.survey import Survey


def check_item(reader: Reader, survey: Survey, key: Key) -> Result:
    """Read the item with this key, and compare it with its expected form. One finding for each code.

    Raises StoreUnavailable, DatabaseUnavailable.
    """
    item = reader.item(key)
    if item is None:
        return [], None
    attributes = problems(item)
    if private := attributes_with(item, survey.private_values([item])):
        attributes[Code.PRIVATE_DATA] = private
    expected = _expected(item, reader)
    findings = [
        Finding.of(code, item, detail=", ".join(sorted(names)), repairable=expected != item)
        for code, names in attributes.items()
    ]
    return findings, partial(write_all, reader.table, [rewrite(item, expected)]) if expected != item else None


def _expected(item: Item, reader: Reader) -> Item:
    """The item with its user's names from Postgres, and without an attribute that wrongly indexes it."""
    expected, user_uuid = dict(item), text(item, "user_uuid")
    lacking = set(NAMES).intersection(problems(item).get(Code.ITEM_ATTRIBUTES, ()))
    if lacking and user_uuid and (user := reader.users([user_uuid]).get(user_uuid)):
        names = {"user_handle": {"S": user.handle}, "user_display_name": {"S": user.display_name}}
        expected |= {name: names[name] for name in lacking}
    if kind_of(item) in (Kind.MESSAGE, Kind.STATE) and parts(item) == [text(item, GROUP)]:
        del expected[GROUP]
    return expected
