"""Clients follow their conversations while everything between them and the table fails at random.

Two processes send messages under Idempotency-Keys. Meanwhile workers and servers are killed, Postgres, its connections
and those to DynamoDB break, and the clients drop their streams. At the end each client has each message once. In stream
mode the stream worker is killed too. A run prints its seed; FAULT_SEED repeats its faults. `-m chaos` runs ten minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest

from lib.config import ROOT
from lib.ddb.items import Message
from lib.ddb.schema import create_table
from lib.postgres.database import create_database
from lib.users.accounts import User
from tests.support import chaos_senders
from tests.support.api_server import ApiServer
from tests.support.clocks import eventually
from tests.support.follower import Follower
from tests.support.proxy import Cut, LossyProxy
from tests.support.stores import TableContents
from tests.support.stream_worker import stream_worker
from tests.support.tokens import TokenIssuer
from tests.support.users import add_users
from tools.local_stack.environment import CREDENTIALS, REGION
from tools.local_stack.postgres import Postgres
from tools.local_stack.processes import Child
from tools.postgres.migrations import migrate

SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 2**32)  # noqa: S311
ODDS = 0.1  # of a cut connection, for each request of the API to the engine
PEOPLE = [User(str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))), f"user{n}", f"User {n}") for n in range(20)]
FOLLOWED = PEOPLE[:4]
STREAMS = 2  # of each followed user
REPLAY_SHARE = 0.1  # of the time that the records took to come, for a new stream worker to read them
DELIVERY_SECONDS = 60  # at the end; without a hint, a stream reads its feed after 33 s
SENDERS, TALKS = 2, 3  # processes, and conversations at a time in each

BROKEN_CONNECTIONS = {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "IncompleteRead"}

JSON = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """A conversation in the table: its members' uuids, and its messages by time."""

    members: Collection[str]
    messages: list[Message]


@pytest.fixture
def postgres(engine_folder: Path) -> Iterator[Postgres]:
    """A server of this test alone, which stops without a word to its clients."""
    name = f"postgres-{uuid.uuid4().hex[:8]}"
    with Postgres(engine_folder / name, log=engine_folder / f"{name}.log", durable=False) as server:
        server.stop_signal = signal.SIGQUIT
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    url = postgres.url("chaos")
    create_database(url)
    migrate(url)
    add_users(url, *PEOPLE)
    return url


class System:
    """Everything that fails: the server, the proxy in front of the engine, Postgres, the stream worker, the clients.

    `counts` has the faults by name. A fault that lasts ends when the next of its kind comes, or when it is due.
    """

    def __init__(
        self,
        server: ApiServer,
        proxy: LossyProxy,
        postgres: Postgres,
        database_url: str,
        worker: Child | None,
        followers: list[Follower],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._server, self._proxy, self._postgres, self._worker = server, proxy, postgres, worker
        self._database_url = database_url
        self._followers = followers
        self._chance = random.Random(SEED)  # noqa: S311
        self._repairs: dict[str, tuple[float, Callable[[], None]]] = {}
        self._began_at = self._worker_began_at = time.monotonic()

    def fail(self, seconds: float) -> None:
        """Break one thing after another, for some time; then repair everything."""
        end = time.monotonic() + seconds
        faults = [self.kill_api_worker, self.end_listeners, self.end_connections, self.cut_engine] * 2
        faults += [self.drop_clients, self.reset_clients, self.slow_clients] * 2
        faults += [self.kill_server, self.restart_server, self.freeze_server]  # these take longer
        faults += [self.stop_postgres, self.freeze_postgres, self.lose_responses]
        if self._worker:
            faults.append(self.kill_stream_worker)
        while time.monotonic() < end:
            self._chance.shuffle(faults)
            for fault in faults:
                if fault == self.kill_stream_worker and not self._has_read_stream():
                    continue
                fault()
                self.counts[fault.__name__] += 1
                wake_at = time.monotonic() + self._chance.uniform(0.1, 1)
                while time.monotonic() < min(wake_at, end):
                    self._repair(lambda due_at: due_at < time.monotonic())
                    time.sleep(0.05)
                for follower in self._followers:
                    follower.raise_if_failed()
        if self._worker:
            self.kill_stream_worker()  # the new one also updates what this one gave up
        self._repair(lambda due_at: True)
        self._server.raise_if_dead()

    def kill_api_worker(self) -> None:
        if workers := psutil.Process(self._server.pid).children():
            self._chance.choice(workers).kill()

    def kill_server(self) -> None:
        self._server.stop()
        self._server.start()

    def restart_server(self) -> None:
        psutil.Process(self._server.pid).send_signal(signal.SIGUSR2)

    def freeze_server(self) -> None:
        server = psutil.Process(self._server.pid)
        processes = server.children()
        if self._chance.random() < 0.5:
            processes = self._chance.sample(processes, min(1, len(processes)))
        else:
            processes.append(server)
        self._freeze("server", processes)

    def stop_postgres(self) -> None:
        self._repair_now("postgres")
        self._postgres.stop()
        self._repair_later("postgres", 4, self._postgres.start)

    def freeze_postgres(self) -> None:
        self._repair_now("postgres")
        server = psutil.Process(self._postgres.pid)
        self._freeze("postgres", [server, *server.children()])

    def end_listeners(self) -> None:
        self._end_backends("query LIKE 'LISTEN%'")

    def end_connections(self) -> None:
        self._end_backends("random() < 0.5")

    def cut_engine(self) -> None:
        self._proxy.cut_all()

    def lose_responses(self) -> None:
        chance = random.Random(self._chance.random())  # noqa: S311
        self._proxy.choose = lambda operation: chance.choice(list(Cut)) if chance.random() < ODDS else None
        self._repair_later("proxy", 3, self._forward_all)

    def drop_clients(self) -> None:
        for follower in self._some_followers():
            follower.drop(reset=False)

    def reset_clients(self) -> None:
        for follower in self._some_followers():
            follower.drop(reset=True)

    def slow_clients(self) -> None:
        for follower in self._some_followers():
            follower.pause(self._chance.uniform(1, 12))

    def kill_stream_worker(self) -> None:
        assert self._worker
        self._repair_now("stream worker")
        self._worker.raise_if_dead()
        self._worker.stop()
        self._repair_later("stream worker", self._chance.choice([1, 8]), self._start_stream_worker)

    def _start_stream_worker(self) -> None:
        assert self._worker
        self._worker.start()
        self._worker_began_at = time.monotonic()

    def _has_read_stream(self) -> bool:
        """Whether the stream worker had the time to read the whole stream again, as it does at its start."""
        now = time.monotonic()
        return now - self._worker_began_at > REPLAY_SHARE * (now - self._began_at)

    def _some_followers(self) -> list[Follower]:
        return self._chance.sample(self._followers, self._chance.randint(1, len(self._followers)))

    def _forward_all(self) -> None:
        self._proxy.choose = lambda operation: None

    def _end_backends(self, condition: str) -> None:
        self._repair_now("postgres")
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
            )

    def _freeze(self, what: str, processes: list[psutil.Process]) -> None:
        self._repair_now(what)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()

        def resume() -> None:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

        self._repair_later(what, 3, resume)

    def _repair_later(self, what: str, longest: float, repair: Callable[[], None]) -> None:
        self._repairs[what] = time.monotonic() + self._chance.uniform(0.5, longest), repair

    def _repair_now(self, what: str) -> None:
        if what in self._repairs:
            self._repairs.pop(what)[1]()

    def _repair(self, is_due: Callable[[float], bool]) -> None:
        for what in [what for what, (due_at, _) in self._repairs.items() if is_due(due_at)]:
            self._repair_now(what)


