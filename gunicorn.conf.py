"""How gunicorn serves the API: from the same settings that the application reads. Plain `gunicorn` finds this file."""

import os
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
timeout = 30  # of a worker's heartbeat; the time of a request is bounded by the adapters' own timeouts
graceful_timeout = 10  # what a request in flight gets when the server is told to stop

accesslog = None  # the application writes one JSON line per request
loglevel = "warning"
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - heartbeats must not wait for a disk
control_socket_disable = True  # nobody manages it through a socket; deployments restart it
