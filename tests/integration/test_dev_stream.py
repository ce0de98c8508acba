"""bin/dev in stream mode: the worker runs beside the API, and misses no message across a restart."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.dev import SECONDS, Dev, authorization, call, eventually, running, stop_all


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    stop_all()


class Client:
    """A user of a stack, who is signed in."""

    def __init__(self, dev: Dev, place: int) -> None:
        description = dev.description
        self._url = description["api_url"]
        self._headers = {"Authorization": authorization(description, description["users"][place])}

    def send(self, text: str, **to: str) -> dict[str, Any]:
        sent: dict[str, Any] = call(f"{self._url}/api/messages", {"message": text, **to}, **self._headers)
        return sent

    def sees(self, group: str, text: str, *, seq: int) -> Callable[[], bool]:
        """Whether the conversation's row in the inbox shows this message under this number."""

        def look() -> bool:
            rows = call(f"{self._url}/api/message_groups", **self._headers)
            return [(row["message"], row["seq"]) for row in rows if row["uuid"] == group] == [(text, seq)]

        return look


def test_the_inbox_follows_across_a_restart_and_a_worker_that_dies_ends_the_stack(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    with running(folder, GROUP_UPDATES="stream") as dev:
        assert "GROUP_UPDATES='stream'" in (folder / "stack.env").read_text()
        anna, bert = Client(dev, 0), Client(dev, 2)
        first = anna.send("one", handle=dev.description["users"][2]["handle"])
        group = first["message_group_uuid"]
        assert (first["seq"], bert.send("two", message_group_uuid=group)["seq"]) == (1, None)
        assert eventually(anna.sees(group, "two", seq=2))
        lines = [json.loads(line) for line in dev.output.splitlines() if line.startswith("{")]
        assert {"request", "group_updated"} <= {line["event"] for line in lines}
        anna.send("three", message_group_uuid=group)
        assert dev.stop(signal.SIGINT) == 0, dev.output

    with running(folder, GROUP_UPDATES="stream") as dev:
        anna, bert = Client(dev, 0), Client(dev, 2)
        assert bert.sees(group, "three", seq=3)()  # the stream did not outlive the stop
        bert.send("four", message_group_uuid=group)
        assert eventually(anna.sees(group, "four", seq=4))
        assert "stream_record_skipped" not in dev.output

        parts = psutil.Process(dev.process.pid).children()
        next(each for each in parts if "stream-worker" in " ".join(each.cmdline())).kill()
        assert dev.process.wait(SECONDS) == 1
        assert "the stream worker ended with status -9" in dev.output
