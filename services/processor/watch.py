"""The watch over a running attempt: what all its processes and files take together.

Limits of the kernel hold for one process or one file each; a tree of processes with many files is
seen only from outside. What grows between two looks is bounded by the pause between them.
"""

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

from shared.errors import TaskFailed

LOOK_SECONDS = 0.5
MOST_FILES = 100_000
PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK = 512  # the unit of st_blocks, whatever the file system


@dataclass(frozen=True)
class Bounds:
    """What one attempt may take as a whole.

    Attributes:
        seconds: wall time from its first process to its last word.
        memory_bytes: memory that all its processes hold together, shared pages counted once.
        scratch_bytes: disk space of its folders and of its files without a name.
        processes: how many processes it may have.
    """

    seconds: float = 3600.0
    memory_bytes: int = 4 << 30
    scratch_bytes: int = 256 << 30
    processes: int = 256


async def watch(group: int, folders: tuple[Path, ...], bounds: Bounds) -> NoReturn:
    """Look twice a second at a process group and its folders, until cancelled.

    Raises:
        TaskFailed: `memory_limit`, `scratch_limit` or `process_limit`; the caller ends the group.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(_look, group, folders, bounds)


def _look(group: int, folders: tuple[Path, ...], bounds: Bounds) -> None:
    members = list(members_of(group))
    if len(members) > bounds.processes:
        raise _exceeded(
            "process_limit", "The task started too many processes", bounds.processes, "processes"
        )
    # Resident memory counts shared pages once per process: it is cheap and never too small.
    if sum(map(_resident, members)) > bounds.memory_bytes < sum(map(_proportional, members)):
        raise _exceeded(
            "memory_limit", "The task held too much memory", bounds.memory_bytes, "bytes"
        )
    files = chain(*map(files_in, folders), *map(_nameless, members))
    if _exceeds(files, bounds.scratch_bytes):
        raise _exceeded(
            "scratch_limit", "The task wrote too much", bounds.scratch_bytes, "bytes of files"
        )


def members_of(group: int) -> Iterator[int]:
    """The processes of a group. One system call each: the machine may have thousands."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                if os.getpgid(int(entry.name)) == group:
                    yield int(entry.name)


def files_in(folder: Path) -> Iterator[os.stat_result]:
    """What lies in a folder, at any depth; no link is followed."""
    waiting = [os.fspath(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)


def _nameless(pid: int) -> Iterator[os.stat_result]:
    """Files that a process still holds open after deleting them: they take space like any other."""
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat()
                if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
                    yield found


def _exceeds(files: Iterable[os.stat_result], limit: int) -> bool:
    """Whether the files take more than the limit, or are so many that this look takes too long."""
    sizes: dict[tuple[int, int], int] = {}  # a file with two names or two holders counts once
    for found in files:
        sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
        if len(sizes) > MOST_FILES:
            return True
    return sum(sizes.values()) > limit


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def _proportional(pid: int) -> int:
    """Memory of a process with its share of the pages that it shares."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(pid)


def _exceeded(code: str, title: str, limit: int, unit: str) -> TaskFailed:
    return TaskFailed(
        code,
        title,
        f"It was stopped: one attempt may have {limit} {unit}.",
        "Split the file, or ask the operators for a higher limit.",
    )
