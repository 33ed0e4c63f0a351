"""How far the work is, and how long each stage took."""

import time
from collections.abc import Callable

Progress = Callable[[str, float, str], None]
"""Called with the stage, the fraction of the whole (0 to 1), and a sentence for people."""


class Meter:
    """Follows the work through its stages; the fraction never goes back, even if work is redone."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._fraction = 0.0
        self._stage = ""
        self._message = ""
        self._start, self._end = 0.0, 0.0
        self._done, self._total = 0, 1
        self._since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stage(self, name: str, start: float, end: float, total: int, message: str) -> None:
        """Enter a stage that covers the whole from `start` to `end` and has `total` steps."""
        self._close_stage()
        self._stage, self._message = name, message
        self._start, self._end = start, end
        self._done, self._total = 0, max(total, 1)
        self.add(0)

    def add(self, steps: int) -> None:
        """This many steps of the stage are done."""
        self._done += steps
        share = min(self._done / self._total, 1.0)
        reached = self._start + (self._end - self._start) * share
        self._fraction = max(self._fraction, reached)
        self._progress(self._stage, self._fraction, self._message)

    def finish(self) -> None:
        """All is done."""
        self._close_stage()
        self._stage = ""
        self._progress("done", 1.0, "Done")

    def _close_stage(self) -> None:
        now = time.perf_counter()
        if self._stage:
            taken = self.seconds.get(self._stage, 0.0) + now - self._since
            self.seconds[self._stage] = round(taken, 3)
        self._since = now
