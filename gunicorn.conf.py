"""How gunicorn serves the API: from the same settings that the application reads. Plain `gunicorn` finds this file."""

import os
import socket
import struct
import sys
from pathlib import Path

# Gunicorn reads this file before it puts the checkout on the path.
sys.path.insert(0, str(Path(__file__).parent))

from lib.config import Settings, SettingsError, load  # noqa: E402

try:
    _settings = load(Settings)
except SettingsError as error:
    raise SystemExit(f"{error}") from None

wsgi_app = "app:create_app()"
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"

worker_class = "gthread"
workers = _settings.web_concurrency
threads = _settings.web_threads
preload_app = False  # clients and pools must be made after the fork, in each worker

keepalive = 75  # longer than a load balancer's usual 60 s, so that it is never we who close first
timeout = 30  # of a worker's heartbeat; what a request waits for has timeouts of its own
graceful_timeout = 10  # what a request in flight gets when the server is told to stop

accesslog = None  # the application writes one JSON line per request
# Its warnings quote the malformed request, which can hold a message or a token; its errors do not.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "lib.logs.JsonFormatter"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {"gunicorn.error": {"level": "ERROR", "handlers": ["stdout"], "propagate": False}},
}
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeats must not wait for a disk
control_socket_disable = True  # nobody manages it through a socket; deployments restart it

_SILENCE_SECONDS = 5


def when_ready(server: object) -> None:
    """Give a client that stops in the middle of a request so long; then its thread serves others.

    The kernel hands the option of the listening socket on to each connection, where gunicorn has none of its own.
    A connection that waits between requests holds no thread and is not concerned.
    """
    for listener in server.LISTENERS:  # type: ignore[attr-defined]
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _SILENCE_SECONDS, 0))
