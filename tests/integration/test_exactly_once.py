"""Sends that are repeated until they are acknowledged, while the API is killed and the engine's connections are cut."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psycopg
import pytest

from lib.db import Database
from lib.ddb.schema import create_table
from lib.local.processes import LOOPBACK
from lib.users import User
from tests.api_server import ApiServer
from tests.integration.api import Api, ok, refused, run_api
from tests.proxy import Fault, Proxy
from tests.stores import ANNA, BERT, CARL, TableContents
from tests.tokens import TokenIssuer

SEED = 20261121
SECONDS = 9.0  # of faults; what is under way then is brought to its end
DEADLINE_SECONDS = 60.0
PAIRS = ((ANNA, BERT), (BERT, ANNA), (ANNA, CARL), (CARL, ANNA), (BERT, CARL), (CARL, BERT))

api = pytest.fixture(scope="module")(run_api)


class Server(ApiServer):
    """The API on an engine behind a proxy, with two workers; it stops by SIGKILL alone."""

    def __init__(self, log: Path, **variables: str) -> None:
        super().__init__(
            log,
            stop_signal=signal.SIGKILL,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_COGNITO_USER_POOL_ID="us-east-1_Test00001",
            AWS_COGNITO_USER_POOL_CLIENT_ID=TokenIssuer.client_id,
            **variables,
        )

    def kill(self) -> None:
        """Kill all of it, and start it again."""
        self.stop()
        self.start()

    def kill_worker(self, chance: random.Random) -> None:
        """Kill one worker, which its parent replaces."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if workers:
            os.kill(int(chance.choice(workers)), signal.SIGKILL)


@dataclass
class Client:
    """Writes from one user to another, each message under a key of its own, again until it is acknowledged."""

    port: int
    sender: User
    receiver: User
    authorization: str
    acknowledged: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tries: int = 0
    replays: int = 0

    def write_until(self, stop: threading.Event) -> None:
        """Every fifth message is sent twice at the same time."""
        with ThreadPoolExecutor(2) as threads:
            while not stop.is_set():
                number = len(self.acknowledged)
                text, key = f"{self.sender.handle} to {self.receiver.handle} {number}", str(uuid.uuid4())
                at_once = 2 if number % 5 == 0 else 1
                sent = [threads.submit(self._write, text, key) for _ in range(at_once)]
                self.acknowledged[text] = [each.result() for each in sent]

    def _write(self, text: str, key: str) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        body = json.dumps({"message": text, "handle": self.receiver.handle})
        headers = {
            "Authorization": self.authorization,
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        while time.monotonic() < deadline:
            self.tries += 1
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=20)
            try:
                connection.request("POST", "/api/messages", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)  # there is no server right now
                continue
            finally:
                connection.close()
            if response.status == 200:
                self.replays += response.headers.get("Idempotency-Replayed") == "true"
                return answer
            assert response.status == 503, (response.status, answer)
            time.sleep(0.05)
        raise AssertionError(f"{text!r} was never acknowledged")


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with TokenIssuer() as issuer:
        yield issuer


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    url = new_database()
    with Database(url) as database:
        database.script("db/schema.sql")
    with psycopg.connect(url) as connection:
        for user in (ANNA, BERT, CARL):
            connection.execute(
                "INSERT INTO users (uuid, handle, display_name, email, cognito_user_id) VALUES (%s, %s, %s, %s, %s)",
                (user.uuid, user.handle, user.display_name, f"{user.handle}@example.com", f"sub-{user.uuid}"),
            )
    return url


