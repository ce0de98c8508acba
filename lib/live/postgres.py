"""Carries hints between processes by LISTEN and NOTIFY.

Each process with a stream listens on a connection of its own. A pooler in transaction mode breaks LISTEN without an
error, and so does a dead network. So the process also listens for its own pings.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Lock, Thread
from typing import Any

import orjson
import psycopg

from lib.live.hub import FIELDS, Hint
from lib.logs import log
from lib.postgres.database import Session, connect
from lib.postgres.errors import DatabaseUnavailable

_CHANNEL = "cruddur_live"
_MAX_QUEUE = 10_000
_MAX_PAYLOAD = 7_000  # bytes; Postgres takes less than 8 000
_BATCH_SECONDS = 0.02  # a busy process sends the hints of this time together
_PING_SECONDS = 3
_LISTEN_SECONDS = 2
_RETRY_SECONDS = 1.0


class PingLost(Exception):
    """A ping did not come back: notifications do not arrive on this connection."""


class PostgresRelay:
    """The relay of one process. Its threads start with the first hint and the first stream.

    `is_connected` is None until the first attempt to listen succeeds or fails.
    """

    def __init__(self, database_url: str) -> None:
        self.is_connected: bool | None = None
        self._url = database_url
        self._session = Session(database_url)
        self._id = uuid.uuid4().hex
        self._queue: Queue[Hint | None] = Queue(_MAX_QUEUE)  # None is a ping
        self._lock = Lock()
        self._sender: Thread | None = None

    def send(self, hint: Hint | None) -> None:
        """Send a hint without waiting; it is lost if Postgres is unavailable."""
        with suppress(Full):
            self._queue.put_nowait(hint)
        if self._sender is None:
            with self._lock:
                if self._sender is None:
                    self._sender = Thread(target=self._send_all, name="live-sender", daemon=True)
                    self._sender.start()

    def listen(self, deliver: Callable[[Hint], object], lost: Callable[[], None]) -> None:
        """Deliver the hints of other processes from now on; call `lost` when the connection is lost or back."""
        Thread(target=self._listen, args=[deliver, lost], name="live-listener", daemon=True).start()

    def notify(self, hints: Iterable[Hint]) -> None:
        """Send hints in one statement, or a ping if there is none. Raises DatabaseUnavailable."""
        payloads = list(self._payloads(hints)) or [self._payload([])]
        for is_last_try in (False, True):
            try:
                self._session.execute("live/notify", channel=_CHANNEL, payloads=payloads)
                return
            except DatabaseUnavailable:  # perhaps Postgres has ended the connection since the last hint
                if is_last_try:
                    raise

    def _send_all(self) -> None:
        is_failing = False
        while True:
            hints = [self._queue.get()]
            with suppress(Empty):
                while len(hints) < _MAX_QUEUE:
                    hints.append(self._queue.get_nowait())
            try:
                self.notify(hint for hint in hints if hint)
                is_failing = False
            except (DatabaseUnavailable, psycopg.Error) as error:
                if not is_failing:
                    log("live_not_sent", level=logging.WARNING, **_reason(error))
                is_failing = True
                time.sleep(_RETRY_SECONDS)
            time.sleep(_BATCH_SECONDS)

    def _payloads(self, hints: Iterable[Hint]) -> Iterator[str]:
        batch: list[list[Any]] = []
        size = 0
        for hint in hints:
            fields = [hint.event, hint.user_uuids, hint.data]
            length = len(orjson.dumps(fields)) + 1
            if batch and size + length > _MAX_PAYLOAD:
                yield self._payload(batch)
                batch, size = [], 0
            batch.append(fields)
            size += length
        if batch:
            yield self._payload(batch)

    def _payload(self, batch: list[list[Any]]) -> str:
        return orjson.dumps([self._id, batch]).decode()

    def _listen(self, deliver: Callable[[Hint], object], lost: Callable[[], None]) -> None:
        while True:
            try:
                with connect(self._url, seconds=_LISTEN_SECONDS) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._receive(connection, deliver, lost)
            except Exception as error:  # also of a stream
                if self.is_connected is not False:
                    self.is_connected = False
                    log("live_disconnected", level=logging.WARNING, **_reason(error))
                    lost()
            time.sleep(_RETRY_SECONDS)

    def _receive(
        self, connection: psycopg.Connection[Any], deliver: Callable[[Hint], object], lost: Callable[[], None]
    ) -> None:
        """Deliver hints until a ping does not come back. Raises PingLost, psycopg.Error."""
        is_alive, knows_all = True, True
        while is_alive:
            is_alive = False
            self.send(None)
            for notification in connection.notifies(timeout=_PING_SECONDS):
                try:
                    sender, hints = _parse(notification.payload)
                except (TypeError, ValueError):
                    if knows_all:
                        log("live_payload_unknown", level=logging.WARNING)
                    knows_all = False
                    continue
                if sender != self._id:
                    for hint in hints:
                        deliver(hint)
                    continue
                is_alive = True
                if not self.is_connected:
                    self.is_connected = True
                    log("live_connected")
                    lost()
        raise PingLost


def _parse(payload: str) -> tuple[str, list[Hint]]:
    """The sender and its hints, without those that only a newer version knows.

    Raises TypeError or ValueError if another program sent the payload.
    """
    sender, batch = orjson.loads(payload)
    hints = [Hint(event, tuple(user_uuids), {**data}) for event, user_uuids, data in batch]
    return sender, [hint for hint in hints if hint.event in FIELDS and FIELDS[hint.event] <= hint.data.keys()]


def _reason(error: Exception) -> dict[str, Any]:
    """The error of Postgres for the log, with its SQLSTATE if Postgres sent it."""
    cause = error.__cause__ or error
    return {"reason": type(cause).__name__, "sqlstate": getattr(cause, "sqlstate", None)}
