"""A process with several clients that write at once: `python -m tests.support.concurrent_writers PLAN`."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import boto3
from botocore.config import Config

from lib.ddb.errors import WriteConflict
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from tests.support.stores import stores_on


@dataclass(frozen=True)
class Client:
    """A client that writes `count` messages from one user to another. Their texts begin with `prefix`."""

    sender: User
    receiver: User
    prefix: str
    count: int

    @classmethod
    def from_json(cls, plan: dict) -> Client:
        return cls(User(**plan["sender"]), User(**plan["receiver"]), plan["prefix"], plan["count"])

    def texts(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(self.count)]

    def write(self, store: MessageStore) -> list[str]:
        """Write all messages, and repeat a write if the store is too busy; return the acknowledged texts."""
        return [self._write_one(store, text) for text in self.texts()]

    def _write_one(self, store: MessageStore, text: str) -> str:
        while True:
            try:
                return store.send_to_user(sender=self.sender, receiver=self.receiver, text=text).text
            except WriteConflict:
                continue


def plan(endpoint: str, table: str, clients: list[Client]) -> str:
    """The argument of a process in which these clients share one store, as the threads of an API process do."""
    return json.dumps({"endpoint": endpoint, "table": table, "clients": [asdict(client) for client in clients]})


def main(argument: str) -> None:
    work = json.loads(argument)
    client = boto3.client("dynamodb", endpoint_url=work["endpoint"], config=Config(max_pool_connections=20))
    store = stores_on(client, work["table"])()
    clients = [Client.from_json(client_plan) for client_plan in work["clients"]]
    with ThreadPoolExecutor(len(clients)) as threads:
        acknowledged = [text for texts in threads.map(lambda writer: writer.write(store), clients) for text in texts]
    json.dump(acknowledged, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
