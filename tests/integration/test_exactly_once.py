"""Clients repeat their sends until the API acknowledges them, while it is killed and its connections are cut."""

from __future__ import annotations

import functools
import itertools
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from lib.ddb.schema import create_table
from lib.users.accounts import User
from routes.messages import _message as message_json
from tests.integration.test_concurrency import Snapshot
from tests.support.api import Api, ok, refused, run_api
from tests.support.api_server import ApiServer
from tests.support.proxy import Cut, LossyProxy
from tests.support.retrying import Outgoing, RetryingClient
from tests.support.tokens import TokenIssuer
from tests.support.users import add_users
from tools.local_stack.environment import CREDENTIALS
from tools.postgres.migrations import migrate

# The seed of the schedule. The machine decides which requests the faults meet.
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 2**32)  # noqa: S311
ODDS = 0.1  # of a cut connection, for each request of the API to the engine
COUPLES = 6
KILLS = 2
PEOPLE = [User(str(uuid.uuid5(uuid.NAMESPACE_OID, str(n))), f"user{n}", f"User {n}") for n in range(60)]

api = pytest.fixture(scope="module")(run_api)


class Server(ApiServer):
    """The API with two workers. It stops by SIGKILL alone; `killed` counts the killed servers and workers."""

    def __init__(self, log: Path, **variables: str) -> None:
        self.killed: Counter[str] = Counter()
        super().__init__(
            log,
            stop_signal=signal.SIGKILL,
            WEB_CONCURRENCY="2",
            AWS_COGNITO_USER_POOL_ID="us-east-1_Test00001",
            AWS_COGNITO_USER_POOL_CLIENT_ID=TokenIssuer.client_id,
            **CREDENTIALS,
            **variables,
        )

    def kill(self) -> None:
        """Kill the server and its workers, and start them again."""
        self.raise_if_dead()
        self.stop()
        self.killed["server"] += 1
        self.start()

    def kill_worker(self) -> None:
        """Kill one worker; the server replaces it."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if workers:
            os.kill(int(workers[0]), signal.SIGKILL)
            self.killed["worker"] += 1


@contextmanager
def serve(
    engine_url: str, table: str, database_url: str, log: Path
) -> Iterator[tuple[Server, LossyProxy, RetryingClient]]:
    """The server, on the engine behind a proxy; at the end, no request to the engine is under way."""
    with TokenIssuer() as issuer, LossyProxy(engine_url, seed=SEED) as proxy:
        variables = {"DATABASE_URL": database_url, "DDB_TABLE": table, "COGNITO_JWKS_URL": issuer.jwks_url}
        with Server(log, AWS_ENDPOINT_URL_DYNAMODB=proxy.url, **variables) as server:
            authorization = functools.cache(lambda user: issuer.authorization(f"sub-{user.uuid}"))
            yield server, proxy, RetryingClient(server.port, authorization)


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    url = new_database()
    migrate(url)
    add_users(url, *PEOPLE)
    return url


def converse(
    client: RetryingClient, couples: Iterable[tuple[User, User]], busy_group: str, stop: threading.Event
) -> None:
    """One couple after another: both send a first message at once, then more in their conversation.

    Some messages go out several times at once, so that both workers have them. Meanwhile the first two of PEOPLE write
    to their own conversation, the busy one.
    """
    busy = {"message_group_uuid": busy_group}
    for anna, bert in couples:
        if stop.is_set():
            return
        ours, theirs = f"{anna.handle} to {bert.handle}", f"{bert.handle} to {anna.handle}"
        hello = Outgoing(anna, ours, {"handle": bert.handle})
        first = client.at_once(hello, hello, Outgoing(bert, theirs, {"handle": anna.handle}))
        own = {"message_group_uuid": first.body["message_group_uuid"]}
        for user in PEOPLE[:2]:
            on = Outgoing(anna, f"{ours}, as {user.handle} writes", own)
            back = Outgoing(bert, f"{theirs}, as {user.handle} writes", own)
            client.at_once(on, on, on, on, back, Outgoing(user, f"{user.handle}, as {ours}", busy))


def faults(server: Server, proxy: LossyProxy, chance: random.Random) -> None:
    """Some seconds of faults, in a random order."""
    schedule = [server.kill] * KILLS + [server.kill_worker] * 4 + [proxy.cut_all] * 4
    chance.shuffle(schedule)
    kinds: dict[str, Iterator[Cut]] = defaultdict(lambda: itertools.cycle(Cut))
    proxy.choose = lambda operation: next(kinds[operation]) if chance.random() < ODDS else None
    for strike in schedule:
        time.sleep(chance.uniform(0.1, 0.8))
        strike()
    proxy.choose = lambda operation: None


def test_acknowledged_messages_are_stored_once_despite_kills_and_cuts(
    fresh_dynamodb_url: str, database_url: str, tmp_path: Path
) -> None:
    print(f"FAULT_SEED={SEED}")  # noqa: T201 - shown when the test fails
    engine = boto3.client("dynamodb", endpoint_url=fresh_dynamodb_url)
    table = f"messages-{uuid.uuid4().hex}"
    create_table(engine, table)
    chance, stop = random.Random(SEED), threading.Event()  # noqa: S311
    busy, *couples = itertools.combinations(PEOPLE, 2)
    chance.shuffle(couples)
    with serve(fresh_dynamodb_url, table, database_url, tmp_path / "api.log") as (server, proxy, client):
        busy_group = client.at_once(Outgoing(busy[0], "hello", {"handle": busy[1].handle})).body["message_group_uuid"]
        with ThreadPoolExecutor(COUPLES) as threads:
            talking = [threads.submit(converse, client, couples[n::COUPLES], busy_group, stop) for n in range(COUPLES)]
            try:
                faults(server, proxy, chance)
            finally:
                stop.set()
        for future in talking:
            future.result()

    counts = [f"{len(client.acknowledged)} acknowledged", server.killed, proxy.faults, Counter(client.failures)]
    print(*counts, sep="\n")  # noqa: T201
    check(Snapshot(engine, table), client)
    assert server.killed["server"] == KILLS
    assert server.killed["worker"] > 0
    assert proxy.broken > 0
    assert all(proxy.faults["TransactWriteItems", cut] for cut in Cut)
    assert any(response.replayed for response in client.acknowledged)
    engine.delete_table(TableName=table)


def check(contents: Snapshot, client: RetryingClient) -> None:
    """Assert that the table has each acknowledged message once, and each couple one conversation."""
    stored = {}
    sent = {response.message for response in client.acknowledged}
    texts: dict[str, set[str]] = {}
    for response in client.acknowledged:
        texts.setdefault(response.body["message_group_uuid"], set()).add(response.message.text)
    assert contents.groups().keys() == texts.keys()
    assert len(set(contents.groups().values())) == len(texts)
    for group in texts:
        contents.check(group, texts[group])
        for message in contents.messages(group):
            stored[message.text] = {"message_group_uuid": group, **message_json(message)}
    assert len(stored) == len(sent)
    for response in client.acknowledged:
        assert response.body == stored[response.message.text]
    firsts = Counter(response.message.key for response in client.acknowledged if not response.replayed)
    assert max(firsts.values()) == 1


@pytest.mark.parametrize("with_key", [True, False])
def test_repeat_after_lost_responses_stores_a_second_message_only_without_a_key(api: Api, with_key: bool) -> None:
    anna, bert = api.couple()
    group = anna.write("before", to=bert)["message_group_uuid"]
    headers = {**anna.headers, **({"Idempotency-Key": "a key"} if with_key else {})}
    body = {"message": "once?", "message_group_uuid": group}
    engine_url = str(api.settings.aws_endpoint_url_dynamodb)
    with LossyProxy(engine_url) as proxy, api.variant(aws_endpoint_url_dynamodb=proxy.url) as behind:
        client = behind.app.test_client()
        proxy.choose = lambda operation: Cut.AFTER if operation == "TransactWriteItems" else None
        assert refused(client.post("/api/messages", json=body, headers=headers)) == (503, ["storage_unavailable"])
        assert proxy.faults == {("TransactWriteItems", Cut.AFTER): 3}  # boto3's tries, under one ClientRequestToken
        proxy.choose = lambda operation: None
        again = client.post("/api/messages", json=body, headers=headers)

    assert (ok(again)["seq"], "Idempotency-Replayed" in again.headers) == ((2, True) if with_key else (3, False))
    assert [message["message"] for message in bert.messages(group)] == ["once?"] * (1 if with_key else 2) + ["before"]
