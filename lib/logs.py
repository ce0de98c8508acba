"""Logs as JSON lines: a time, a level, an event's name, and the fields that belong to it.

Nothing that people wrote, and no credential, may reach a log. So an exception is logged by its type and where it
happened, never by its message (which may quote a parameter), and other libraries are heard from WARNING on only:
botocore's debug log holds whole requests.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType

_LOGGER = "cruddur"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; `extra={"fields": {…}}` adds its fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["at"] = _frames(record.exc_info[2])
        return json.dumps(line, default=lambda value: type(value).__name__)  # ASCII: any stream can take it


def configure(level: str) -> None:
    """Send every log line to standard output as JSON; `level` is that of this system's own events."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_LOGGER).setLevel(level.upper())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # `flask run` would add a line of its own to each request


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Log an event of this system with its fields."""
    logging.getLogger(_LOGGER).log(level, event, exc_info=error, extra={"fields": fields})


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
