"""A client that follows its user's conversations by the stream, and keeps their messages as a front end does."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
from collections import Counter
from contextlib import closing, suppress
from email.message import Message as Headers
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import quote

from lib.users.accounts import User
from tests.support.event_stream import Event, events_in
from tools.local_stack.processes import LOOPBACK

LEAVE_ODDS = 0.05  # after each event: the client gets no more of what the server has sent already
SILENCE_SECONDS = 40  # without even a heartbeat, the client connects again
RECEIVE_BUFFER_BYTES = 4096  # so that the server notices a client that does not read
MESSAGES_PER_PAGE = 5  # so that few messages are several pages
BEGINNING = "2000-01-01T00:00:00.000000+00:00"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the connection ends with a reset

JSON = dict[str, Any]


class Stopped(Exception):
    """The test is over."""


class Follower:
    """A client in a thread of its own, inside its `with` block. It connects again whenever its stream ends.

    At times it leaves by itself.

    `messages` has the messages of each conversation in the order in which the client got them, and `rows` the last row.
    `updates` are the data of all events with a message. `counts` has the events by name, the errors of connections, and
    how often the client loaded missing messages.
    """

    def __init__(self, port: int, user: User, authorization: str, *, seed: int) -> None:
        self.user = user
        self.messages: dict[str, list[JSON]] = {}
        self.rows: dict[str, JSON] = {}
        self.updates: list[JSON] = []
        self.counts: Counter[str] = Counter()
        self._port = port
        self._headers = {"Authorization": authorization}
        self._chance = random.Random(seed)  # noqa: S311
        self._begins_with_list = self._chance.random() < 0.5
        self._has_listed = False
        self._cursor: str | None = None
        self._pause_seconds = 0.0
        self._socket: socket.socket | None = None
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def drop(self, *, reset: bool) -> None:
        """Break the connection of the stream from the client's side."""
        if connection := self._socket:
            with suppress(OSError):
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.shutdown(socket.SHUT_RDWR)

    def pause(self, seconds: float) -> None:
        """Stop reading for some time, after the next event."""
        self._pause_seconds = seconds

    def raise_if_failed(self) -> None:
        if self._failure:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            self.drop(reset=False)
            self._thread.join(0.1)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._follow()
                except (OSError, HTTPException) as error:
                    self.counts[type(error).__name__] += 1
                self._stop.wait(self._chance.uniform(0, 1))
        except Stopped:
            pass
        except BaseException as error:
            self._failure = error

    def _follow(self) -> None:
        """Read one stream to its end."""
        if self._cursor is None and self._begins_with_list:
            self._cursor = self._list()
        with (
            socket.create_connection((LOOPBACK, self._port), timeout=SILENCE_SECONDS) as self._socket,
            closing(HTTPConnection(LOOPBACK, self._port)) as connection,
        ):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            connection.sock = self._socket
            position = {"Last-Event-ID": self._cursor} if self._cursor else {}
            connection.request("GET", "/api/events", headers=self._headers | position)
            with connection.getresponse() as response:
                self.counts[f"status {response.status}"] += 1
                if response.status == 200:
                    for event in events_in(response):
                        self._take(event)
                elif response.status == 410:
                    self._cursor, self._begins_with_list = None, True
                else:
                    assert response.status == 503, (response.status, response.read())

    def _take(self, event: Event) -> None:
        self.counts[event.name] += 1
        self._cursor = event.id or self._cursor
        if event.name == "message_group":
            self.updates.append(event.data)
            self._apply(event.data)
        elif event.name == "reload" or (event.name == "hello" and not self._has_listed):
            self._list()
        self._stop.wait(self._pause_seconds)
        self._pause_seconds = 0.0
        if self._chance.random() < LEAVE_ODDS:
            raise ConnectionAbortedError

    def _list(self) -> str:
        """Load all conversations; return the feed cursor."""
        path, feed_cursor = "/api/message_groups", ""
        while path:
            rows, headers = self._get(path)
            feed_cursor = feed_cursor or headers["Feed-Cursor"]
            for row in rows:
                self._apply(row)
            following = re.search(r'<[^>]*(/api[^>]*)>; rel="next"', headers["Link"] or "")
            path = following[1] if following else ""
        self._has_listed = True
        return feed_cursor

    def _apply(self, row: JSON) -> None:
        """Append the last message of a conversation, or load the missing ones."""
        group = row["uuid"]
        self.rows[group] = row
        messages = self.messages.setdefault(group, [])
        is_new = all(message["uuid"] != row["message_uuid"] for message in messages)
        if is_new and row["seq"] == len(messages) + 1:
            sender = {"user_uuid": row["sender_uuid"], "message": row["message"], "created_at": row["created_at"]}
            messages.append({"uuid": row["message_uuid"], **sender})
        elif is_new or row["seq"] > len(messages):
            self.counts["loaded later messages"] += 1
            self._load(group, after=max([message["created_at"] for message in messages], default=BEGINNING))
            if row["seq"] > len(messages):  # in stream mode, a message may be earlier than the last one
                self.counts["loaded all messages"] += 1
                self._load(group, after=BEGINNING)

    def _load(self, group: str, *, after: str) -> None:
        messages = self.messages[group]
        known = {message["uuid"] for message in messages}
        while page := self._get(f"/api/messages/{group}?order=asc&limit={MESSAGES_PER_PAGE}&after={quote(after)}")[0]:
            messages += [message for message in page if message["uuid"] not in known]
            after = page[-1]["created_at"]

    def _get(self, path: str) -> tuple[list[JSON], Headers]:
        """Repeat a request until the server responds to it. Raises Stopped."""
        while not self._stop.is_set():
            with suppress(OSError, HTTPException), closing(HTTPConnection(LOOPBACK, self._port, timeout=5)) as request:
                request.request("GET", path, headers=self._headers)
                response = request.getresponse()
                body = json.loads(response.read())
                if response.status == 200:
                    return body, response.headers
                assert response.status == 503, (path, response.status, body)
            self._stop.wait(0.2)
        raise Stopped
