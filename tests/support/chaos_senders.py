"""A process with clients that talk in pairs for some time: `python -m tests.support.chaos_senders PLAN`.

They repeat each message until the API acknowledges it, and they type and read. The process prints the acknowledged
messages, and how long each other request took.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from itertools import count, cycle
from typing import Any

from lib.users.accounts import User
from tests.support.retrying import Outgoing, RetryingClient
from tools.local_stack.processes import LOOPBACK

HINT_SECONDS = 15  # more than any fault delays a request
LONGEST_TALK = 8
"""Messages in a row in a conversation. It is silent afterwards, so that no later message makes up for a lost one."""

JSON = dict[str, Any]


def plan(
    port: int, seconds: float, seed: str, couples: Sequence[Sequence[tuple[User, User]]], tokens: dict[str, str]
) -> str:
    """The argument of a process with a thread for each list of couples; `tokens` are headers by user uuid."""
    users = [[[(user.uuid, user.handle, user.display_name) for user in pair] for pair in pairs] for pairs in couples]
    return json.dumps({"port": port, "seconds": seconds, "seed": seed, "couples": users, "tokens": tokens})


class Talkers:
    """Couples that talk one after another. `hints` has the seconds of each request to type or read, and its outcome."""

    def __init__(self, work: JSON, number: int, client: RetryingClient) -> None:
        self._port, self._tokens, self._client = work["port"], work["tokens"], client
        self._end = time.monotonic() + work["seconds"]
        self._chance = random.Random(f"{work['seed']}.{number}")  # noqa: S311
        self._couples = [[User(*user) for user in pair] for pair in work["couples"][number]]
        self._texts = (f"{work['seed']}.{number}.{n}" for n in count())
        self.hints: list[tuple[float, str]] = []

    def talk(self) -> None:
        for couple in cycle(self._couples):
            to = {"handle": couple[1].handle}
            for _ in range(self._chance.randint(1, LONGEST_TALK)):
                if time.monotonic() > self._end:
                    return
                sender, reader = couple if "handle" in to else self._chance.sample(couple, 2)
                sent = self._client.at_once(Outgoing(sender, next(self._texts), to)).body
                group = sent["message_group_uuid"]
                to = {"message_group_uuid": group}
                if self._chance.random() < 0.3:
                    self._hint(sender, f"/api/message_groups/{group}/typing", b"")
                    self._hint(reader, f"/api/message_groups/{group}/read", json.dumps({"seq": sent["seq"] or 1}))
                time.sleep(self._chance.uniform(0.05, 0.8))

    def _hint(self, user: User, path: str, body: bytes | str) -> None:
        started_at = time.monotonic()
        headers = {"Authorization": self._tokens[user.uuid], "Content-Type": "application/json"}
        try:
            with closing(HTTPConnection(LOOPBACK, self._port, timeout=HINT_SECONDS)) as connection:
                connection.request("POST", path, body, headers)
                outcome = str(connection.getresponse().status)
        except (OSError, HTTPException) as error:
            outcome = type(error).__name__
        self.hints.append((time.monotonic() - started_at, outcome))


def main(argument: str) -> None:
    work = json.loads(argument)
    client = RetryingClient(work["port"], lambda user: work["tokens"][user.uuid])
    talkers = [Talkers(work, number, client) for number in range(len(work["couples"]))]
    with ThreadPoolExecutor(len(talkers)) as threads:
        list(threads.map(Talkers.talk, talkers))
    messages = [{"text": response.message.text, **response.body} for response in client.acknowledged]
    json.dump({"messages": messages, "hints": [hint for talker in talkers for hint in talker.hints]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
