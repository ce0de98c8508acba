"""The baseline of live updates, as a program of its own: `python -m bench.constant_stream PORT`.

This is the least that a server of events can do. It accepts every request, sends each POST's constant event to one of
the open streams in turn, and reads and stores nothing.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvloop

from tools.local_stack.processes import LOOPBACK, Child, bare_environment, free_port, is_port_taken

_OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: hello\ndata: {}\n\n"
_RESPONSE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n{"uuid":"%036d"}'
_EVENT = b'event: message_group\nid: %b\ndata: {"message_uuid":"%%036d","message":"%b"}\n\n' % (b"c" * 160, b"m" * 380)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class ConstantStream(Child):
    """The baseline, as a process with a free port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(
            "the plain server of events",
            [sys.executable, "-m", "bench.constant_stream", str(self.port)],
            env=bare_environment(),
            ready=partial(is_port_taken, self.port),
            log=folder / f"{self.port}.log",
            cwd=Path(__file__).parent.parent,
        )


async def _serve(port: int) -> None:
    streams: list[asyncio.StreamWriter] = []
    count = 0

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET"):
                    writer.write(_OPEN)
                    streams.append(writer)
                elif length := _LENGTH.search(head):
                    await reader.readexactly(int(length[1]))
                    count += 1
                    writer.write(_RESPONSE % count)
                    streams[count % len(streams)].write(_EVENT % count)
        if writer in streams:
            streams.remove(writer)
        writer.close()

    server = await asyncio.start_server(respond, LOOPBACK, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
