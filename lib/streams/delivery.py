"""Batches to a handler as a Lambda event source mapping delivers them: what fails comes again, what stays bad is put
aside, and the order within a shard is kept.

Knows no stream: records come in, counts of settled records go out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lib.clock import Clock, now, to_timestamp
from lib.logs import log
from lib.streams.dead_letters import DeadLetters, FailedAttempt
from lib.streams.records import Record, sequence_number
from lib.streams.stopping import Stop

Handler = Callable[[dict[str, Any], Any], Any]
"""A Lambda handler: takes an event and a context, answers None or `{"batchItemFailures": […]}`."""

_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0


class Delivery:
    """Delivers to one handler.

    The rules are those of a mapping with ReportBatchItemFailures and BisectBatchOnFunctionError; splitting a batch
    does not count as a retry.
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html

    `check` raises what the caller should handle when the handler failed because nothing can work now: such a failure
    does not count either.
    """

    def __init__(
        self,
        handler: Handler,
        dead_letters: DeadLetters,
        stop: Stop,
        *,
        retries: int,
        check: Callable[[], object],
        clock: Clock = now,
    ) -> None:
        self._handler = handler
        self._dead_letters = dead_letters
        self._stop = stop
        self._retries = retries
        self._check = check
        self._clock = clock

    def deliver(self, shard_id: str, records: Sequence[Record]) -> Iterator[int]:
        """Deliver the records in their order; yields how many more are settled: done, or among the dead letters.

        Told to stop, it ends after the present call of the handler, with the rest unsettled.
        """
        batches, failures = [list(records)], list[FailedAttempt]()
        while batches and not self._stop.asked:
            batch = batches.pop()
            done, error = self._call(shard_id, batch)
            if done:
                failures = []
                yield done
                batches += [batch[done:]] if done < len(batch) else []
                continue
            self._check()
            if len(batch) > 1:
                half = (len(batch) + 1) // 2
                batches += [batch[half:], batch[:half]]
                continue
            failures.append(FailedAttempt(to_timestamp(self._clock()), error))
            if len(failures) <= self._retries:
                batches.append(batch)
                self._stop.pause(min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2 ** (len(failures) - 1)))
                continue
            self._dead_letters.add(shard_id, batch[0], failures)
            failures = []
            yield 1

    def _call(self, shard_id: str, batch: Sequence[Record]) -> tuple[int, str]:
        """How many records from the first on are done, and the type of the error if not all are."""
        began = time.monotonic()
        try:
            answer = self._handler({"Records": list(batch)}, None)
        except Exception as raised:  # whatever a handler raises fails its batch
            done, error = 0, type(raised).__name__
            log("stream_handler_failed", level=logging.ERROR, error=raised, shard_id=shard_id)
        else:
            done, error = _done(answer, batch), "BatchItemFailure"
        log(
            "stream_batch",
            shard_id=shard_id,
            first=sequence_number(batch[0]),
            records=len(batch),
            done=done,
            milliseconds=round((time.monotonic() - began) * 1000, 1),
        )
        return done, error


def _done(answer: Any, batch: Sequence[Record]) -> int:
    """How many records come before the first failed one. An answer that makes no sense fails the whole batch."""
    if answer is None:
        return len(batch)
    places = {sequence_number(record): place for place, record in enumerate(batch)}
    try:
        failures = answer.get("batchItemFailures") or []
        return min((places[failure["itemIdentifier"]] for failure in failures), default=len(batch))
    except (AttributeError, KeyError, TypeError):
        return 0
