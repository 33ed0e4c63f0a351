"""What is on the way, shown while it moves: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.wording import duration, left, plain, seconds_left, size, stage
from services.gateway.client.wording import progress as stage_and_rest

LINE_SECONDS = 5.0
NAME_WIDTH = 28

Moved = Callable[[int], None]
Tell = Callable[[Document], None]


class Watch(Protocol):
    """Shows transfers and jobs while they go on; `say` leaves a line for good."""

    def say(self, text: Text) -> None:
        """Leave a line."""

    @contextmanager
    def transfer(self, name: str, verb: str, total: int) -> Iterator[Moved]:
        """Show a transfer of `total` bytes as long as the block runs."""

    @contextmanager
    def job(self, name: str) -> Iterator[Tell]:
        """Show a job as long as the block runs."""


@contextmanager
def open_watch(console: Console, *, quiet: bool) -> Iterator[Watch]:
    """Bars if the console is a terminal; else lines, without progress if `quiet`."""
    if not console.is_terminal:
        yield Lines(console, quiet=quiet)
        return
    columns = (
        _Name(),
        BarColumn(
            bar_width=None,
            complete_style="cyan",
            finished_style="green",
            pulse_style="blue",
            table_column=Column(ratio=1, min_width=10),
        ),
        _Note(),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bars:
        yield Bars(bars)


class Bars:
    """One live bar for each thing that moves; a finished one leaves its line above."""

    def __init__(self, bars: Progress) -> None:
        """Draw on a `Progress` that is running."""
        self._bars = bars

    def say(self, text: Text) -> None:
        """Leave a line above the bars."""
        self._bars.console.print(text, soft_wrap=True)

    @contextmanager
    def transfer(self, name: str, verb: str, total: int) -> Iterator[Moved]:
        """A bar of bytes."""
        with self._bar(name, verb, total) as bar:

            def moved(count: int) -> None:
                if count == 0:
                    # A second try: its speed is its own.
                    self._bars.reset(bar)
                self._bars.update(bar, completed=count)

            yield moved

    @contextmanager
    def job(self, name: str) -> Iterator[Tell]:
        """A bar of the job's fraction; it pulses until there is one."""
        with self._bar(name, "queued", None) as bar:

            def tell(job: Document) -> None:
                progress = job.get("progress")
                known = job["state"] == "running" and progress is not None
                self._bars.update(
                    bar,
                    total=1.0 if known else None,
                    completed=float(progress["fraction"]) if known and progress else 0.0,
                    note=stage(job) or job["state"],
                    end=_end(job),
                )

            yield tell

    @contextmanager
    def _bar(self, name: str, note: str, total: int | None) -> Iterator[TaskID]:
        bar = self._bars.add_task(name, total=total, note=note, end=None, bytes=total is not None)
        try:
            yield bar
        finally:
            self._bars.remove_task(bar)


class Lines:
    """A line at the start, every few seconds while it moves, and whatever is said."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        """Write to a console that is no terminal; only what is said if `quiet`."""
        self._console = console
        self._quiet = quiet

    def say(self, text: Text) -> None:
        """Write a line; what is said is no progress, so it is said in any case."""
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def transfer(self, name: str, verb: str, total: int) -> Iterator[Moved]:
        """Lines of how far it is."""
        due = _Due()

        def moved(count: int) -> None:
            if not self._quiet and due.now():
                self.say(Text(f"{plain(name)}: {verb}, {size(count)} of {size(total)}"))

        yield moved

    @contextmanager
    def job(self, name: str) -> Iterator[Tell]:
        """Lines of what the job is at, when that has changed."""
        due = _Due()
        last = ""

        def tell(job: Document) -> None:
            nonlocal last
            note = stage_and_rest(job)
            if not self._quiet and note not in {"", last} and due.now():
                last = note
                self.say(Text(f"{plain(name)}: {note}"))

        yield tell


def _end(job: Document) -> float | None:
    """When a running job will probably have ended, on this process's clock."""
    eta = seconds_left(job)
    return None if eta is None else time.monotonic() + eta


class _Due:
    """Whether it is time for another line."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def now(self) -> bool:
        if time.monotonic() - self._last < LINE_SECONDS:
            return False
        self._last = time.monotonic()
        return True


class _Name(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(Column(width=NAME_WIDTH, no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(plain(task.description), overflow="ellipsis")


class _Note(ProgressColumn):
    """Beside the bar: bytes and speed of a transfer; the stage of a job, and how long it takes."""

    def __init__(self) -> None:
        super().__init__(Column(width=34, no_wrap=True))

    def render(self, task: Task) -> Text:
        note = str(task.fields["note"])
        if not task.fields["bytes"]:
            end = task.fields["end"]
            # It counts down between what is told.
            rest = duration(task.elapsed or 0) if end is None else left(end - time.monotonic())
            return Text(f"{note}, {rest}", style="cyan", overflow="ellipsis")
        speed = f", {size(int(task.speed))}/s" if task.speed else ""
        done = f"{size(int(task.completed))} of {size(int(task.total or 0))}"
        return Text(f"{done}{speed}", style="green", overflow="ellipsis")
