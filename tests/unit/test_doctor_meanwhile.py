"""The doctor on a table that is written to between its own reads, and in pages of every size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.corruptions import an_old_conversation
from tests.support.doctor_fixtures import sound_table, visit
from tests.support.old_data import GROUP, TIMES, old_conversation, old_row
from tests.support.stores import ANNA, BERT, CARL, NewStore, TableContents
from tests.unit.conftest import TABLE
from tools.doctor import doctor, scanning
from tools.doctor.findings import Code


@contextmanager
def before(client: Any, operation: str, act: Callable[[], object]) -> Iterator[None]:
    """Act before each call of an operation; what that returns answers the call."""

    def handler(**_: Any) -> object:
        return act()

    client.meta.events.register(f"before-call.dynamodb.{operation}", handler)
    try:
        yield
    finally:
        client.meta.events.unregister(f"before-call.dynamodb.{operation}", handler)


def writer(new_store: NewStore, group: str) -> Callable[[], None]:
    """Sends another message at each call, but those that sending makes itself."""
    store, numbers, sending = new_store(), count(), Lock()

    def write() -> None:
        if sending.acquire(blocking=False):
            try:
                store.send(group_uuid=group, sender=ANNA, text=f"meanwhile {next(numbers)}")
            finally:
                sending.release()

    return write


@pytest.mark.parametrize("operation", ["Scan", "GetItem", "Query", "TransactGetItems"])
def test_sound_table_that_is_written_to_before_every_read_gives_no_finding(
    operation: str, new_store: NewStore, client: Any
) -> None:
    group = sound_table(new_store)
    with before(client, operation, writer(new_store, group)):
        assert visit(client, TABLE).codes == []
        assert visit(client, TABLE, group=group).codes == []
        assert visit(client, TABLE, fix=True).codes == []


def test_rows_left_behind_are_found_and_removed_in_a_conversation_that_never_stands_still(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    for owner in (ANNA, CARL):
        contents.put(old_row(owner, TIMES[0], BERT, "left behind", group=group))
    with before(client, "TransactGetItems", writer(new_store, group)):
        found = visit(client, TABLE, fix=True)
    assert (sorted(found.codes), found.left) == ([Code.ROW_DOUBLED, Code.ROW_STRANGER], [])
    assert visit(client, TABLE).codes == []


def test_conversation_that_the_api_adopts_meanwhile_is_no_finding(
    new_store: NewStore, contents: TableContents, client: Any
) -> None:
    contents.put(*old_conversation(*TIMES))
    with before(client, "TransactGetItems", writer(new_store, GROUP)):
        assert visit(client, TABLE).codes == []


def test_read_that_meets_transactions_is_tried_again(new_store: NewStore, contents: TableContents, client: Any) -> None:
    sound_table(new_store)
    an_old_conversation(contents, "")
    error = {"Error": {"Code": "TransactionCanceledException", "Message": "made up"}}
    conflicts = iter([(SimpleNamespace(status_code=HTTPStatus.BAD_REQUEST), error)] * 3)
    with before(client, "TransactGetItems", lambda: next(conflicts, None)):
        assert visit(client, TABLE).codes == [Code.NOT_ADOPTED]


@pytest.mark.parametrize("size", [1, 4])
def test_pages_of_any_size_give_the_same(
    size: int, new_store: NewStore, contents: TableContents, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_ITEMS_A_PAGE", size)
    monkeypatch.setattr(doctor, "_USERS_A_PAGE", size)
    sound_table(new_store)
    assert visit(client, TABLE).codes == []
    an_old_conversation(contents, "")
    assert visit(client, TABLE).codes == [Code.NOT_ADOPTED]
