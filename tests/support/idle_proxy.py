"""A proxy on loopback that closes a connection on which nothing passes for some time, as load balancers do."""

from __future__ import annotations

import select
import socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Self

from tools.local_stack.processes import LOOPBACK


class IdleProxy(ThreadingTCPServer):
    """Forwards connections to a port inside its `with` block, each until it is idle for `seconds`."""

    daemon_threads = True

    def __init__(self, port: int, *, seconds: float) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.port: int = self.server_address[1]
        self.target = (LOOPBACK, port)
        self.seconds = seconds

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseRequestHandler):
    server: IdleProxy

    def handle(self) -> None:
        client: socket.socket = self.request
        with socket.create_connection(self.server.target) as target:
            peers = {client: target, target: client}
            while ready := select.select(list(peers), [], [], self.server.seconds)[0]:
                for source in ready:
                    if not (data := source.recv(65_536)):
                        return
                    peers[source].sendall(data)
