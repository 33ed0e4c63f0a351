"""One disposable process tree per attempt: start it, hear it, and when asked, kill all of it."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.processor.metrics import ATTEMPTS_SANDBOXED, ATTEMPTS_STOPPED
from services.processor.sandbox import LEVELS, Level
from services.processor.watch import Bounds, watch
from shared.errors import PointmillError, TaskFailed
from shared.process import mask

LINE_BYTES = 1 << 20
LOG_LINES = 200
LOG_LINE_CHARACTERS = 500
PROJECT = Path(__file__).parents[2]

logger = structlog.get_logger()


class ChildDied(PointmillError):
    """The child ended by a signal that may not come again: the machine was short, or somebody killed it."""

    code = "worker_killed"
    title = "The process of the task was killed"
    remedy = (
        "It is tried again by itself; if it keeps failing, split the file or ask for more memory."
    )
    retryable = True


@dataclass(frozen=True)
class Order:
    """What a child is told. Paths are local and exist; `sandbox` is the least level it may work at."""

    kind: str
    params: dict[str, Any]
    source: Path | None
    source_name: str | None
    out: Path
    scratch: Path
    memory_bytes: int
    workers: int
    sandbox: Level = "rlimits"

    def to_json(self) -> bytes:
        """The order as the child reads it on stdin."""
        return orjson.dumps(
            {
                "parent": os.getpid(),
                "kind": self.kind,
                "params": self.params,
                "source": str(self.source) if self.source else None,
                "source_name": self.source_name,
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


class LogTail:
    """The last lines that a child has written to stderr, without secrets and without control characters."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES)

    def add(self, line: bytes) -> None:
        """Keep a line."""
        text = line.decode(errors="replace").rstrip()[:LOG_LINE_CHARACTERS]
        self._lines.append(mask("".join(c if c.isprintable() or c == "\t" else "?" for c in text)))

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
    order: Order,
    *,
    seconds: float,
    on_progress: Callable[[dict[str, Any]], None],
    log: LogTail,
    bounds: Bounds | None = None,
) -> Answer:
    """Run the order in a process tree of its own and return its answer.

    When this is cancelled the whole tree is killed before it returns.

    Raises:
        TaskFailed: the task refused, crashed, or took too much; another attempt would not help.
        Retry, ChildDied: another attempt may succeed.
    """
    async with _child(order) as process:
        working = asyncio.create_task(_converse(process, order, on_progress, log))
        folders = (order.out, order.scratch)
        watching = asyncio.create_task(watch(process.pid, folders, bounds or Bounds()))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                answer, status = await working
        except TimeoutError:
            raise TaskFailed(
                "time_limit",
                "The task took too long",
                f"It was stopped after {seconds:.0f} s, the limit of {order.kind}.",
                "Split the file, or ask the operators for a longer limit.",
            ) from None
        except TaskFailed as error:
            ATTEMPTS_STOPPED.labels(error.code).inc()
            raise
        finally:
            working.cancel()
            watching.cancel()
    return _judge(answer, status, order.kind)


async def _converse(
    process: asyncio.subprocess.Process,
    order: Order,
    on_progress: Callable[[dict[str, Any]], None],
    log: LogTail,
) -> tuple[dict[str, Any] | None, int]:
    """Tell the child its order and hear it to its end: its last words and its exit status."""
    answer, _, _ = await asyncio.gather(
        _read_answer(process, on_progress), _read_log(process, log), _tell(process, order)
    )
    return answer, await process.wait()


@asynccontextmanager
async def _child(order: Order) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.processor.child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a group of its own, so that one kill reaches all of it
        cwd=order.scratch,
        env=_environment(order.scratch),
        limit=LINE_BYTES,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(scratch: Path) -> dict[str, str]:
    """No secret of the service reaches the child: it gets what it needs and nothing else."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ
    }
    return {
        **kept,
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        # One thread per process: the engine's own processes keep the cores busy.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
    }


async def _tell(process: asyncio.subprocess.Process, order: Order) -> None:
    if process.stdin is None:
        raise ChildDied("The child has no stdin.")
    try:
        process.stdin.write(order.to_json())
        await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # It has ended already; its exit status says why.


async def _read_answer(
    process: asyncio.subprocess.Process, on_progress: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    answer = level = None
    async for line in _lines(process.stdout):
        try:
            words = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a native library that writes to the first descriptor
        if not isinstance(words, dict):
            continue
        if level is None and words.get("sandbox") in LEVELS:  # said before the task is loaded
            level = words["sandbox"]
            logger.info("attempt_sandboxed", sandbox=level)
            ATTEMPTS_SANDBOXED.labels(level).inc()
        elif "progress" in words:
            on_progress(words["progress"])
        else:
            answer = words
    return answer


async def _read_log(process: asyncio.subprocess.Process, log: LogTail) -> None:
    async for line in _lines(process.stderr):
        log.add(line)


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    if stream is None:
        return
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # a line over the limit was thrown away
        if not line:
            return
        yield line


def _judge(answer: dict[str, Any] | None, status: int, kind: str) -> Answer:
    """What the answer and the exit status mean together.

    Raises:
        TaskFailed, Retry, ChildDied: as `run_child`.
    """
    if answer is not None and "result" in answer:
        return Answer(answer["result"], answer["products"])
    if answer is not None and answer.get("retryable"):
        raise Retry(answer["error"])
    if answer is not None:
        raise TaskFailed(**answer["error"])
    if status == -signal.SIGKILL:
        raise ChildDied(
            "It was killed from outside, most likely because the machine ran out of memory."
        )
    if status == -signal.SIGXCPU:
        raise TaskFailed(
            "cpu_limit",
            "The task used too much processor time",
            f"{kind} has a limit.",
            "Split the file.",
        )
    if status == -signal.SIGXFSZ:
        raise TaskFailed(
            "file_limit",
            "The task wrote too large a file",
            f"{kind} has a limit.",
            "Split the file.",
        )
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    raise TaskFailed(
        "task_crashed",
        "The file made the task crash",
        f"The process ended with {how} before it could say why. Nothing else was harmed.",
        "Check the file with another program; if it is sound, tell the operators the job's id.",
    )
