"""A stream of events without a server: what its client gets, and when it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest

from lib.ddb.items import InboxRow
from lib.live.hub import Hint, Hub
from lib.users.accounts import Account, User
from lib.users.cache import UserCache
from routes.events import HEARTBEAT_SECONDS, READ_SECONDS, EventStream
from services.errors import Code, Forbidden, Gone, TooMany, Unauthenticated, Unavailable
from services.live import Change
from tests.support.clocks import time_limit
from tests.unit.test_hub import FakeRelay

ANNA = User("anna", "anna", "Anna")
NEWS = Hint("message_group", ("anna",))
READ = Hint("read", ("anna",), {"uuid": "group", "user_uuid": "bert", "read_seq": 1})
TYPING = Hint("typing", ("anna",), {"uuid": "group", "user_uuid": "bert"})
CHANGE_OF_USER = Hint("user", ("anna",), {"cognito_user_id": "sub-anna"})
Event = tuple[str, str | None]


class FakeFeedReader:
    """Each read takes the next of `reads`: changes, an error, or a function to call; later reads find nothing."""

    def __init__(self, *reads: Any) -> None:
        self.cursor = "0"
        self.reads = list(reads)
        self.count = 0

    def restart(self) -> None:
        self.cursor = "new"

    def changes(self) -> tuple[list[Change], bool]:
        self.count += 1
        read = self.reads.pop(0) if self.reads else []
        if isinstance(read, Exception):
            raise read
        result = read() if callable(read) else read
        return result if isinstance(result, tuple) else (result or [], False)


def change(number: int) -> Change:
    row = InboxRow("anna", str(number), "group", "hi", User("bert", "bert", "Bert"), number, 0, "bert", f"m{number}")
    return row, str(number)


class Harness:
    """A stream of Anna. `run` runs a test with the stream's events in an event loop."""

    def __init__(self, *reads: Any, seconds: float = 100, authenticate: Callable[[], object] = lambda: ANNA) -> None:
        self.relay = FakeRelay()
        self.relay.is_connected = True
        self.hub = Hub(self.relay, streams_per_user=3)
        self.threads = ThreadPoolExecutor(1)
        self.feed = FakeFeedReader(*reads)
        self.stream = EventStream(
            self.hub, self.threads, ANNA, authenticate=authenticate, expires_at=time.time() + seconds, request_id="r"
        )

    def run(self, test: Callable[[Callable[[], Awaitable[list[Event]]]], Awaitable[None]]) -> None:
        async def main() -> None:
            chunks = self.stream.chunks()

            async def following() -> list[Event]:
                async with asyncio.timeout(5):
                    return parse(await anext(chunks, b""))

            assert (await following())[0][0] == "hello"
            await test(following)

        self.stream.begin(self.feed)  # type: ignore[arg-type]
        asyncio.run(main())
        self.stream.close("test ends")
        self.threads.shutdown()
        assert self.hub._streams == {}


def parse(chunk: bytes) -> list[Event]:
    """Names and ids of events."""
    events = [dict(line.split(": ", 1) for line in text.splitlines()) for text in chunk.decode().split("\n\n") if text]
    return [(event.get("event", ""), event.get("id")) for event in events]


def test_stream_goes_on_from_the_first_changes() -> None:
    def second() -> list[Change]:
        return [change(2)]

    harness = Harness(([change(1)], True), second)

    async def test(following: Any) -> None:
        assert await following() == [("message_group", "1")]
        assert await following() == [("message_group", "2")]
        harness.hub.publish(TYPING)
        harness.hub.publish(READ)
        harness.hub.publish(READ)
        assert await following() == [("typing", None), ("read", None)]

    harness.run(test)
    assert harness.feed.count == 2


def test_hint_during_the_first_read_is_not_lost() -> None:
    harness = Harness(lambda: harness.hub.publish(NEWS), [change(1)])

    async def test(following: Any) -> None:
        assert await following() == [("message_group", "1")]

    harness.run(test)


def test_hint_during_a_read_makes_another_read() -> None:
    def read() -> list[Change]:
        harness.hub.publish(NEWS)
        harness.hub.publish(TYPING)
        return [change(1)]

    harness = Harness([], read, [change(2)])

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert [await following() for _ in range(3)] == [
            [("message_group", "1")],
            [("typing", None)],  # not before, because the same holds for a read position
            [("message_group", "2")],
        ]

    harness.run(test)


