"""Hints between processes through Postgres: what arrives, and what a relay does when Postgres does not carry them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest

from lib.live import postgres
from lib.live.hub import Hint
from lib.live.postgres import PostgresRelay
from lib.postgres.errors import DatabaseUnavailable
from tests.support.clocks import eventually, time_limit
from tests.support.frozen_postgres import frozen
from tools.local_stack.postgres import Postgres

SOON = 5.0


class Listener:
    """A relay that listens, with the hints that it delivered and the number of losses that it reported."""

    def __init__(self, url: str) -> None:
        self.relay = PostgresRelay(url)
        self.hints: SimpleQueue[Hint] = SimpleQueue()
        self.losses = 0
        self.relay.listen(self.hints.put, self._lost)
        assert eventually(lambda: self.relay.is_connected)

    def _lost(self) -> None:
        self.losses += 1


def listen_in_vain(url: str) -> tuple[PostgresRelay, SimpleQueue[None]]:
    """A relay that could not listen and has reported it, and its later reports."""
    relay = PostgresRelay(url)
    losses: SimpleQueue[None] = SimpleQueue()
    relay.listen(lambda hint: None, lambda: losses.put(None))
    losses.get(timeout=SOON)
    assert relay.is_connected is False
    return relay, losses


def news(number: int) -> Hint:
    return Hint("read", ("anna", "bert"), {"uuid": "group", "user_uuid": "anna", "read_seq": number})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_RETRY_SECONDS", 0.05)


@contextmanager
def payloads(url: str) -> Iterator[Callable[[], list[str]]]:
    """Listens as another client. The function returns the payloads since the last call."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("LISTEN cruddur_live")
        yield lambda: [notification.payload for notification in connection.notifies(timeout=0.5)]


def terminate(url: str, queries: str) -> int:
    """End the connections whose last query is LIKE `queries`."""
    with psycopg.connect(url) as connection:
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE %s AND datname = %s"
        return len(connection.execute(query, [queries, connection.info.dbname]).fetchall())


