"""Programs that are measured: started, known by the processor time of their whole tree, ended."""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local import children
from deploy.local.children import Child, Command
from deploy.local.web import call

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / ".local" / "bench"
LOGS = KEPT / "logs"
RIVALS = Path(__file__).parent / "rivals"
RIVALS_PYTHON = KEPT / "venv" / "bin" / "python"

_TICK = os.sysconf("SC_CLK_TCK")
_MACHINE = ("PATH", "HOME", "LANG")


@dataclass(frozen=True)
class Start:
    """How a program is started.

    Attributes:
        name: of its log.
        argv: what follows the interpreter.
        env: its variables.
        rival: whether it is one of the rivals' programs, in their environment.
    """

    name: str
    argv: Sequence[str]
    env: dict[str, str]
    rival: bool = False


class Program:
    """A running program."""

    def __init__(self, start: Start) -> None:
        """Start it; it dies with us."""
        machine = {name: os.environ[name] for name in _MACHINE if name in os.environ}
        python = str(RIVALS_PYTHON) if start.rival else sys.executable
        command = Command(
            argv=[python, *start.argv],
            env={**machine, **start.env},
            cwd=RIVALS if start.rival else ROOT,
            marker=start.argv[1],
            stop_seconds=30,
            parent_death_signal="KILL",
        )
        self.log = LOGS / f"{start.name}.log"
        self.child: Child = children.start(command, self.log)

    def cpu(self) -> float:
        """Seconds of processor time it has taken so far, with all that it started."""
        return cpu_of(self.child.pid)

    def stop(self) -> None:
        """Ask it to end, wait for it."""
        children.stop([self.child])

    def kill(self) -> None:
        """Kill it and its process group."""
        children.kill([self.child])

    async def until_ready(self, url: str, seconds: float = 60) -> None:
        """Wait until it answers at `url`, whatever below 500."""
        await until(lambda: self._answers(url), seconds, f"{self.log} does not answer at {url}")

    def must_run(self) -> None:
        """Raise RuntimeError with the end of its log if it has ended."""
        if not children.is_running(self.child):
            raise RuntimeError(f"It has ended:\n{children.tail(self.log)}")

    def _answers(self, url: str) -> bool:
        self.must_run()
        try:
            return call("GET", url, timeout=2).status < 500
        except OSError:
            return False


async def until(look: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until `look` says yes.

    Raises:
        TimeoutError: it did not within the time.
    """
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(look):
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        await asyncio.sleep(0.1)


def cpu_of(root: int) -> float:
    """Seconds of processor time of a process, of all below it, and of those that have ended."""
    below: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        below[int(fields[1])].append(int(folder.name))
        ticks[int(folder.name)] = sum(map(int, fields[11:15]))
    total, open_ = 0, [root]
    while open_:
        process = open_.pop()
        total += ticks.get(process, 0)
        open_ += below[process]
    return total / _TICK
