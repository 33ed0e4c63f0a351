"""Run programs and say what they took: wall time, processor time, memory of all their processes."""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / ".local" / "bench"
"""Where the clouds are kept, and where everything else is for a while; git does not see it."""

_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Taken:
    """What one or more programs have taken, together with everything that they have started.

    Attributes:
        wall: seconds from the start of the first to the end of the last.
        cpu: seconds of user and system time.
        others: the share of all cores that other programs had meanwhile, 0 to 1.
        held: the most bytes that all processes held at any sample, pages that several of them map
            shared out among them (PSS); 0 if nobody looked.
        highest: the sum of the most bytes that each process ever held (its high water, VmHWM),
            though not at the same time and shared pages counted by each: never less than `held`.
        output: what they have written.
    """

    wall: float
    cpu: float
    others: float
    held: int
    highest: int
    output: str


def run_python(*commands: Sequence[str], watch_memory: bool = False) -> Taken:
    """Run one fresh interpreter per command (`-m module argument ...`), all at the same time.

    Watching the memory takes some processor time from them; it is for runs that are not timed.
    """
    began, busy, own, cpu = time.perf_counter(), _busy(), _cpu_here(), _cpu_of_children()
    processes = [_start(command) for command in commands]
    watch = _Watch([process.pid for process in processes]) if watch_memory else None
    outputs = [process.communicate()[0] for process in processes]
    held, highest = watch.stop() if watch else (0, 0)
    wall, cpu = time.perf_counter() - began, _cpu_of_children() - cpu
    others = (_busy() - busy - cpu - (_cpu_here() - own)) / (wall * (os.cpu_count() or 1))
    for process in processes:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return Taken(wall, cpu, max(others, 0.0), held, highest, "".join(outputs))


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    # Threads of the linear algebra library would only reserve memory; the engine sets the same.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _cpu_of_children() -> float:
    """Seconds of processor time of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu_here() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _busy() -> float:
    """Seconds that all cores together have been busy since the machine was started."""
    user, nice, system, _, _, irq, softirq = Path("/proc/stat").read_text().split()[1:8]
    ticks = sum(map(int, (user, nice, system, irq, softirq)))
    return ticks / os.sysconf("SC_CLK_TCK")


class _Watch:
    """Looks at the memory of some sessions until it is told to stop."""

    def __init__(self, sessions: Sequence[int]) -> None:
        self._sessions = set(sessions)
        self._held = 0
        self._high_waters: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """The most bytes held at once, and the sum of the processes' high waters."""
        self._stopped.set()
        self._thread.join()
        return self._held, sum(self._high_waters.values())

    def _watch(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self._held = max(self._held, sum(map(self._look_at, self._members())))

    def _members(self) -> list[Path]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) in self._sessions:
                    found.append(process)
            except ProcessLookupError:
                continue
        return found

    def _look_at(self, process: Path) -> int:
        """The bytes that the process holds now."""
        try:
            self._high_waters[process.name] = _kibibytes(process / "status", "VmHWM")
            return _kibibytes(process / "smaps_rollup", "Pss")
        except (OSError, IndexError):
            return 0  # it has just ended


def _kibibytes(file: Path, name: str) -> int:
    """A size from a file of /proc, in bytes."""
    return int(file.read_text().partition(f"\n{name}:")[2].split()[0]) << 10
