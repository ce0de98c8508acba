"""Links rows of Postgres to Cognito users: a row gets the `sub` of its Cognito user.

A row's id is live if a Cognito user has it. A row without a live id waits for its user. A Cognito user whose `sub` is
in no row is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.cache.base import Cache
from lib.users.cache import UserCache
from lib.users.names import handle_key

if TYPE_CHECKING:  # so that a module that needs only the classes loads neither psycopg nor botocore
    from lib.identity.cognito import PoolUser
    from lib.postgres.database import Database, Queries, Row


class CannotLink(Exception):
    """Nothing was written; the message says why."""


@dataclass(frozen=True, slots=True)
class LinkResult:
    """The result of `link_cognito_users`. Users are listed by handle or user name."""

    changed: int
    unchanged: int
    unproven: list[str]
    without_cognito_user: list[str]
    without_row: list[str]

    def report(self) -> list[str]:
        """The result as sentences."""
        users_by_problem = {
            "Users whose handle a Cognito user has without a right to the row": self.unproven,
            "Users without a Cognito user": self.without_cognito_user,
            "Cognito users without a row in Postgres": self.without_row,
        }
        counts = f"Cognito ids: {self.changed} written, {self.unchanged} already right"
        return [counts, *(f"{problem}: {', '.join(users)}" for problem, users in users_by_problem.items() if users)]


def link_cognito_users(
    database: Database,
    pool_users: Iterable[PoolUser],
    shared: Cache[str, str] | None = None,
    *,
    new_pool: bool = True,
) -> LinkResult:
    """Link each waiting row to the free Cognito user with its handle and e-mail address, if there is only one.

    The Cognito user must be confirmed and the address verified, because users choose their `preferred_username`
    themselves. A live id stays. Removes every changed id from `shared`. Raises NotUnique if a user gets a row at the
    same moment. Unless this is a `new_pool`, raises CannotLink if rows have ids and none is live: in a wrong pool, all
    ids seem to be dead.
    """
    rows = database.all("users/all")  # before the pool, so that a user who signs up meanwhile does not seem to be gone
    state = _State(rows, list(pool_users))
    if not new_pool and len(state.waiting) == len(rows) and any(row["cognito_user_id"] for row in rows):
        raise CannotLink("The user pool has no Cognito id of Postgres. If it replaces a lost one, add --new-pool")
    links, free = [], set(state.free)
    for row in state.waiting:
        owners = [user for user in state.claimants(row) if user in free and user.has_confirmed(row["email"])]
        if len(owners) == 1:
            links.append((row, owners[0]))
    with database.transaction() as queries:
        changed = _write(queries, links)
    _forget(shared, links)
    subs = {user.sub for _, user in links}
    strangers = [user for user in state.free if user.sub not in subs]
    return LinkResult(
        changed=changed,
        unchanged=len(rows) - len(state.waiting),
        unproven=sorted({claimed["handle"] for user in strangers if (claimed := state.claimed[user.sub])}),
        without_cognito_user=sorted({row["handle"] for row in state.waiting} - {row["handle"] for row, _ in links}),
        without_row=sorted(user.label for user in strangers if not state.claimed[user.sub]),
    )


@dataclass(frozen=True, slots=True)
class ForcedLink:
    """A link of a row to the Cognito user with its handle, whoever that is."""

    row: Row
    pool_user: PoolUser
    old_pool_user: PoolUser | None
    """The present Cognito user of the row."""
    other_row: Row | None
    """Another row that has the Cognito user."""

    @classmethod
    def find(cls, database: Database, pool_users: Iterable[PoolUser], handle: str) -> ForcedLink:
        """The link that a person may force for this handle. Raises CannotLink."""
        rows, users = database.all("users/all"), list(pool_users)
        state = _State(rows, users)
        if not (row := state.find(handle)):
            raise CannotLink(f"No user has the handle {handle}")
        claimants = state.claimants(row)
        if not claimants:
            raise CannotLink(f"No Cognito user has the preferred_username {handle}")
        if len(claimants) > 1:
            subs = ", ".join(user.sub for user in claimants)
            raise CannotLink(f"Several Cognito users have the preferred_username {handle}: {subs}")
        [user] = claimants
        if row["cognito_user_id"] == user.sub:
            raise CannotLink(f"{handle} has the Cognito id {user.sub} already")
        return cls(
            row=row,
            pool_user=user,
            old_pool_user=next((old for old in users if old.sub == row["cognito_user_id"]), None),
            other_row=next((other for other in rows if other["cognito_user_id"] == user.sub), None),
        )

    def write(self, database: Database, shared: Cache[str, str] | None) -> None:
        """Give the row the Cognito user, and take them from the other row. Raises CannotLink if the row changed."""
        links = [(self.row, self.pool_user)]
        with database.transaction() as queries:
            queries.execute("users/release_cognito_user_id", sub=self.pool_user.sub)  # the column is UNIQUE
            if not _write(queries, links):
                raise CannotLink(f"{self.row['handle']} has changed: nothing was written")
        _forget(shared, links)


class _State:
    """The rows and Cognito users that wait for a link, and the row of each Cognito user's handle."""

    def __init__(self, rows: Sequence[Row], pool_users: Sequence[PoolUser]) -> None:
        live = {row["cognito_user_id"] for row in rows} & {user.sub for user in pool_users}
        self.waiting = [row for row in rows if row["cognito_user_id"] not in live]
        self.free = [user for user in pool_users if user.sub not in live]
        self._by_handle = {row["handle"]: row for row in rows}
        self._by_key = {row["handle_key"]: row for row in rows if row["handle_key"]}
        self.claimed = {user.sub: self.find(user.preferred_username) for user in pool_users}
        """For each Cognito user, the row with their handle."""
        self._claimants: dict[object, list[PoolUser]] = {}
        for user in pool_users:
            if row := self.claimed[user.sub]:
                self._claimants.setdefault(row["uuid"], []).append(user)

    def find(self, handle: str | None) -> Row | None:
        """The row with exactly this handle, else the row of whose handle this is another spelling."""
        return (self._by_handle.get(handle) or self._by_key.get(handle_key(handle))) if handle else None

    def claimants(self, row: Row) -> list[PoolUser]:
        """The Cognito users with this row's handle, in any spelling."""
        return self._claimants.get(row["uuid"], [])


_Links = Sequence[tuple["Row", "PoolUser"]]


def _write(queries: Queries, links: _Links) -> int:
    """Write the ids, and return how many. Leaves out a row whose id has changed."""
    return queries.execute(
        "users/set_cognito_user_ids",
        uuids=[row["uuid"] for row, _ in links],
        old_ids=[row["cognito_user_id"] for row, _ in links],
        subs=[user.sub for _, user in links],
    )


def _forget(shared: Cache[str, str] | None, links: _Links) -> None:
    ids = {user.sub for _, user in links} | {row["cognito_user_id"] for row, _ in links}
    UserCache(shared).forget(cognito_user_ids=ids - {None})
