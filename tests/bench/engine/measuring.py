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
_SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Taken:
    """What one or more programs have taken, together with everything that they have started.

    Attributes:
        wall: seconds from the start of the first to the end of the last.
        cpu: seconds of user and system time.
        memory: the most bytes that all processes held at any sample, pages that several of them
            map shared out among them (PSS); 0 if nobody looked.
        output: what they have written.
    """

    wall: float
    cpu: float
    memory: int
    output: str


def run_python(*commands: Sequence[str], watch_memory: bool = False) -> Taken:
    """Run one fresh interpreter per command (`-m module argument ...`), all at the same time."""
    before, began = _children_cpu(), time.perf_counter()
    processes = [_start(command) for command in commands]
    watch = _Watch([process.pid for process in processes]) if watch_memory else None
    outputs = [process.communicate()[0] for process in processes]
    wall, cpu = time.perf_counter() - began, _children_cpu() - before
    memory = watch.stop() if watch else 0
    for process in processes:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return Taken(wall, cpu, memory, "".join(outputs))


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    # Threads of the linear algebra library would only spin; the engine sets the same.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _children_cpu() -> float:
    """Processor time of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Watch:
    """Looks at the memory of some sessions until it is told to stop."""

    def __init__(self, sessions: Sequence[int]) -> None:
        self._sessions = set(sessions)
        self._most = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most bytes seen."""
        self._stopped.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._stopped.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, sum(map(_held_by, self._members())))

    def _members(self) -> list[Path]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) in self._sessions:
                    found.append(process)
            except ProcessLookupError:
                continue
        return found


def _held_by(process: Path) -> int:
    try:
        rollup = (process / "smaps_rollup").read_text()
        return int(rollup.partition("\nPss:")[2].split()[0]) << 10
    except (OSError, IndexError):
        return 0  # it has just ended
