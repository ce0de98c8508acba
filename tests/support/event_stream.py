"""A client of the live updates, for tests."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from queue import Queue
from typing import Any

from tests.support.api import Person

JSON = dict[str, Any]


@dataclass(frozen=True)
class Event:
    name: str
    data: JSON
    id: str | None = None


def events_in(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream's lines, each when its last line has come."""
    fields: dict[str, str] = {}
    for raw in lines:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "event" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


class Stream:
    """A client of the stream, in a thread of its own."""

    def __init__(self, port: int, person: Person, *, since: str | None = None) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        headers = person.headers | ({"Last-Event-ID": since} if since else {})
        self._connection.request("GET", "/api/events", headers=headers)
        self.socket: socket.socket = self._connection.sock  # the response takes it over
        self.response: HTTPResponse = self._connection.getresponse()
        self.events: Queue[Event] = Queue()
        self.last_id = since
        self.ended = threading.Event()
        self.is_broken = False  # whether it ended without the end of the response
        if self.response.status == 200:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in events_in(self.response):
                self.last_id = event.id or self.last_id
                self.events.put(event)
        except (OSError, HTTPException):
            self.is_broken = True
        self.ended.set()

    def next(self, seconds: float = 5) -> Event:
        return self.events.get(timeout=seconds)

    def close(self) -> None:
        """Leave without a word, and free the thread."""
        with suppress(OSError):  # the server has left
            self.socket.shutdown(socket.SHUT_RDWR)
        self.ended.wait(5)
        self.response.close()
        self._connection.close()
