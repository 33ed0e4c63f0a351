"""Turns Ctrl-C, SIGTERM and SIGHUP into one exception that never falls into a bad moment."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked this command to stop. No `except Exception` may swallow it."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number, which decides the exit status."""
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """While entered, the signals raise `Interrupted`, except inside `held()`.

    Between the start of a child and the note of its process id an interrupt would leave a process
    nobody knows of, so that stretch is held; so is the clean-up after the first interrupt.
    """

    def __init__(self) -> None:
        """Change nothing until entered."""
        self._holds = 0
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in SIGNALS:
            # Ignored signals stay so: `nohup` means it.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._holds:
            self._waiting = number
            return
        raise Interrupted(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep an interrupt back until the end of this block."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._waiting is not None and not self._holds:
                number, self._waiting = self._waiting, None
                raise Interrupted(number)
