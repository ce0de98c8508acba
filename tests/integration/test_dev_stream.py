"""bin/dev in stream mode: the worker runs beside the API and misses no message over a restart."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.dev import SECONDS, Dev, authorization, call, eventually, running


class Client:
    """A signed-in user of a stack, by the index in its list of users."""

    def __init__(self, dev: Dev, index: int) -> None:
        description = dev.description
        self._url = description["api_url"]
        self._headers = {"Authorization": authorization(description, description["users"][index])}

    def send(self, text: str, **to: str) -> dict[str, Any]:
        sent: dict[str, Any] = call(f"{self._url}/api/messages", {"message": text, **to}, **self._headers)
        return sent

    def shows(self, group: str, text: str, *, seq: int) -> Callable[[], bool]:
        """A condition: the conversation's row in the inbox has this message and this number."""

        def is_shown() -> bool:
            rows = call(f"{self._url}/api/message_groups", **self._headers)
            return [(row["message"], row["seq"]) for row in rows if row["uuid"] == group] == [(text, seq)]

        return is_shown


def test_inbox_rows_follow_over_restart_and_stack_ends_with_its_worker(engine_folder: Path) -> None:
    folder = engine_folder / "stream"
    with running(folder, GROUP_UPDATES="stream") as dev:
        assert "GROUP_UPDATES='stream'" in (folder / "stack.env").read_text()
        anna, bert = Client(dev, 0), Client(dev, 2)
        first = anna.send("one", handle=dev.description["users"][2]["handle"])
        group = first["message_group_uuid"]
        assert (first["seq"], bert.send("two", message_group_uuid=group)["seq"]) == (1, None)
        assert eventually(anna.shows(group, "two", seq=2))
        lines = [json.loads(line) for line in dev.output.splitlines() if line.startswith("{")]
        assert {"request", "group_updated"} <= {line["event"] for line in lines}
        anna.send("three", message_group_uuid=group)
        assert dev.stop(signal.SIGINT) == 0, dev.output

    with running(folder, GROUP_UPDATES="stream") as dev:
        anna, bert = Client(dev, 0), Client(dev, 2)
        assert bert.shows(group, "three", seq=3)()  # the stop loses the stream
        bert.send("four", message_group_uuid=group)
        assert eventually(anna.shows(group, "four", seq=4))
        assert "stream_record_skipped" not in dev.output

        dev.part("stream-worker").kill()
        assert dev.process.wait(SECONDS) == 1
        assert "the stream worker ended with status -9" in dev.output
