"""Listens for the hints that other processes send through Postgres."""

from __future__ import annotations

from lib.live.hub import Hint
from lib.live.postgres import PostgresRelay
from tests.support.clocks import eventually


def heard(database_url: str) -> list[Hint]:
    """A list that grows by each hint from now on."""
    hints: list[Hint] = []
    relay = PostgresRelay(database_url)
    relay.listen(hints.append, lambda: None)
    assert eventually(lambda: relay.is_connected)
    return hints
