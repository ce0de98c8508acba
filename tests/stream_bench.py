"""A worker of a stream on a bench: a fake stream, a handler that answers as told, and checkpoints that stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.ddb import keys
from lib.streams.checkpoints import Checkpoints
from lib.streams.dead_letters import DeadLetters
from lib.streams.delivery import Delivery
from lib.streams.source import StreamSource
from lib.streams.worker import StreamWorker
from tests.clocks import FrozenTime
from tests.fake_streams import FakeStop, FakeStreams


class WorkerBench:
    """A stream, and workers on it one after the other, which share their checkpoints as processes would."""

    def __init__(self, folder: Path) -> None:
        self.time = FrozenTime()
        self.streams = FakeStreams(self.time)
        self.path = folder / "state" / "checkpoints.json"
        self.dead_letters = DeadLetters(folder / "dead.jsonl")
        self.batches: list[str] = []
        self.answer: Callable[[list[str]], Any] = lambda texts: None
        self.stop = FakeStop(self.time)

    def handle(self, event: dict[str, Any], context: object) -> Any:
        texts = [each["dynamodb"]["NewImage"]["message"]["S"] for each in event["Records"]]
        self.batches.append(" ".join(texts))
        return self.answer(texts)

    def work(self, *events: Callable[[], object], once: bool = False, batch_size: int = 100, window: float = 0) -> None:
        """A new worker; each of `events` happens at one of its pauses, and after the last one it is stopped."""
        self.stop = FakeStop(self.time)
        self.stop.events = list(events)
        source = StreamSource(self.streams, self.streams, "messages")
        with Checkpoints(self.path) as checkpoints:
            worker = StreamWorker(
                source,
                checkpoints,
                Delivery(self.handle, self.dead_letters, self.stop, retries=1, check=source.stream_arn),
                self.stop,
                pattern=keys.NEW_MESSAGES,
                batch_size=batch_size,
                window=window,
                clock=self.time.monotonic,
            )
            worker.run_once() if once else worker.run()

    def delivered(self) -> str:
        """Everything that was delivered since the last look, batches side by side."""
        texts, self.batches = " | ".join(self.batches), []
        return texts

    def checkpoints(self) -> Any:
        return json.loads(self.path.read_text())
