"""Live updates over HTTP: one stream of Server-Sent Events for all conversations of a user.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
from flask import Blueprint, Response, g, request
from flask.typing import ResponseReturnValue

from lib.live.hub import Hint, Hub, TooManyStreams
from lib.logs import log
from lib.users.accounts import User
from routes.authentication import login_required
from routes.conversations import message_group_json
from routes.dependencies import dependencies
from services.errors import Code, Forbidden, Gone, TooMany, Unauthenticated, Unavailable
from services.live import Change, FeedReader, publish_typing
from services.users import authenticate, verify

EVENT_STREAM = "cruddur.event_stream"
"""Key in the WSGI environ: asgi.py sets it to None if it can send a stream; the route sets the stream."""

HEARTBEAT_SECONDS = 15  # load balancers close a connection after 60 idle seconds
READ_SECONDS = 30  # between two reads without a hint
READ_SECONDS_WITHOUT_HINTS = 2  # while hints of other processes do not arrive
REST_SECONDS = 0.03  # after a read, so that one read finds many changes of a busy user
RECONNECT_MS = 1000

events = Blueprint("events", __name__, url_prefix="/api")


@events.get("/events")
@login_required
def get_events(user: User) -> ResponseReturnValue:
    deps = dependencies()
    if EVENT_STREAM not in request.environ:
        raise Unavailable(Code.LIVE_UPDATES_UNAVAILABLE)
    response = Response(iter(()), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    if request.method == "HEAD":
        return response
    authorization = request.headers.get("Authorization")
    stream = EventStream(
        deps.hub,
        deps.live_threads,
        user,
        authenticate=partial(
            authenticate,
            *(deps.verifier, deps.users, deps.newcomers),
            authorization=authorization,
            max_age=READ_SECONDS,
        ),
        expires_at=verify(deps.verifier, authorization).exp,
        request_id=g.trace.request_id,
    )
    try:
        stream.begin(FeedReader(deps.store, deps.users, user, since=request.headers.get("Last-Event-ID")))
    except BaseException:
        stream.close("refused")
        raise
    request.environ[EVENT_STREAM] = stream
    return response


@events.post("/message_groups/<message_group_uuid>/typing")
@login_required
def post_typing(user: User, message_group_uuid: str) -> ResponseReturnValue:
    deps = dependencies()
    publish_typing(deps.hub, deps.store, user=user, message_group_uuid=message_group_uuid)
    return "", 204


class EventStream:
    """The events of one client. It takes hints in any thread, and sends in one event loop.

    After the hint of a new message, it reads the feed. Other hints go to the client at once, or after such a read.
    """

    __slots__ = (
        *("_hub", "_threads", "_user", "_authenticate", "_expires_at", "_request_id", "_started_at", "_hints"),
        *("_must_read", "_has_more", "_is_current", "_end_reason", "_is_cut_off", "_loop", "_woken"),
        *("_feed", "_first_cursor", "_first_changes"),
    )

    def __init__(
        self,
        hub: Hub,
        threads: ThreadPoolExecutor,
        user: User,
        *,
        authenticate: Callable[[], object],
        expires_at: float,
        request_id: str,
    ) -> None:
        """`authenticate()` raises an error if the user may no longer read. Raises TooMany."""
        self._hub = hub
        self._threads = threads
        self._user = user
        self._authenticate = authenticate
        self._expires_at = expires_at
        self._request_id = request_id
        self._started_at = time.monotonic()
        self._hints: dict[tuple[str, ...], Hint] = {}  # a new hint replaces one of the same event, group and user
        self._must_read = False
        self._has_more = False  # whether the last read of the feed left changes
        self._is_current = True  # whether the last read of the feed succeeded
        self._end_reason = ""  # why the stream ends
        self._is_cut_off = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        try:
            hub.subscribe(user.uuid, self._on_hint)
        except TooManyStreams as error:
            raise TooMany(Code.TOO_MANY_STREAMS) from error

    def begin(self, feed: FeedReader) -> None:
        """Read what changed since the client's cursor. Raises ServiceError."""
        with suppress(Unavailable):
            self._authenticate()  # again, because the stream gets only later hints
        self._feed = feed
        self._first_cursor = feed.cursor
        self._first_changes, self._has_more = feed.changes()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The events as bytes of text/event-stream, until the stream ends."""
        self._loop = loop = asyncio.get_running_loop()
        heartbeat_at = loop.time() + HEARTBEAT_SECONDS
        read_at = rested_at = loop.time()
        read_future: asyncio.Future[bytes] | None = None
        hello = {"user_uuid": self._user.uuid, "heartbeat_seconds": HEARTBEAT_SECONDS}
        yield b"retry: %d\n" % RECONNECT_MS + _event("hello", hello, self._first_cursor)
        if self._first_changes:
            yield _changes(self._first_changes)
            self._first_changes = []
        while not self._end_reason:
            self._woken.clear()
            now = loop.time()
            expires_at = now + self._expires_at - time.time()
            seconds = READ_SECONDS if self._hub.is_connected and self._is_current else READ_SECONDS_WITHOUT_HINTS
            due_at = rested_at if self._must_read else read_at + seconds
            if self._has_more:
                due_at = now
            chunk = b""
            if now >= expires_at:
                self._end_reason = "cut off" if self._is_cut_off else "expired"
                chunk = _event("expired", {})
            elif read_future and read_future.done():
                chunk, read_future = read_future.result(), None
                read_at = now - random.uniform(0, seconds / 10)  # noqa: S311 - so that streams do not read in step
                rested_at = now + REST_SECONDS
            elif not read_future and now >= due_at:
                self._must_read = self._has_more = False
                read_future = loop.run_in_executor(self._threads, self._read)
                read_future.add_done_callback(lambda _: self._woken.set())
            elif not read_future and self._hints:  # a row that is being read may be older than a hint's read position
                chunk = b"".join(_event(hint.event, hint.data) for hint in self._pop_hints())
            elif now >= heartbeat_at:
                chunk = b": \n\n"
            else:
                timer_at = heartbeat_at if read_future else min(heartbeat_at, due_at)
                timer = loop.call_at(min(expires_at, timer_at), self._woken.set)
                await self._woken.wait()
                timer.cancel()
            if chunk:
                heartbeat_at = now + HEARTBEAT_SECONDS
                yield chunk

    def close(self, reason: str) -> None:
        """End the stream. Safe in any thread; only the first reason counts."""
        self._end_reason = self._end_reason or reason
        self._hub.unsubscribe(self._user.uuid, self._on_hint)
        self._wake()

    def log_end(self) -> None:
        """Log why and when the stream ended."""
        seconds = round(time.monotonic() - self._started_at, 1)
        log(
            "stream_ended",
            reason=self._end_reason,
            seconds=seconds,
            request_id=self._request_id,
            user_uuid=self._user.uuid,
        )

    def _on_hint(self, hint: Hint | None) -> None:
        if hint is None or hint.event in ("message_group", "user"):
            self._must_read = True
        else:
            self._hints[hint.event, hint.data["uuid"], hint.data["user_uuid"]] = hint
        self._wake()

    def _wake(self) -> None:
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._woken.set)

    def _pop_hints(self) -> list[Hint]:
        return [self._hints.popitem()[1] for _ in range(len(self._hints))][::-1]

    def _read(self) -> bytes:
        """The changes as bytes. It must not block the event loop, which sends heartbeats meanwhile."""
        if self._end_reason:
            return b""
        self._is_current = False
        try:
            with suppress(Unavailable):
                # At each read, so that a user who is cut off without a hint loses the stream within 2 * READ_SECONDS.
                # An idle stream asks Postgres at every second poll.
                self._authenticate()
        except (Unauthenticated, Forbidden) as error:
            self._is_cut_off = Code.TOKEN_REVOKED in error.codes
            self._expires_at = 0
            return b""
        with suppress(Unavailable):
            try:
                changes, self._has_more = self._feed.changes()
            except Gone:
                self._feed.restart()
                chunk = _event("reload", {}, self._feed.cursor)
            else:
                chunk = _changes(changes)
            self._is_current = True
            return chunk
        return b""


def _changes(changes: list[Change]) -> bytes:
    return b"".join(_event("message_group", message_group_json(row), cursor) for row, cursor in changes)


def _event(name: str, data: dict[str, Any], cursor: str | None = None) -> bytes:
    id_line = f"id: {cursor}\n" if cursor else ""
    return f"event: {name}\n{id_line}data: ".encode() + orjson.dumps(data) + b"\n\n"
