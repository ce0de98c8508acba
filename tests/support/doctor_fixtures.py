"""The doctor as tests run it, the people of these tests as Postgres has them, and a sound table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rich.progress import Progress

from lib.clock import Clock, now
from lib.ddb.idempotency import Idempotency
from lib.ddb.items import Item
from lib.ddb.table import Table
from lib.users.directory import User
from tests.support.stores import ANNA, BERT, CARL, NewStore, SteppingClock, TableContents
from tools.doctor.doctor import Doctor
from tools.doctor.findings import Code, Finding
from tools.doctor.reading import Reader
from tools.doctor.survey import Survey

LATER = datetime(2026, 6, 1, tzinfo=UTC)
"""When the doctor comes: long after what is in these tables."""


def tomorrow() -> datetime:
    """When nothing that is there now waits for its number any more."""
    return now() + timedelta(days=1)


class People:
    """Stands in for the users in Postgres; answers the doctor's two queries."""

    def __init__(self, *users: User) -> None:
        self._users = {UUID(user.uuid): user for user in users}

    def all(self, query: str, **values: Any) -> list[dict[str, Any]]:
        if query == "users/by_uuids":
            wanted = [UUID(uuid) for uuid in values["uuids"]]
        else:
            assert query == "users/after"
            wanted = sorted(uuid for uuid in self._users if uuid > values["after"])[: values["limit"]]
        return [self._row(uuid) for uuid in wanted if uuid in self._users]

    def _row(self, uuid: UUID) -> dict[str, Any]:
        user = self._users[uuid]
        named = {"handle": user.handle, "display_name": user.display_name}
        return {"uuid": uuid, **named, "email": email_of(user), "cognito_user_id": cognito_id_of(user)}


def email_of(user: User) -> str:
    return f"{user.handle}@example.com"


def cognito_id_of(user: User) -> str:
    return f"Sub-of-{user.handle}"


EVERYBODY = People(ANNA, BERT, CARL)


@dataclass(frozen=True)
class Report:
    """What the doctor found, and whether it repaired it."""

    findings: list[tuple[Finding, bool]]

    @property
    def codes(self) -> list[Code]:
        return [finding.code for finding, _ in self.findings]

    @property
    def left(self) -> list[Code]:
        return [finding.code for finding, repaired in self.findings if not repaired]

    def the(self, code: Code) -> Finding:
        [finding] = [finding for finding, _ in self.findings if finding.code is code]
        return finding


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


def sound_table(new_store: NewStore) -> str:
    """Two conversations, with receipts and a position of read; the one of Anna and Bert, which has five messages."""
    store = new_store(clock=SteppingClock())
    key = Idempotency("a key", "a hash")
    group = store.send_to_user(sender=ANNA, receiver=BERT, text="one", idempotency=key).group_uuid
    for sender, text in ((BERT, "two"), (ANNA, "three"), (ANNA, "four"), (BERT, "five")):
        store.send(group_uuid=group, sender=sender, text=text)
    store.send_to_user(sender=CARL, receiver=ANNA, text="hello")
    return group


def without_versions(items: Iterable[Item]) -> dict[tuple[str, str], Item]:
    """Items by their keys; `version` only goes up, so no repair restores it."""
    kept = ({name: value for name, value in item.items() if name != "version"} for item in items)
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in kept}


def change(contents: TableContents, pk: str, edit: Callable[[Item], None], *, at: int = 0) -> None:
    """Rewrite an item of a partition in place."""
    item = contents.partition(pk)[at]
    edit(item)
    contents.put(item)
