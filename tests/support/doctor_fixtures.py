"""A run of the doctor, the users of the tests in place of Postgres, a sound table, and hooks before its requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rich.progress import Progress

from lib.clock import Clock, now
from lib.ddb.idempotency import Idempotency
from lib.ddb.items import Item, Key, key_of
from lib.ddb.keys import Kind
from lib.ddb.table import Table
from lib.users.accounts import User
from tests.support.stores import ANNA, BERT, CARL, DORA, NewStore, SteppingClock, blocks_of
from tools.doctor.doctor import Doctor
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader
from tools.doctor.shapes import kind_of
from tools.doctor.survey import Survey

LATER = datetime(2026, 6, 1, tzinfo=UTC)
"""The doctor's clock: long after every item in these tables."""


def tomorrow() -> datetime:
    """A clock that is a day ahead, so that no message of the test may still wait for its number."""
    return now() + timedelta(days=1)


class People:
    """Stands in for the users in Postgres, and serves the doctor's two queries."""

    def __init__(self, *users: User) -> None:
        self._users = {UUID(user.uuid): user for user in users}

    def all(self, query: str, **values: Any) -> list[dict[str, Any]]:
        if query == "users/by_uuids":
            uuids = [UUID(uuid) for uuid in values["uuids"]]
        else:
            assert query == "users/after"
            uuids = sorted(uuid for uuid in self._users if uuid > values["after"])[: values["limit"]]
        return [
            {
                "uuid": uuid,
                "handle": user.handle,
                "display_name": user.display_name,
                "email": email_of(user),
                "cognito_user_id": cognito_id_of(user),
            }
            for uuid in uuids
            if (user := self._users.get(uuid))
        ]


def email_of(user: User) -> str:
    return f"{user.handle}@example.com"


def cognito_id_of(user: User) -> str:
    return f"Sub-of-{user.handle}"


EVERYBODY = People(ANNA, BERT, CARL, DORA)


@dataclass(frozen=True)
class Report:
    """The findings of a run, and whether the doctor repaired each."""

    findings: list[tuple[Finding, bool]]

    @property
    def codes(self) -> list[Code]:
        return [finding.code for finding, _ in self.findings]

    @property
    def left(self) -> list[Code]:
        return [finding.code for finding, repaired in self.findings if not repaired]


def run_doctor(
    client: Any,
    table: str,
    *,
    fix: bool = False,
    group: str | None = None,
    people: Any = EVERYBODY,
    clock: Clock = lambda: LATER,
) -> Report:
    with closing(Survey()) as survey:
        reader = Reader(client, Table(client, table), people, clock)
        Doctor(reader, survey, Progress(disable=True), fix=fix).check(group)
        return Report(list(survey.findings()))


@contextmanager
def before(client: Any, operation: str, act: Callable[[], object]) -> Iterator[None]:
    """Call `act` before each request of an operation; a result other than None replaces the response."""

    def handler(**_: Any) -> object:
        return act()

    client.meta.events.register(f"before-call.dynamodb.{operation}", handler)
    try:
        yield
    finally:
        client.meta.events.unregister(f"before-call.dynamodb.{operation}", handler)


def sound_table(new_store: NewStore) -> str:
    """Two conversations, a receipt, read positions and blocks: Anna blocks Carl, and Bert blocks Dora.

    Returns the conversation of Anna and Bert, which has five messages.
    """
    store = new_store(clock=SteppingClock())
    key = Idempotency("a key", "a hash")
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one", idempotency=key).group_uuid
    for sender, text in ((BERT, "two"), (ANNA, "three"), (ANNA, "four"), (BERT, "five")):
        store.send(group_uuid=group, sender=sender, text=text)
    store.send_to_user(sender=CARL, receiver=ANNA, text="hello")
    for user, other in ((ANNA, CARL), (BERT, DORA)):
        blocks_of(store, clock=SteppingClock()).add(user=user, other=other)
    return group


def without_versions(items: Iterable[Item]) -> dict[Key, Item]:
    """Items by their keys, without `version` and late updates: these only go up, so no repair restores them."""
    return {
        key_of(item): {name: value for name, value in item.items() if name != "version"}
        for item in items
        if kind_of(item) is not Kind.LATE_UPDATES
    }