def test_every_message_is_there_once_whatever_is_killed_and_cut(
    fresh_dynamodb_url: str, database_url: str, issuer: TokenIssuer, tmp_path: Path
) -> None:
    engine = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url)
    table = f"messages-{uuid.uuid4().hex}"
    create_table(engine, table)
    chance, killed, stop = random.Random(SEED), 0, threading.Event()  # noqa: S311
    with (
        Proxy(urlsplit(fresh_dynamodb_url).port or 0, seed=SEED) as proxy,
        Server(
            tmp_path / "api.log",
            DATABASE_URL=database_url,
            DDB_TABLE=table,
            AWS_ENDPOINT_URL_DYNAMODB=proxy.url,
            COGNITO_JWKS_URL=issuer.jwks_url,
        ) as server,
    ):
        clients = [
            Client(server.port, sender, receiver, issuer.authorization(f"sub-{sender.uuid}"))
            for sender, receiver in PAIRS
        ]
        with ThreadPoolExecutor(len(clients)) as threads:
            writing = [threads.submit(client.write_until, stop) for client in clients]
            try:
                proxy.odds = 0.02
                ends_at = time.monotonic() + SECONDS
                while time.monotonic() < ends_at:
                    time.sleep(chance.uniform(0.1, 0.6))
                    fault = chance.choice([server.kill, lambda: server.kill_worker(chance), proxy.cut_all])
                    fault()
                    killed += fault != proxy.cut_all
            finally:
                proxy.odds = 0.0
                stop.set()
            for each in writing:
                each.result()

    print(f"seed {SEED}: {killed} kills, {dict(proxy.counts)}")  # noqa: T201 - shown when the test fails
    check(TableContents(engine, table), clients)
    assert killed >= 3
    assert set(proxy.counts) == set(Fault)
    assert min(proxy.counts.values()) > 0
    assert sum(client.replays for client in clients) > 0
    engine.delete_table(TableName=table)


def check(contents: TableContents, clients: list[Client]) -> None:
    """What was acknowledged is what is stored, once, in an unbroken conversation a pair."""
    groups: dict[frozenset[str], set[str]] = {}
    texts: dict[str, list[str]] = {}
    for client in clients:
        for text, acknowledgements in client.acknowledged.items():
            first, *others = acknowledgements
            assert all(other == first for other in others)
            group = first["message_group_uuid"]
            groups.setdefault(frozenset((client.sender.uuid, client.receiver.uuid)), set()).add(group)
            texts.setdefault(group, []).append(text)
    assert [len(found) for found in groups.values()] == [1] * 3
    items = contents.items()
    contents.items = lambda: items  # type: ignore[method-assign]  # read once: there are thousands
    for group, written in texts.items():
        contents.check(group, written)
        stored = {message.text: message for message in contents.messages(group)}
        for client in clients:
            for text, (answer, *_) in client.acknowledged.items():
                if answer["message_group_uuid"] == group:
                    message = stored[text]
                    told = (answer["uuid"], answer["created_at"], answer["seq"])
                    assert told == (message.uuid, message.created_at, message.seq)


@pytest.mark.parametrize("with_key", [True, False])
def test_a_message_whose_answers_all_were_lost_is_there_twice_only_without_a_key(api: Api, with_key: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("before", to=bert)["message_group_uuid"]
    headers = {**anna.headers, **({"Idempotency-Key": "a key"} if with_key else {})}
    body = {"message": "once?", "message_group_uuid": group}
    endpoint = urlsplit(str(api.settings.aws_endpoint_url_dynamodb))
    with Proxy(endpoint.port or 0) as proxy, api.variant(aws_endpoint_url_dynamodb=proxy.url) as behind:
        client = behind.app.test_client()
        proxy.lose_answers_to = b"TransactWriteItems"
        assert refused(client.post("/api/messages", json=body, headers=headers)) == (503, ["storage_unavailable"])
        assert proxy.counts[Fault.AFTER] == 3  # boto3's tries, under one ClientRequestToken
        proxy.lose_answers_to = None
        again = client.post("/api/messages", json=body, headers=headers)

    assert (ok(again)["seq"], "Idempotency-Replayed" in again.headers) == ((2, True) if with_key else (3, False))
    assert [message["message"] for message in bert.messages(group)] == ["once?"] * (1 if with_key else 2) + ["before"]
