"""Live updates through the real server: what a client of the stream gets, and when."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from queue import Empty
from typing import Any

import psutil
import psycopg
import pytest

from lib.live.hub import Hint
from lib.live.postgres import PostgresRelay
from tests.support.api import JSON, Api, Person, run_api
from tests.support.api_server import ApiServer
from tests.support.clocks import eventually, time_limit
from tests.support.event_stream import Event, Stream, events_in
from tests.support.idle_proxy import IdleProxy
from tests.support.openapi import OPERATIONS
from tests.support.proxy import LossyProxy, Stall
from tests.support.roles import as_role
from tools.local_stack.postgres import Postgres

SOON = 1.0  # below the two seconds between polls; on a busy machine, a message takes a few milliseconds

# The same application with shorter times, so that a test lasts no minute.
QUICK = """
import asgi, lib.users.cache, routes.events
asgi.SEND_SECONDS = 1
lib.users.cache.CACHED_SECONDS = 1
routes.events.HEARTBEAT_SECONDS, routes.events.READ_SECONDS = 0.5, 1
from app import create_app
"""

api = pytest.fixture(scope="module")(run_api)


@pytest.fixture(scope="module")
def server(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with two workers."""
    log = tmp_path_factory.mktemp("events") / "server.log"
    with ApiServer(log, **api.server_variables(), WEB_CONCURRENCY="2") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(api: Api) -> Iterator[LossyProxy]:
    """Leads from the quick server to DynamoDB."""
    with LossyProxy(api.settings.aws_endpoint_url_dynamodb or "") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def quick(api: Api, proxy: LossyProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with one worker and short times."""
    folder = tmp_path_factory.mktemp("quick")
    (folder / "quick.py").write_text(QUICK)
    variables = api.server_variables() | {"WEB_CONCURRENCY": "1", "PYTHONPATH": str(folder)}
    variables["AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"] = api.issuer.url
    variables["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.url
    with ApiServer(folder / "server.log", application="quick:create_app", **variables) as server:
        yield server


def respond(
    server: ApiServer, method: str, path: str, headers: dict[str, str], body: object = None
) -> tuple[HTTPResponse, Any]:
    """The response to a request on a connection of its own, and its JSON."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    content = None if body is None else json.dumps(body).encode()
    connection.request(method, path, content, {**headers, "Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response, json.loads(text) if text else None


def call(server: ApiServer, person: Person, method: str, path: str, body: object = None) -> Any:
    response, result = respond(server, method, path, person.headers, body)
    assert response.status in (200, 204), result
    return result


def send(server: ApiServer, sender: Person, to: Person, text: str = "hi") -> JSON:
    sent: JSON = call(server, sender, "POST", "/api/messages", {"message": text, "handle": to.user.handle})
    return sent


@contextlib.contextmanager
def stream(server: ApiServer | IdleProxy, person: Person, since: str | None = None) -> Iterator[Stream]:
    """A stream after its hello."""
    opened = Stream(server.port, person, since=since)
    try:
        assert opened.next().name == "hello"
        yield opened
    finally:
        opened.close()


def shape(event: Event) -> tuple[str, set[str], bool]:
    return event.name, set(event.data), event.id is not None


def log_lines(server: ApiServer, event: str) -> list[JSON]:
    assert server.log is not None
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def raw_stream(server: ApiServer, person: Person, *, version: str = "1.1", receive_bytes: int = 0) -> socket.socket:
    """A connection that has sent a request for a stream."""
    connection = socket.socket()
    connection.settimeout(10)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect(("127.0.0.1", server.port))
    head = f"GET /api/events HTTP/{version}\r\nHost: x\r\nAuthorization: {person.authorization}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_message_arrives_at_all_streams_of_both_members(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, anna) as first, stream(server, anna) as second, stream(server, bert) as berts:
        for number in range(5):
            sent = send(server, anna, bert, f"hi {number}")
            for person, follower in ((anna, first), (anna, second), (bert, berts)):
                event = follower.next(SOON)
                [row] = call(server, person, "GET", "/api/message_groups")
                assert (event.name, event.data, row["message_uuid"]) == ("message_group", row, sent["uuid"])
        assert berts.events.empty()


def test_read_reaches_both_members(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    group = send(server, anna, bert)["message_group_uuid"]
    with stream(server, anna) as annas, stream(server, bert) as berts:
        call(server, bert, "POST", f"/api/message_groups/{group}/read", {"seq": 1})
        event = Event("read", {"uuid": group, "user_uuid": bert.user.uuid, "read_seq": 1})
        assert (annas.next(SOON), berts.next(SOON)) == (event, event)


def test_typing_reaches_the_other_member_once(api: Api, server: ApiServer) -> None:
    (anna, bert), carl = api.couple(), api.sign_up("carl")
    group = send(server, anna, bert)["message_group_uuid"]
    path = f"/api/message_groups/{group}/typing"
    with stream(server, anna) as annas, stream(server, bert) as berts, stream(server, bert) as berts_too:
        for _ in range(8):  # connections of their own, so that both workers get some
            call(server, anna, "POST", path)
        event = Event("typing", {"uuid": group, "user_uuid": anna.user.uuid})
        assert (berts.next(SOON), berts_too.next(SOON)) == (event, event)
        call(server, bert, "POST", path)
        assert annas.next(SOON).data["user_uuid"] == bert.user.uuid
        for follower in (annas, berts, berts_too):
            with pytest.raises(Empty):
                follower.next(0.1)
    response, codes = respond(server, "POST", path, carl.headers)
    assert (response.status, codes) == (404, ["message_group_not_found"])


def test_block_ends_typing_read_positions_and_wake_ups(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    group = send(server, anna, bert)["message_group_uuid"]
    bert.reply("hello, too", group=group)
    send(server, anna, bert)
    paths = {name: f"/api/message_groups/{group}/{name}" for name in ("typing", "read")}
    bert.block(anna)
    with stream(server, anna) as annas, stream(server, bert) as berts:
        for person in (anna, bert):
            call(server, person, "POST", paths["typing"])
        call(server, bert, "POST", paths["read"], {"seq": 3})  # changes nothing
        call(server, anna, "DELETE", paths["read"])
        assert annas.next(SOON) == Event("read", {"uuid": group, "user_uuid": anna.user.uuid, "read_seq": 1})
        with pytest.raises(Empty):
            berts.next(0.3)
        assert annas.events.empty()
        bert.unblock(anna)
        call(server, bert, "POST", paths["typing"])
        assert annas.next(SOON).name == "typing"


def test_stream_resumes_after_its_last_event(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, bert) as berts:
        send(server, anna, bert)
        seen = [berts.next(SOON).data["seq"]]
        cursor = berts.last_id
    sent = [send(server, anna, bert) for _ in range(3)]
    with stream(server, bert, since=cursor) as berts:
        event = berts.next(SOON)  # the row of the last message: its number shows that there are others
        assert (event.data["message_uuid"], event.data["seq"], seen) == (sent[-1]["uuid"], 4, [1])
        with pytest.raises(Empty):
            berts.next(0.1)
    with stream(server, bert, since=event.id) as berts:
        assert send(server, anna, bert)["uuid"] == berts.next(SOON).data["message_uuid"]


def test_resume_finds_more_changes_than_one_read_takes(api: Api, server: ApiServer) -> None:
    bert = api.sign_up("bert")
    with stream(server, bert) as berts:
        cursor = berts.last_id
    sent = [api.sign_up("anna").write("hi", to=bert)["uuid"] for _ in range(45)]
    received: list[str] = []
    for expected in (7, 45):  # the client leaves in the middle of a read
        with stream(server, bert, since=cursor) as berts:
            while len(received) < expected:
                event = berts.next()
                received.append(event.data["message_uuid"])
                cursor = event.id
            if expected == 45:
                with pytest.raises(Empty):
                    berts.next(0.1)
    assert received == sent


def test_id_of_hello_is_a_feed_cursor(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    follower = Stream(server.port, bert)
    hello = follower.next()
    follower.close()
    assert hello.data == {"user_uuid": bert.user.uuid, "heartbeat_seconds": 15}
    sent = send(server, anna, bert)
    [row] = call(server, bert, "GET", f"/api/message_groups?since={hello.id}")
    response, _ = respond(server, "GET", "/api/message_groups", bert.headers)
    assert row["message_uuid"] == sent["uuid"]
    with stream(server, bert, since=response.headers["Feed-Cursor"]) as later, pytest.raises(Empty):
        later.next(0.1)


def test_example_of_the_contract_has_the_events_of_a_stream(api: Api, server: ApiServer) -> None:
    (operation,) = [operation for operation in OPERATIONS if operation["operationId"] == "streamEvents"]
    text: str = operation["responses"]["200"]["content"]["text/event-stream"]["example"]
    *examples, last = events_in(text.encode().splitlines(keepends=True))
    anna, bert = api.couple()
    group = f"/api/message_groups/{send(server, anna, bert)['message_group_uuid']}"
    follower = Stream(server.port, bert)
    events = [follower.next()]
    call(server, anna, "POST", f"{group}/typing")
    events.append(follower.next())
    send(server, anna, bert)
    events.append(follower.next())
    call(server, bert, "POST", f"{group}/read", {"seq": 2})
    events.append(follower.next())
    follower.close()
    assert last == Event("expired", {})  # as below
    assert [shape(event) for event in examples] == [shape(event) for event in events]
    assert [event.id and event.id.count(".") for event in examples] == [1, None, 1, None]


def test_wrong_cursor_is_refused(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, bert) as berts:
        cursor = berts.last_id or ""
    for wrong in ("", "x", cursor[:-1], "é", "x" * 8192, cursor):
        response, codes = respond(server, "GET", "/api/events", anna.headers | {"Last-Event-ID": wrong})
        assert (response.status, codes) == (422, ["cursor_invalid"]), wrong
    for appended in ("A", "=", "!", "é"):
        response, codes = respond(server, "GET", "/api/events", bert.headers | {"Last-Event-ID": cursor + appended})
        assert (response.status, codes) == (422, ["cursor_invalid"]), appended
    for _ in range(api.settings.streams_per_user + 1):  # a refusal takes no place
        with stream(server, anna):
            pass


def test_response_is_a_stream_that_nobody_stores(api: Api, server: ApiServer) -> None:
    bert = api.sign_up("bert")
    with stream(server, bert) as berts:
        headers = berts.response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert "no-store" in headers["Cache-Control"]
    assert (headers["X-Accel-Buffering"], headers["Transfer-Encoding"]) == ("no", "chunked")
    assert (headers["Content-Length"], headers["Connection"]) == (None, "close")
    response, _ = respond(server, "HEAD", "/api/events", bert.headers)
    assert (response.status, response.headers["Content-Type"]) == (200, headers["Content-Type"])
    response, codes = respond(server, "GET", "/api/events", {})
    assert (response.status, codes) == (401, ["token_missing"])


def test_page_may_send_the_cursor(api: Api, server: ApiServer) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    response, _ = respond(server, "OPTIONS", "/api/events", headers)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "last-event-id" in response.headers["Access-Control-Allow-Headers"].lower()


def test_client_that_cannot_read_chunks_gets_no_stream(api: Api, server: ApiServer) -> None:
    outages = len(log_lines(server, "unavailable"))
    with raw_stream(server, api.sign_up(), version="1.0") as connection:
        response = connection.makefile("rb").read()
    assert response.startswith(b"HTTP/1.1 503 ")
    assert response.endswith(b'["live_updates_unavailable"]\n')
    assert eventually(lambda: [line for line in log_lines(server, "request") if line["status"] == 503])
    assert len(log_lines(server, "unavailable")) == outages


def leave_by_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def leave_by_closing(connection: socket.socket) -> None:
    connection.close()


def leave_half(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [leave_by_reset, leave_by_closing, leave_half])
def test_eleventh_stream_waits_until_another_leaves(api: Api, quick: ApiServer, leave: Any) -> None:
    bert = api.sign_up("bert")
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(raw_stream(quick, bert)) for _ in range(api.settings.streams_per_user)]
        for connection in streams:
            assert connection.recv(12) == b"HTTP/1.1 200"
        response, codes = respond(quick, "GET", "/api/events", bert.headers)
        assert (response.status, codes) == (429, ["too_many_streams"])
        assert response.headers["Retry-After"] == "1"
        with stream(quick, api.sign_up("anna")):  # another user
            pass
        leave(streams[0])
        left_at = time.monotonic()
        while stack.enter_context(raw_stream(quick, bert)).recv(12) != b"HTTP/1.1 200":
            assert time.monotonic() < left_at + 0.4, "earlier than by a heartbeat"


def test_client_that_has_left_before_the_response_takes_no_place(api: Api, quick: ApiServer) -> None:
    bert = api.sign_up("bert")
    for _ in range(api.settings.streams_per_user + 1):
        with raw_stream(quick, bert) as connection:
            connection.shutdown(socket.SHUT_WR)
            with time_limit(0.4), contextlib.suppress(ConnectionResetError), connection.makefile("rb") as received:
                assert received.read(12) == b"HTTP/1.1 200"
                received.read()


def test_heartbeats_keep_a_connection_through_a_proxy(api: Api, quick: ApiServer) -> None:
    anna, bert = api.couple()
    with IdleProxy(quick.port, seconds=1) as proxy, stream(proxy, bert) as berts:
        assert not berts.ended.wait(2.5)
        sent = send(quick, anna, bert)
        assert berts.next(SOON).data["message_uuid"] == sent["uuid"]


def test_stream_ends_with_its_token(api: Api, server: ApiServer) -> None:
    bert = api.sign_up("bert")
    soon = int(time.time()) + 3
    headers = {"Authorization": api.issuer.authorization(f"sub-{bert.user.uuid}", exp=soon)}
    follower = Stream(server.port, Person(bert.user, bert.client, headers["Authorization"]))
    assert [follower.next().name, follower.next().name] == ["hello", "expired"]
    assert soon <= time.time() < soon + SOON
    assert follower.ended.wait(SOON)
    follower.close()
    assert respond(server, "GET", "/api/events", headers)[1] == ["token_expired"]


def test_stream_ends_when_its_user_is_gone(api: Api, quick: ApiServer) -> None:
    bert = api.sign_up("bert")
    with stream(quick, bert) as berts:
        api.execute("DELETE FROM users WHERE uuid = %s", bert.user.uuid)
        assert berts.next() == Event("expired", {})
        assert berts.ended.wait(SOON)


def test_slow_reader_is_cut_off_alone(api: Api, quick: ApiServer) -> None:
    anna, bert = api.couple()
    relay = PostgresRelay(as_role(api.database_url, "cruddur_message_stream"))
    worker = psutil.Process(quick.pid).children()[0]
    with raw_stream(quick, bert, receive_bytes=4096) as slow, stream(quick, bert) as berts:
        slow.recv(1)
        eventually(lambda: log_lines(quick, "live_connected"))
        memory = worker.memory_info().rss
        for number in range(500):
            data = {"uuid": str(number), "user_uuid": anna.user.uuid, "read_seq": 1, "padding": "x" * 6000}
            relay.notify([Hint("read", (bert.user.uuid,), data)])
        assert [int(berts.next().data["uuid"]) for _ in range(500)] == list(range(500))
        eventually(lambda: any(line["reason"] == "client does not read" for line in log_lines(quick, "stream_ended")))
        assert send(quick, anna, bert)["uuid"] == berts.next(SOON).data["message_uuid"]
        assert not slow.makefile("rb").read().endswith(b"\r\n0\r\n\r\n")
        assert worker.memory_info().rss < memory + 8 * 2**20


def test_half_open_connections_stop_no_stream(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, bert) as berts, contextlib.ExitStack() as stack:
        for number in range(2000):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            if number % 2:
                connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ")
            if number % 200 == 0:
                assert send(server, anna, bert)["uuid"] == berts.next(SOON).data["message_uuid"]
        with stream(server, anna) as annas:
            assert send(server, bert, anna)["uuid"] == annas.next(SOON).data["message_uuid"]


def test_streams_end_when_the_server_stops(api: Api, quick: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(quick, bert) as berts:
        assert quick.pid is not None
        os.kill(quick.pid, signal.SIGTERM)
        assert berts.ended.wait(SOON)
        assert not berts.is_broken
        cursor = berts.last_id
    quick.stop()
    quick.start()
    sent = send(quick, anna, bert)
    with stream(quick, bert, since=cursor) as berts:
        assert berts.next(SOON).data["message_uuid"] == sent["uuid"]


def test_restart_ends_the_streams_of_the_old_workers(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, bert) as berts:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGUSR2)
        assert berts.ended.wait(20)
        assert not berts.is_broken
    with time_limit(10), contextlib.ExitStack() as stack:
        cursor = berts.last_id
        while berts.ended.wait(0.5):  # again, if the other old worker accepted the connection
            berts = stack.enter_context(stream(server, bert, since=cursor))
        sent = send(server, anna, bert)
        assert berts.next(5).data["message_uuid"] == sent["uuid"]


def test_lost_connection_to_postgres_costs_time_only(api: Api, server: ApiServer) -> None:
    anna, bert = api.couple()
    with stream(server, anna) as annas, stream(server, bert) as berts:
        eventually(lambda: log_lines(server, "live_connected"))
        with psycopg.connect(api.database_url) as connection:
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
            )
            assert connection.execute(query).fetchall()
        connected = len(log_lines(server, "live_connected"))
        for number in range(4):
            sent = send(server, anna, bert)
            assert [follower.next(3).data["message_uuid"] for follower in (annas, berts)] == [sent["uuid"]] * 2, number
            time.sleep(0.3)
        assert log_lines(server, "live_disconnected")[-1]["reason"] in ("AdminShutdown", "OperationalError")
        eventually(lambda: len(log_lines(server, "live_connected")) > connected)
        sent = send(server, anna, bert)
        assert [follower.next(SOON).data["message_uuid"] for follower in (annas, berts)] == [sent["uuid"]] * 2


def test_stream_outlives_postgres(api: Api, quick: ApiServer, postgres_server: Postgres) -> None:
    anna, bert = api.couple()
    group = send(quick, anna, bert)["message_group_uuid"]
    body = {"message": "hi", "message_group_uuid": group}
    with stream(quick, bert) as berts:
        postgres_server.stop()
        try:
            eventually(lambda: log_lines(quick, "live_disconnected"))
            for _ in range(3):
                began = time.monotonic()
                response, sent = respond(quick, "POST", "/api/messages", anna.headers, body)
                if response.status == 200:  # the server remembers the sender for a second
                    assert berts.next(SOON).data["message_uuid"] == sent["uuid"]
                    assert time.monotonic() < began + SOON
        finally:
            postgres_server.start()
        connected = len(log_lines(quick, "live_connected"))
        eventually(lambda: len(log_lines(quick, "live_connected")) > connected)
        sent = send(quick, anna, bert)
        assert berts.next(SOON).data["message_uuid"] == sent["uuid"]


def test_hanging_dynamodb_costs_time_only(api: Api, server: ApiServer, quick: ApiServer, proxy: LossyProxy) -> None:
    anna, berts = api.sign_up("anna"), [api.sign_up("bert") for _ in range(12)]
    with contextlib.ExitStack() as stack:
        idle_proxy = stack.enter_context(IdleProxy(quick.port, seconds=1.5))
        streams = [stack.enter_context(stream(idle_proxy, bert)) for bert in berts]
        proxy.choose = lambda operation: Stall.SILENT
        stack.callback(setattr, proxy, "choose", lambda operation: None)
        sent = [send(server, anna, bert)["uuid"] for bert in berts]
        for _ in range(12):
            with time_limit(0.5):  # without DynamoDB, and on another connection than the streams
                respond(quick, "GET", f"/api/users/@{anna.user.handle}/short", anna.headers)
            time.sleep(0.15)
        assert not any(follower.ended.is_set() for follower in streams)
        proxy.choose = lambda operation: None
        assert [follower.next(10).data["message_uuid"] for follower in streams] == sent
        [follower] = streams[:1]
        assert send(server, anna, berts[0])["uuid"] == follower.next(SOON).data["message_uuid"]


def test_slow_requests_do_not_delay_streams(api: Api, server: ApiServer, quick: ApiServer) -> None:
    anna, bert = api.couple()
    newcomers = [api.issuer.authorization(f"newcomer {number}") for number in range(30)]
    for _ in range(16):  # both workers of the first server, and the second server, shall have the public keys
        send(server, anna, bert)
    with contextlib.ExitStack() as stack:
        berts = stack.enter_context(stream(quick, bert))
        stack.callback(api.issuer.responding.set)
        api.issuer.responding.clear()  # Cognito hangs
        for newcomer in newcomers:  # more than the server's threads
            connection = HTTPConnection("127.0.0.1", quick.port)
            stack.callback(connection.close)
            connection.request("GET", "/api/events", headers={"Authorization": newcomer})
        for _ in range(5):
            assert send(server, anna, bert)["uuid"] == berts.next(SOON).data["message_uuid"]


def test_streams_that_come_and_go_leave_nothing(api: Api, quick: ApiServer) -> None:
    bert = api.sign_up("bert")
    worker = psutil.Process(quick.pid).children()[0]

    def come_and_go() -> tuple[int, int, int]:
        for number in range(150):
            with raw_stream(quick, bert) as connection:
                if number % 2:
                    connection.recv(12)
        eventually(lambda: not [c for c in worker.net_connections("tcp") if c.laddr.port == quick.port and c.raddr])
        return worker.num_threads(), worker.num_fds(), worker.memory_info().rss

    threads, descriptors, memory = come_and_go()
    threads_later, descriptors_later, memory_later = come_and_go()
    assert (threads_later, descriptors_later) == (threads, descriptors)
    assert memory_later < memory + 2**20


def test_log_tells_when_and_why_a_stream_ended(api: Api, server: ApiServer) -> None:
    bert = api.sign_up("bert")
    with stream(server, bert) as berts:
        request_id = berts.response.headers["X-Request-Id"]

    def lines(event: str) -> list[JSON]:
        return [line for line in log_lines(server, event) if line["request_id"] == request_id]

    [ended] = eventually(lambda: lines("stream_ended"))
    [began] = lines("request")
    assert (began["route"], began["status"], began["user_uuid"]) == ("/api/events", 200, bert.user.uuid)
    assert (ended["reason"], ended["user_uuid"], ended["seconds"] < 5) == ("client left", bert.user.uuid, True)
