"""Serves the API by granian, with the settings that the application reads: `python serve.py`, here and in production.

Headers are read by the server's own loop and bodies by the application: a request takes a thread when its headers
are there.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from lib.config import Settings, SettingsError, load

KEEP_ALIVE_SECONDS = 75  # longer than a load balancer's usual 60 s, so that it is never we who close first
GRACE_SECONDS = 10  # what a request in flight gets when the server is told to stop
CONNECTIONS = 1000  # of a worker; most of them wait for their next request
MAX_HEAD_BYTES = 64 * 1024  # of a request: its line and its headers

# What makes a worker a fifth smaller; it is read when a program or a library starts.
LEAN = {
    # The threads of a worker share the GIL: they gain nothing by heaps of their own.
    "MALLOC_ARENA_MAX": "1",  # glibc's
    "MALLOC_TRIM_THRESHOLD_": "1048576",  # bytes; what a request frees, the next one needs
    "_RJEM_MALLOC_CONF": "narenas:1,lg_tcache_max:10",  # granian's
    "PYTHONOPTIMIZE": "2",  # no docstrings,
    "PYTHONNODEBUGRANGES": "1",  # and no columns in tracebacks, which nobody reads here
}

# One JSON line a request is written by the application. The server's errors join them.
LOGGING = {
    "formatters": {"json": {"()": "lib.logs.JsonFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "loggers": {"_granian": {"handlers": ["stdout"], "propagate": False}},
}


def main(application: str = "app:create_app") -> None:
    """Serve until SIGTERM or SIGINT. `application` is a factory, as `module:name`."""
    if not LEAN.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], LEAN | os.environ)  # noqa: S606
    try:
        settings = load(Settings)
    except SettingsError as error:
        sys.exit(str(error))
    refuse_taken(settings.host, settings.port)
    os.register_at_fork(after_in_child=end_at_once)
    Server(
        application,
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        workers=settings.web_concurrency,
        blocking_threads=settings.web_threads,
        backpressure=CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=KEEP_ALIVE_SECONDS * 1000, max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE_SECONDS,
    ).serve()


def end_at_once() -> None:
    """Until a worker serves, let SIGTERM end it: the handler that it inherits would only note the signal."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C; SIGTERM follows


def refuse_taken(host: str, port: int) -> None:
    """End here if somebody listens there: the workers share the port (SO_REUSEPORT), and would share it with them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        sys.exit(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
