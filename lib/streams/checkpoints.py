"""How far a stream was processed, in a file: what comes after a checkpoint is delivered again after a crash."""

from __future__ import annotations

import fcntl
import json
import logging
import re
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from lib.logs import log

_SHARD_END = "SHARD_END"
_POSITION = re.compile(rf"\d{{21,40}}|{_SHARD_END}", re.ASCII)  # a sequence number, as AWS describes it


class CheckpointsInUse(Exception):
    """Another process has the file: two workers would overwrite each other's positions."""


class Checkpoints:
    """The last settled sequence number of each shard; a context manager that keeps the file to one process.

    The file is replaced as a whole, `{stream ARN: {shard id: sequence number}}`, and holds the one stream that was
    opened last: a table that was made anew has a stream of its own, which starts anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream_arn = ""
        self._positions: dict[str, str] = {}
        self._lock: TextIO

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_name(f"{self._path.name}.lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise CheckpointsInUse(f"{self._path} is in use by another worker; --checkpoints names another") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def open(self, stream_arn: str) -> None:
        """Take up the positions in this stream, if the file has any."""
        self._stream_arn = stream_arn
        self._positions = {}
        try:
            positions = json.loads(self._path.read_text()).get(stream_arn, {})
            self._positions = {shard_id: at for shard_id, at in positions.items() if _POSITION.fullmatch(at)}
        except FileNotFoundError:
            pass
        except (ValueError, AttributeError, TypeError):
            log("checkpoints_unreadable", level=logging.WARNING, path=str(self._path))

    def position(self, shard_id: str) -> str | None:
        """The last settled sequence number; None for a shard that was not begun."""
        return self._positions.get(shard_id)

    def advance(self, shard_id: str, sequence_number: str) -> None:
        """Everything in the shard up to this record is settled."""
        if self._positions.get(shard_id) != sequence_number:
            self._positions[shard_id] = sequence_number
            self._save()

    def finish(self, shard_id: str) -> None:
        """Everything in the shard is settled, and nothing follows."""
        self.advance(shard_id, _SHARD_END)

    def finished(self, shard_id: str) -> bool:
        return self._positions.get(shard_id) == _SHARD_END

    def retain(self, shard_ids: Collection[str]) -> None:
        """Forget the shards that the stream no longer has."""
        self._positions = {shard_id: at for shard_id, at in self._positions.items() if shard_id in shard_ids}

    def _save(self) -> None:
        partial = self._path.with_name(f"{self._path.name}.partial")
        partial.write_text(json.dumps({self._stream_arn: self._positions}, indent=1) + "\n")
        partial.replace(self._path)