class Senders:
    """The processes that send; `messages` are the acknowledged ones, with their texts, after `finish`."""

    def __init__(self, port: int, seconds: float, tokens: dict[str, str]) -> None:
        self.messages: list[JSON] = []
        self.hints: list[tuple[float, str]] = []
        couples = [pair for pair in itertools.combinations(PEOPLE, 2) if pair[0] in FOLLOWED]
        random.Random(SEED).shuffle(couples)  # noqa: S311
        talks = [couples[n :: SENDERS * TALKS] for n in range(SENDERS * TALKS)]
        plans = [
            chaos_senders.plan(port, seconds, str(n), talks[n * TALKS : (n + 1) * TALKS], tokens)
            for n in range(SENDERS)
        ]
        command = [sys.executable, "-m", "tests.support.chaos_senders"]
        self._processes = [
            subprocess.Popen([*command, plan], cwd=ROOT, stdout=subprocess.PIPE, text=True) for plan in plans
        ]

    def finish(self) -> None:
        for process in self._processes:
            results = json.loads(process.communicate(timeout=90)[0])
            assert process.returncode == 0
            self.messages += results["messages"]
            self.hints += results["hints"]

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("seconds", [60, pytest.param(600, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("mode", ["inline", "stream"])
def test_followers_get_each_message_once_despite_faults(
    mode: str, seconds: int, fresh_dynamodb_url: str, postgres: Postgres, database_url: str, tmp_path: Path
) -> None:
    print(f"FAULT_SEED={SEED}")  # noqa: T201 - shown when the test fails
    engine = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url)
    table = f"messages-{uuid.uuid4().hex}"
    create_table(engine, table)
    with ExitStack() as stack:
        issuer = stack.enter_context(TokenIssuer())
        proxy = stack.enter_context(LossyProxy(fresh_dynamodb_url, seed=SEED))
        variables = {
            **CREDENTIALS,
            "DATABASE_URL": database_url,
            "AWS_DEFAULT_REGION": REGION,
            "DDB_TABLE": table,
            "AWS_ENDPOINT_URL_DYNAMODB": proxy.url,
        }
        server = stack.enter_context(api_server(tmp_path / "api.log", issuer, mode, variables))
        worker = None
        if mode == "stream":
            worker = stack.enter_context(stream_worker(tmp_path, variables))
        tokens = {user.uuid: issuer.authorization(f"sub-{user.uuid}") for user in PEOPLE}
        followers = [
            stack.enter_context(Follower(server.port, user, tokens[user.uuid], seed=SEED + n))
            for n, user in enumerate(FOLLOWED * STREAMS)
        ]
        senders = stack.enter_context(Senders(server.port, seconds, tokens))
        system = System(server, proxy, postgres, database_url, worker, followers)
        system.fail(seconds)
        senders.finish()
        patience = DELIVERY_SECONDS + REPLAY_SHARE * seconds
        stored = wait_for_numbers(TableContents(engine, table), senders.messages, patience)
        eventually(lambda: all(is_complete(follower, stored) for follower in followers), seconds=DELIVERY_SECONDS)
        time.sleep(1)  # for what should not come
    counts = [follower.counts for follower in followers]
    print(len(senders.messages), "messages", system.counts, *counts, sep="\n")  # noqa: T201
    print(Counter(outcome for _, outcome in senders.hints), max(senders.hints))  # noqa: T201
    check_table(stored, senders.messages)
    for follower in followers:
        follower.raise_if_failed()
        check_follower(follower, stored, mode)
    check_hints(senders.hints, sum(counts, Counter()))
    assert all(system.counts[name] for name in ("kill_api_worker", "kill_server", "stop_postgres", "end_listeners"))
    engine.delete_table(TableName=table)


def api_server(log: Path, issuer: TokenIssuer, mode: str, variables: dict[str, str]) -> ApiServer:
    return ApiServer(
        log,
        stop_signal=signal.SIGKILL,
        WEB_CONCURRENCY="2",
        GROUP_UPDATES=mode,
        AWS_COGNITO_USER_POOL_ID="us-east-1_Test00001",
        AWS_COGNITO_USER_POOL_CLIENT_ID=issuer.client_id,
        COGNITO_JWKS_URL=issuer.jwks_url,
        **variables,
    )


def wait_for_numbers(contents: TableContents, sent: list[JSON], seconds: float) -> dict[str, Stored]:
    """The conversations by uuid, when all messages have a `seq`."""
    stored: dict[str, Stored] = {}

    def are_numbered() -> bool:
        for group in {body["message_group_uuid"] for body in sent}:
            stored[group] = Stored(contents.conversation(group).members.keys(), contents.messages(group))
        return all(message.seq for conversation in stored.values() for message in conversation.messages)

    assert eventually(are_numbered, seconds=seconds)
    return stored


def own_conversations(follower: Follower, stored: dict[str, Stored]) -> dict[str, Stored]:
    return {group: stored[group] for group in stored if follower.user.uuid in stored[group].members}


def is_complete(follower: Follower, stored: dict[str, Stored]) -> bool:
    """Whether the follower has the last row of each conversation, and as many messages as the table."""
    rows, messages = follower.rows, follower.messages
    return all(
        group in rows and rows[group]["seq"] == len(messages[group]) == len(own.messages)
        for group, own in own_conversations(follower, stored).items()
    )


def check_table(stored: dict[str, Stored], sent: list[JSON]) -> None:
    """Assert that the table has each acknowledged message once, and no other, and that the numbers have no gaps."""
    in_table = [
        (group, message.uuid, message.text, message.created_at)
        for group, conversation in stored.items()
        for message in conversation.messages
    ]
    fields = ("message_group_uuid", "uuid", "text", "created_at")
    assert sorted(in_table) == sorted(tuple(body[field] for field in fields) for body in sent)
    for conversation in stored.values():
        seqs = [message.seq for message in conversation.messages]
        assert sorted(seqs) == list(range(1, len(seqs) + 1))


def check_follower(follower: Follower, stored: dict[str, Stored], mode: str) -> None:
    """Assert that the follower got each update and each message of its user's conversations once, and in order."""
    own = own_conversations(follower, stored)
    assert follower.rows.keys() == follower.messages.keys() == own.keys()
    for group, conversation in own.items():
        messages = {message.uuid: message for message in conversation.messages}
        updates = [row for row in follower.updates if row["uuid"] == group]
        seqs = [row["seq"] for row in updates]
        assert seqs == sorted(set(seqs)), (follower.user.handle, group)
        assert follower.rows[group]["seq"] == len(messages), (follower.user.handle, group)
        for row in updates:
            message = messages[row["message_uuid"]]
            assert (row["message"], row["sender_uuid"]) == (message.text, message.sender.uuid)
            # A late message of stream mode raises the number of a row that shows a later message.
            assert row["seq"] == message.seq or (mode == "stream" and row["seq"] > message.seq)
        received = follower.messages[group]
        if mode == "stream":
            received = sorted(received, key=lambda message: message["created_at"])
        assert [(message["uuid"], message["message"], message["user_uuid"]) for message in received] == [
            (message.uuid, message.text, message.sender.uuid) for message in messages.values()
        ]
    if mode == "inline":
        assert not {"reload", "status 410", "loaded all messages"} & follower.counts.keys()


def check_hints(hints: list[tuple[float, str]], counts: Counter[str]) -> None:
    """Assert that no request to type or read hung, and that the streams had such events."""
    assert {outcome for _, outcome in hints} <= {"200", "204", "503", *BROKEN_CONNECTIONS}
    assert counts["typing"]
    assert counts["read"]
