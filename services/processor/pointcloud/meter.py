"""How far the work is, how long it will still take, and how long each stage took."""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

Progress = Callable[[str, float, str, float | None], None]
"""Called with the stage, the fraction of the whole (0 to 1), a sentence for people, and the seconds
that are left, or None before anything is known of the work."""

_TRUST = 0.05
"""What a forecast is worth against what is seen: as much as this share of the whole work."""


class Span(NamedTuple):
    """Expected seconds of a stage: until it gets going, and then for all its steps.

    `shared` is whether several processes share the stage.
    """

    lead: float
    run: float
    shared: bool = False

    @property
    def whole(self) -> float:
        """All of it."""
        return self.lead + self.run


class Meter:
    """Follows the work through its stages; the fraction never goes back, even if work is redone.

    A forecast says how the stages compare; the pace at which this very run goes scales it. So the
    fraction is one of time: it is what has passed over what has passed and what is left.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        self._progress = progress
        self._clock = clock
        self._began = self._since = self._foreseen = clock()
        self._fraction = 0.0
        self._stage = self._message = ""
        self._span = Span(0.0, 0.0)
        self._done, self._total = 0, 1
        self._known: dict[str, Span] = {}
        self._ahead: dict[str, Span] = {}
        self._behind = 0.0
        self._has_shared = False
        self.seconds: dict[str, float] = {}

    def expect(self, spans: Mapping[str, Span]) -> None:
        """These stages lie ahead, also such as were entered before; the present one is broken off."""
        if not self._known:
            # What took time before anything was foreseen says nothing of the pace.
            self._foreseen = self._clock()
        self._behind += self._reached()
        self._span = Span(0.0, 0.0)
        self._known.update(spans)
        self._ahead.update(spans)

    def again(self, name: str, *, needed: bool) -> None:
        """Say whether a stage that was entered will have to be gone through once more."""
        if needed and name in self._known:
            self._ahead[name] = self._known[name]
        else:
            self._ahead.pop(name, None)

    def stage(self, name: str, total: int, message: str) -> None:
        """Enter a stage that has `total` steps; it may be one that was left already."""
        self._close_stage()
        self._behind += self._span.whole
        self._stage, self._message = name, message
        self._span = self._ahead.pop(name, self._known.get(name, Span(0.0, 0.0)))
        self._has_shared |= self._span.shared
        self._done, self._total = 0, max(total, 1)
        self.add(0)

    def add(self, steps: int) -> None:
        """This many steps of the stage are done."""
        self._done += steps
        if not self._known:
            self._progress(self._stage, self._fraction, self._message, None)
            return
        passed, left = self._clock() - self._began, self._left()
        reached = round(passed / (passed + left), 4) if left else 1.0
        self._fraction = max(self._fraction, reached)
        self._progress(self._stage, self._fraction, self._message, left)

    def finish(self) -> None:
        """All is done."""
        self._close_stage()
        self._stage = ""
        self._progress("done", 1.0, "Done", 0.0)

    def _reached(self) -> float:
        """The expected seconds of what is done of this stage."""
        share = min(self._done / self._total, 1.0)
        return self._span.lead + self._span.run * share if share else 0.0

    def _left(self) -> float:
        """Seconds to the end: the rest of this stage at its own pace, the others at that of all."""
        now, reached = self._clock(), self._reached()
        rest, ahead = self._span.whole - reached, self._ahead.values()
        expected = self._behind + reached
        trust = _TRUST * (expected + rest + sum(span.whole for span in ahead))
        if not trust:
            return 0.0
        pace = (now - self._foreseen + trust) / (expected + trust)
        own = (now - self._since + trust * self._pace_of(self._span, pace)) / (reached + trust)
        return rest * own + sum(span.whole * self._pace_of(span, pace) for span in ahead)

    def _pace_of(self, span: Span, pace: float) -> float:
        """What the pace so far means for a stage.

        Shared work may be slow because the machine is, or because it is busy with other things,
        which hurts what one process does alone much less: half of each, on a scale of factors.
        """
        return math.sqrt(pace) if self._has_shared and not span.shared else pace

    def _close_stage(self) -> None:
        now = self._clock()
        if self._stage:
            taken = self.seconds.get(self._stage, 0.0) + now - self._since
            self.seconds[self._stage] = round(taken, 3)
        self._since = now