def failures(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [getattr(record, "fields", {}) for record in caplog.records if record.message == "live_not_sent"]


def test_hints_arrive_in_order_in_other_processes_only(postgres_url: str) -> None:
    first, second = Listener(postgres_url), Listener(postgres_url)
    for number in range(500):
        first.relay.send(news(number))
    assert [second.hints.get(timeout=SOON) for _ in range(500)] == [news(number) for number in range(500)]
    assert first.hints.empty()


def test_payloads_are_small_and_hold_what_a_hint_holds(postgres_url: str) -> None:
    relay = PostgresRelay(postgres_url)
    with payloads(postgres_url) as sent:
        relay.notify(news(number) for number in range(1000))
        texts = sent()
    assert 10 < len(texts) < 30
    assert max(len(text.encode()) for text in texts) < 8000
    fields = [fields for text in texts for fields in json.loads(text)[1]]
    assert fields == [["read", ["anna", "bert"], news(number).data] for number in range(1000)]


def test_relay_connects_again(postgres_url: str) -> None:
    listener, sender = Listener(postgres_url), PostgresRelay(postgres_url)
    for _ in range(3):
        losses = listener.losses
        assert terminate(postgres_url, "LISTEN%")
        # The stream reads once when the connection is lost, and once when it is back.
        eventually(lambda: listener.losses == losses + 2)  # noqa: B023
        assert listener.relay.is_connected
        sender.send(news(1))
        assert listener.hints.get(timeout=SOON) == news(1)


def test_sender_replaces_its_broken_connection(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    listener, sender = Listener(postgres_url), PostgresRelay(postgres_url)
    for number in range(3):
        sender.send(news(number))
        assert listener.hints.get(timeout=SOON) == news(number)
        assert terminate(postgres_url, "SELECT pg_notify%") >= 1
    assert failures(caplog) == []


def test_listener_does_not_wait_for_postgres_for_ever(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_LISTEN_SECONDS", 0.2)
    monkeypatch.setattr(postgres, "_CHANNEL", "cruddur_live; SELECT pg_sleep(60)")
    relay, losses = listen_in_vain(postgres_url)
    monkeypatch.setattr(postgres, "_CHANNEL", "cruddur_live")
    losses.get(timeout=SOON)
    assert relay.is_connected


@pytest.mark.parametrize(
    "payload",
    ["x", "", "{}", "[]", '["a"]', '["a", [1]]', '["a", [["read", 1, {}]]]', '["a", [["read", [], 1]]]', "null"],
)
def test_listener_ignores_payloads_of_other_programs(
    postgres_url: str, payload: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CHANNEL", "cruddur_test")  # without the listeners of other tests
    listener, sender = Listener(postgres_url), PostgresRelay(postgres_url)
    eventually(lambda: listener.losses == 1)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for _ in range(3):
            connection.execute("SELECT pg_notify('cruddur_test', %s)", [payload])
    sender.send(news(1))
    assert listener.hints.get(timeout=SOON) == news(1)
    assert (listener.losses, listener.hints.empty()) == (1, True)
    assert [record.message for record in caplog.records].count("live_payload_unknown") == 1


def test_listener_skips_events_that_it_does_not_know(postgres_url: str) -> None:
    listener = Listener(postgres_url)
    known = ["read", ["anna", "bert"], news(1).data]
    unknown: list[Any] = [["newer", ["anna"], {"uuid": "a"}], ["typing", ["anna"], {}], ["user", ["anna"], {}]]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_notify('cruddur_live', %s)", [json.dumps(["newer", [*unknown, known]])])
    assert listener.hints.get(timeout=SOON) == news(1)
    assert (listener.losses, listener.hints.empty()) == (1, True)


def test_relay_survives_an_error_of_a_stream(postgres_url: str) -> None:
    relay, sender = PostgresRelay(postgres_url), PostgresRelay(postgres_url)
    hints: SimpleQueue[Hint] = SimpleQueue()

    def deliver(hint: Hint) -> None:
        hints.put(hint)
        if hint == news(0):
            raise LookupError

    relay.listen(deliver, lambda: None)
    assert eventually(lambda: relay.is_connected)
    sender.send(news(0))
    assert hints.get(timeout=SOON) == news(0)
    eventually(lambda: not relay.is_connected)
    eventually(lambda: relay.is_connected)
    sender.send(news(1))
    assert hints.get(timeout=SOON) == news(1)


def test_lost_pings_show_that_hints_do_not_arrive(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler in transaction mode takes a LISTEN and forgets it."""
    monkeypatch.setattr(postgres, "_PING_SECONDS", 0.2)
    monkeypatch.setattr(postgres, "_CHANNEL", "cruddur_live; UNLISTEN *")
    relay, losses = listen_in_vain(postgres_url)
    time.sleep(1)  # several pings
    assert losses.empty()
    monkeypatch.setattr(postgres, "_CHANNEL", "cruddur_live")
    losses.get(timeout=SOON)
    assert relay.is_connected


def test_sender_never_waits(postgres_url: str, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_MAX_QUEUE", 1000)
    listener, sender = Listener(postgres_url), PostgresRelay(postgres_url)
    with frozen(postgres_server), time_limit(1):
        for number in range(20_000):
            sender.send(news(number))
        assert sender._queue.qsize() <= 1000
    eventually(lambda: sender._queue.empty())

    def arrives() -> bool:
        sender.send(news(-1))
        time.sleep(0.1)
        hints: list[Any] = []
        while not listener.hints.empty():
            hints.append(listener.hints.get())
        return news(-1) in hints

    assert eventually(arrives)


def test_notify_reports_an_outage() -> None:
    with pytest.raises(DatabaseUnavailable):
        PostgresRelay("postgresql://127.0.0.1:9/nowhere").notify([news(1)])


def test_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    sender = PostgresRelay("postgresql://127.0.0.1:9/nowhere")
    for number in range(5):
        sender.send(news(number))
        eventually(lambda: sender._queue.empty())
        time.sleep(0.1)
    assert failures(caplog) == [{"reason": "OperationalError", "sqlstate": None}]


def test_sender_survives_any_answer(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    listener, sender = Listener(postgres_url), PostgresRelay(postgres_url)
    sender.send(Hint("read", ("anna",), {"padding": "x" * 8000}))  # Postgres refuses it
    eventually(lambda: sender._queue.empty())
    time.sleep(0.1)
    sender.send(news(1))
    assert listener.hints.get(timeout=SOON) == news(1)
    assert failures(caplog) == [{"reason": "InvalidParameterValue", "sqlstate": "22023"}]
