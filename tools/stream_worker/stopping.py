"""How a long-running process is told to end: it notes the signal, and looks when it has finished something."""

from __future__ import annotations

import signal
import time
from types import FrameType

_SLICE_SECONDS = 0.05


class Stop:
    """`asked` is whether the end was asked for. Who waits, waits here, and is not kept waiting then."""

    def __init__(self) -> None:
        self.asked = False

    def on_signals(self) -> None:
        """Be asked by SIGINT and SIGTERM. The second one ends the process as if nobody had looked."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the end is asked for."""
        until = time.monotonic() + seconds
        while not self.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
