"""A client of the API that repeats each send until the API acknowledges it, and keeps all responses."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

from lib.users.accounts import User
from tools.local_stack.processes import LOOPBACK

TIMEOUT_SECONDS = 1.0  # less than the server may take: the client gives up requests that the server works on
DEADLINE_SECONDS = 45


@dataclass(frozen=True)
class Outgoing:
    """A message to send once; `to` is `{"handle": …}` or `{"message_group_uuid": …}`."""

    sender: User
    text: str
    to: dict[str, str] = field(hash=False)
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class Acknowledgement:
    """A response with the status 200."""

    message: Outgoing
    body: dict[str, Any]
    replayed: bool


class RetryingClient:
    """Sends each message under its own key to a server that stops and starts; safe to share between threads.

    `acknowledged` has all responses with 200, `failures` the error or code of every other try.
    """

    def __init__(self, port: int, authorization: Callable[[User], str]) -> None:
        self._port = port
        self._authorization = authorization
        self.acknowledged: list[Acknowledgement] = []
        self.failures: list[str] = []

    def at_once(self, *messages: Outgoing) -> Acknowledgement:
        """Send these messages at the same time, each in its own thread; return the acknowledgement of the first.

        A message that occurs twice is sent from two threads.
        """
        with ThreadPoolExecutor(len(messages)) as threads:
            acknowledged = list(threads.map(self._send, messages))
        self.acknowledged += acknowledged
        return acknowledged[0]

    def _send(self, message: Outgoing) -> Acknowledgement:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                status, replayed, body = self._try(message)
            except (OSError, HTTPException) as error:
                self.failures.append(type(error).__name__)
            else:
                if status == 200:
                    return Acknowledgement(message, body, replayed)
                assert status == 503, (status, body, message)
                self.failures.append(body[0])
            time.sleep(random.uniform(0.02, 0.1))  # noqa: S311
        raise AssertionError(f"{message} was never acknowledged")

    def _try(self, message: Outgoing) -> tuple[int, bool, Any]:
        headers = {
            "Authorization": self._authorization(message.sender),
            "Content-Type": "application/json",
            "Idempotency-Key": message.key,
        }
        with closing(HTTPConnection(LOOPBACK, self._port, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("POST", "/api/messages", json.dumps({"message": message.text, **message.to}), headers)
            response = connection.getresponse()
            return response.status, "Idempotency-Replayed" in response.headers, json.loads(response.read())
