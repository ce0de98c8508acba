"""Logs as JSON lines: a time, a level, an event's name and its fields.

Logs hold no message, e-mail address or credential; of a 404 they hold the path, which a client chooses. An exception
appears by its type and traceback, never by its message, which may quote a parameter. Other libraries log at WARNING and
above, because botocore's debug log holds whole requests.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

_logger = logging.getLogger("cruddur")
_to_json = json.JSONEncoder(default=lambda value: type(value).__name__).encode  # ASCII, for streams of any encoding


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
            frames = traceback.extract_tb(record.exc_info[2])
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return _to_json(line)


def configure(level: str) -> None:
    """Send every log line to standard output as JSON; `level` applies to this system's own events."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _logger.setLevel(level.upper())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # `flask run` would log each request again


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Log an event of this system with its fields."""
    if _logger.isEnabledFor(level):
        exc_info = (type(error), error, error.__traceback__) if error else None
        # Logger.log would search the stack for the caller, which no line shows.
        record = _logger.makeRecord(_logger.name, level, "", 0, event, (), exc_info, extra={"fields": fields})
        _logger.handle(record)
