"""One disposable process tree per attempt: start it, hear it, and when asked, kill all of it."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import structlog

from services.processor.forks import Forks, in_memory
from services.processor.metrics import ATTEMPTS_SANDBOXED, ATTEMPTS_STOPPED
from services.processor.process_tree import Child, ChildDied
from services.processor.sandbox import LEVELS, Level
from services.processor.watch import Bounds, watch
from shared.errors import PointmillError, TaskFailed
from shared.process import mask

LOG_LINES = 200
LOG_LINE_CHARACTERS = 500

logger = structlog.get_logger()


@dataclass(frozen=True)
class Order:
    """What a child is told. Paths are local and exist; `sandbox` is the least level it may work at.

    With `batches` the task is not run for `params`, but once for each parameters of the lists that
    follow the order on stdin, one list a line.
    """

    kind: str
    params: dict[str, Any]
    source: Path | None
    source_name: str | None
    out: Path
    scratch: Path
    memory_bytes: int
    workers: int
    sandbox: Level = "rlimits"
    inputs: Mapping[str, Path] = field(default_factory=dict)
    batches: bool = False

    def to_json(self) -> bytes:
        """The order as the child reads it on stdin: one line."""
        return orjson.dumps(
            {
                "parent": os.getpid(),
                "kind": self.kind,
                "params": self.params,
                "batches": self.batches,
                "source": str(self.source) if self.source else None,
                "source_name": self.source_name,
                "inputs": {name: str(path) for name, path in self.inputs.items()},
                "out": str(self.out),
                "scratch": str(self.scratch),
                "memory_bytes": self.memory_bytes,
                "workers": self.workers,
                "sandbox": self.sandbox,
            }
        )


@dataclass(frozen=True)
class Answer:
    """What a child said at its end."""

    result: dict[str, Any]
    products: list[dict[str, str]]


Ending: TypeAlias = Answer | PointmillError


class LogTail:
    """The last lines that a child has written to stderr, without secrets and without control characters."""

    def __init__(self, text: str = "") -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        for line in text.splitlines():
            self.add(line.encode())

    def add(self, line: bytes) -> None:
        """Keep a line."""
        text = line.decode(errors="replace").rstrip()[:LOG_LINE_CHARACTERS]
        if not text.isprintable():
            text = "".join(c if c.isprintable() or c == "\t" else "?" for c in text)
        self._lines.append(mask(text))

    def text(self) -> str | None:
        """The lines; None when there are none."""
        return "\n".join(self._lines) or None


class Retry(PointmillError):
    """The child has failed and says that another attempt may succeed."""

    retryable = True

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["detail"], remedy=error["remedy"])
        self.code, self.title = error["code"], error["title"]


async def run_child(
    forks: Forks,
    order: Order,
    bounds: Bounds,
    *,
    on_progress: Callable[[dict[str, Any]], None],
    log: LogTail,
) -> Answer:
    """Run the order in a process tree of its own and return its answer.

    When this is cancelled the whole tree is killed before it returns.

    Raises:
        TaskFailed: the task refused, crashed, or took too much; another attempt would not help.
        Retry, ChildDied: another attempt may succeed.
    """
    endings: list[dict[str, Any]] = []
    status = await _live(forks, order, bounds, _Listener(endings.append, on_progress, log))
    if not endings:
        raise _silent_death(status, order.kind)
    ending = understand(endings[-1])
    if isinstance(ending, PointmillError):
        raise ending
    return ending


@dataclass(frozen=True)
class _Listener:
    """Who hears what a child says."""

    on_ending: Callable[[dict[str, Any]], None]
    on_progress: Callable[[dict[str, Any]], None]
    log: LogTail


async def _live(forks: Forks, order: Order, bounds: Bounds, listener: _Listener) -> int:
    """Have the order's child live, heard and within its bounds; its exit status.

    Raises:
        TaskFailed: it exceeded a bound.
        ChildDied: it could not be started.
    """
    with in_memory(order.to_json()) as stdin:
        child = await forks.spawn(order.kind, stdin, order.scratch)
    try:
        working = asyncio.create_task(_converse(child, listener))
        folders = (order.out, order.scratch)
        watching = asyncio.create_task(watch(child.pid, folders, bounds))
        try:
            async with asyncio.timeout(bounds.seconds):
                await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                return await working
        except TimeoutError:
            raise TaskFailed(
                "time_limit",
                "The task took too long",
                f"It was stopped after {bounds.seconds:.0f} s, the limit of {order.kind}.",
                "Split the file, or ask the operators for a longer limit.",
            ) from None
        except TaskFailed as error:
            ATTEMPTS_STOPPED.labels(error.code).inc()
            raise
        finally:
            working.cancel()
            watching.cancel()
    finally:
        await to_the_end(child)


async def to_the_end(child: Child) -> None:
    """Kill the tree and see it dead, however often this is cancelled meanwhile."""
    ending = asyncio.create_task(child.end())
    cancelled = None
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _converse(child: Child, listener: _Listener) -> int:
    """Hear the child to its end; its exit status."""
    await asyncio.gather(_read_words(child, listener), read_log(child, listener.log))
    return await child.wait()


async def _read_words(child: Child, listener: _Listener) -> None:
    async for words in words_of(child):
        if "sandbox" in words:  # said once, before the task is loaded
            note_level(words["sandbox"])
        elif "progress" in words:
            listener.on_progress(words["progress"])
        else:
            listener.on_ending(words)


def note_level(level: str) -> None:
    """Tell how far a child is shut in."""
    if level in LEVELS:
        logger.info("attempt_sandboxed", sandbox=level)
        ATTEMPTS_SANDBOXED.labels(level).inc()


async def words_of(child: Child) -> AsyncIterator[dict[str, Any]]:
    """What a child says, line by line, to its end."""
    async for line in _lines(child.stdout):
        try:
            words = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a native library that writes to the first descriptor
        if isinstance(words, dict):
            yield words


async def read_log(child: Child, log: LogTail) -> None:
    """Keep what a child logs, to its end."""
    async for line in _lines(child.stderr):
        log.add(line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # a line over the limit was thrown away
        if not line:
            return
        yield line


def understand(words: dict[str, Any]) -> Ending:
    """What a child's last words on a job mean."""
    if "result" in words:
        return Answer(words["result"], words["products"])
    if words.get("retryable"):
        return Retry(words["error"])
    return TaskFailed(**words["error"])


def _silent_death(status: int, kind: str) -> PointmillError:
    """What an exit status means when there were no last words."""
    if status == -signal.SIGKILL:
        return ChildDied(
            "It was killed from outside, most likely because the machine ran out of memory."
        )
    if status == -signal.SIGXCPU:
        return TaskFailed(
            "cpu_limit",
            "The task used too much processor time",
            f"{kind} has a limit.",
            "Split the file.",
        )
    if status == -signal.SIGXFSZ:
        return TaskFailed(
            "file_limit",
            "The task wrote too large a file",
            f"{kind} has a limit.",
            "Split the file.",
        )
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return TaskFailed(
        "task_crashed",
        "The file made the task crash",
        f"The process ended with {how} before it could say why. Nothing else was harmed.",
        "Check the file with another program; if it is sound, tell the operators the job's id.",
    )