def test_one_read_finds_the_changes_of_many_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.events.REST_SECONDS", 0.2)
    harness = Harness([], [change(1)], [change(2)])

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert await following() == [("message_group", "1")]
        read_at = time.monotonic()
        for _ in range(10):
            asyncio.get_running_loop().call_soon(harness.hub.publish, NEWS)
        assert await following() == [("message_group", "2")]
        assert time.monotonic() - read_at > 0.19

    harness.run(test)
    assert harness.feed.count == 3


def test_stream_does_not_rest_before_it_has_all_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.events.REST_SECONDS", 2)
    harness = Harness(([change(1)], True), ([change(2)], True), [change(3)])

    async def test(following: Any) -> None:
        assert [await following() for _ in range(3)] == [[("message_group", str(number))] for number in (1, 2, 3)]

    with time_limit(1):
        harness.run(test)


def test_failed_read_of_more_changes_is_not_repeated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.events.READ_SECONDS_WITHOUT_HINTS", 0.2)
    harness = Harness(([change(1)], True), Unavailable(Code.STORAGE_UNAVAILABLE), [change(2)])

    async def test(following: Any) -> None:
        assert await following() == [("message_group", "1")]
        started_at = time.monotonic()
        assert await following() == [("message_group", "2")]
        assert time.monotonic() - started_at > 0.17

    harness.run(test)
    assert harness.feed.count == 3


def test_hints_from_many_threads_wake_the_stream() -> None:
    harness = Harness()
    sent = threading.Event()

    def publish_all() -> None:
        for _ in range(2_000):
            harness.hub.publish(NEWS)
        harness.feed.reads = [[change(7)]]
        harness.hub.publish(NEWS)
        sent.set()

    async def test(following: Any) -> None:
        threads = [threading.Thread(target=publish_all) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert await following() == [("message_group", "7")]
        for thread in threads:
            await asyncio.to_thread(thread.join)

    harness.run(test)


def test_failed_read_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.events.READ_SECONDS_WITHOUT_HINTS", 0.01)
    harness = Harness([], Unavailable(Code.STORAGE_UNAVAILABLE), Unavailable(Code.STORAGE_UNAVAILABLE), [change(1)])

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert await following() == [("message_group", "1")]

    harness.run(test)


def test_stream_reads_without_hints() -> None:
    harness = Harness([], [change(1)])
    harness.relay.is_connected = False

    async def test(following: Any) -> None:
        asyncio.get_running_loop().call_later(0.1, harness.relay.lost)
        assert await following() == [("message_group", "1")]

    harness.run(test)


def test_gap_makes_the_client_reload() -> None:
    harness = Harness([], Gone(Code.CURSOR_OUTDATED), [change(1)])

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert await following() == [("reload", "new")]
        harness.hub.publish(NEWS)
        assert await following() == [("message_group", "1")]

    harness.run(test)


def test_stream_ends_when_the_token_expires() -> None:
    async def test(following: Any) -> None:
        assert await following() == [("expired", None)]
        assert await following() == []

    Harness(seconds=0.2).run(test)


@pytest.mark.parametrize("hint", [NEWS, CHANGE_OF_USER])
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(Forbidden(Code.USER_NOT_FOUND), "expired"), (Unauthenticated(Code.TOKEN_REVOKED), "cut off")],
)
def test_stream_ends_when_the_user_may_no_longer_read(
    hint: Hint, refusal: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    authenticate = Mock(side_effect=[ANNA, refusal])
    harness = Harness([], [change(1)], authenticate=authenticate)

    async def test(following: Any) -> None:
        harness.hub.publish(hint)
        assert await following() == [("expired", None)]
        assert await following() == []
        harness.stream.log_end()

    with caplog.at_level(logging.INFO):
        harness.run(test)
    [record] = caplog.records
    assert record.__dict__["fields"]["reason"] == reason


def test_user_who_may_no_longer_read_gets_no_stream() -> None:
    harness = Harness(authenticate=Mock(side_effect=Unauthenticated(Code.TOKEN_REVOKED)))
    with pytest.raises(Unauthenticated):
        harness.stream.begin(harness.feed)  # type: ignore[arg-type]
    assert harness.feed.count == 0


def test_stream_goes_on_if_nobody_can_say_whether_the_user_may_read() -> None:
    def fail() -> None:
        raise Unavailable(Code.STORAGE_UNAVAILABLE)

    harness = Harness([], [change(1)], authenticate=fail)

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert await following() == [("message_group", "1")]

    harness.run(test)


def test_stream_ends_during_a_read_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.events.HEARTBEAT_SECONDS", 0.05)
    responds = threading.Event()
    harness = Harness([], responds.wait, [change(1)])

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        assert await following() == [("", None)]  # a heartbeat
        harness.stream.close("server stops")
        assert await following() == []
        responds.set()

    harness.run(test)


def test_error_in_a_read_ends_the_stream() -> None:
    harness = Harness([], LookupError())

    async def test(following: Any) -> None:
        harness.hub.publish(NEWS)
        with pytest.raises(LookupError):
            await following()

    harness.run(test)


def test_closed_stream_frees_its_place_once() -> None:
    harness = Harness()
    deliver = [[].append for _ in range(2)]
    for other in deliver:
        harness.hub.subscribe(ANNA.uuid, other)
    with pytest.raises(TooMany):
        EventStream(harness.hub, harness.threads, ANNA, authenticate=print, expires_at=0, request_id="r")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(harness.stream.close, ["a"] * 8))
    assert harness.hub._streams == {ANNA.uuid: deliver}


class InstantLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None = None) -> Any:
            self.ahead += timeout or 0
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return super().time() + self.ahead


class InstantThreads:
    """Runs each call where it is submitted."""

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call())
        return future


def test_silence_is_never_longer_than_a_heartbeat() -> None:
    harness = Harness(seconds=1e9)
    harness.stream._threads = InstantThreads()  # type: ignore[assignment]
    harness.stream.begin(harness.feed)  # type: ignore[arg-type]

    async def times(chunks: AsyncIterator[bytes]) -> list[float]:
        return [asyncio.get_running_loop().time() async for _ in limited(chunks, 200)]

    async def limited(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield await anext(chunks)

    with asyncio.Runner(loop_factory=InstantLoop) as runner:
        moments = runner.run(times(harness.stream.chunks()))
    pauses = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    assert max(pauses) < HEARTBEAT_SECONDS + 1
    seconds = moments[-1] - moments[0]
    assert seconds / READ_SECONDS < harness.feed.count < seconds / (READ_SECONDS * 0.9) + 2


@pytest.mark.parametrize("is_busy", [False, True])
def test_user_who_is_cut_off_loses_the_stream_within_a_minute_without_a_hint(is_busy: bool) -> None:
    """An idle stream costs one look-up a minute all the same. The client of a busy one sends requests, too."""
    changed_at, lookups = 0.0, []

    def read() -> Account:
        lookups.append(loop.time())
        return Account(ANNA, "everybody", disabled_at=0 if loop.time() >= changed_at else None)

    def authenticate() -> None:
        account = users.find("sub", "anna", read, max_age=READ_SECONDS)
        if account and account.refuses(0):
            raise Unauthenticated(Code.TOKEN_REVOKED)

    async def end(harness: Harness) -> float:
        async for _ in harness.stream.chunks():
            if is_busy:
                users.find("sub", "anna", read)
        return loop.time()

    for seconds in range(900, 1000, 3):
        loop = InstantLoop()
        users = UserCache(None, timer=loop.time)
        lookups.clear()
        began_at = loop.time()
        changed_at = began_at + seconds
        harness = Harness(seconds=1e9, authenticate=authenticate)
        harness.stream._threads = InstantThreads()  # type: ignore[assignment]
        harness.stream.begin(harness.feed)  # type: ignore[arg-type]
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # noqa: B023
            ended_at = runner.run(end(harness))
        assert changed_at < ended_at <= changed_at + 60
        assert is_busy or len(lookups) < (ended_at - began_at) / 54 + 2


def test_events_are_lines_of_json() -> None:
    harness = Harness([change(1)])
    harness.stream.begin(harness.feed)  # type: ignore[arg-type]

    async def two() -> list[bytes]:
        chunks = harness.stream.chunks()
        return [await anext(chunks), await anext(chunks)]

    hello, group = asyncio.run(two())
    data = b'{"user_uuid":"anna","heartbeat_seconds":15}'
    assert hello == b"retry: 1000\nevent: hello\nid: 0\ndata: " + data + b"\n\n"
    first, id_line, data_line, *rest = group.split(b"\n")
    assert (first, id_line, rest) == (b"event: message_group", b"id: 1", [b"", b""])
    assert json.loads(data_line.removeprefix(b"data: "))["message"] == "hi"
