"""The clients of many event streams, as a program of its own: `python -m bench.stream_clients PORT FILE`.

A line of the file is a token, which opens a stream. The program prints `open` when all streams are open, and the time
and the uuid of each message that arrives. It ends if a stream ends.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

from tools.local_stack.processes import LOOPBACK, Child, bare_environment

_AT_ONCE = 20  # streams that open at the same time
_MESSAGE_UUID = re.compile(rb'"message_uuid":"([^"]+)"')


class StreamClients(Child):
    """Clients that have all their streams open from `start` to `stop`."""

    log: Path

    def __init__(self, port: int, tokens: list[str], folder: Path) -> None:
        file, log = folder / f"{port}-{len(tokens)}.tokens", folder / f"{port}-{len(tokens)}.arrivals"
        file.write_text("\n".join(tokens))
        super().__init__(
            "the clients of the streams",
            [sys.executable, "-m", "bench.stream_clients", str(port), file],
            env=bare_environment(),
            ready=lambda: b"open\n" in log.read_bytes(),
            log=log,
            cwd=Path(__file__).parent.parent,
            start_seconds=60,
        )

    def arrivals(self) -> dict[str, float]:
        """The time of arrival, by the monotonic clock, of each message so far by its uuid."""
        self.raise_if_dead()
        lines = [line.split() for line in self.log.read_text().split("\n")[:-1] if line != "open"]
        return {message_uuid: float(seconds) for seconds, message_uuid in lines}


async def _follow(port: int, token: str, turn: asyncio.Semaphore, opened: asyncio.Semaphore) -> None:
    async with turn:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        head = f"GET /api/events HTTP/1.1\r\nHost: {LOOPBACK}\r\nAuthorization: Bearer {token}\r\n\r\n"
        writer.write(head.encode())
        response = await reader.readuntil(b"\r\n\r\n")
        if not response.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(response.decode())
        await reader.readuntil(b"event: hello\n")
        opened.release()
    while True:
        event = await reader.readuntil(b"\n\n")
        if match := _MESSAGE_UUID.search(event):
            print(f"{time.monotonic():.6f} {match[1].decode()}", flush=True)  # noqa: T201


async def _follow_all(port: int, tokens: list[str]) -> None:
    turn, opened = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for token in tokens:
            group.create_task(_follow(port, token, turn, opened))
        for _ in tokens:
            await opened.acquire()
        print("open", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_follow_all(int(sys.argv[1]), Path(sys.argv[2]).read_text().splitlines()))
