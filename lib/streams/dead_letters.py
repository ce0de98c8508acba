"""What could not be delivered, kept for people: a file of JSON lines, for its owner alone because it holds messages."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.logs import log
from lib.streams.records import Record, sequence_number


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """When a record was delivered in vain, and the type of the error."""

    at: str
    error: str


class DeadLetters:
    """Appends to the file; `count` says how many were added by this process."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path

    def add(self, shard_id: str, record: Record, attempts: Sequence[FailedAttempt]) -> None:
        """Keep the record with its failed attempts. It is on the disk when this returns."""
        ids = {
            "stream_arn": record["eventSourceARN"],
            "shard_id": shard_id,
            "sequence_number": sequence_number(record),
            "keys": record["dynamodb"]["Keys"],
        }
        letter = {**ids, "attempts": [asdict(attempt) for attempt in attempts], "record": record}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o600)  # also of a file that was there
            file.write(json.dumps(letter) + "\n")
            file.flush()
            os.fsync(descriptor)
        self.count += 1
        log("stream_dead_letter", level=logging.ERROR, **ids, attempts=len(attempts), error_type=attempts[-1].error)
