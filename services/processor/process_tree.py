"""The process tree of an attempt, from outside: heard through pipes, waited for, killed, buried whole."""

import asyncio
import os
import signal
import time
from contextlib import suppress

import structlog

from shared.errors import PointmillError

LINE_BYTES = 1 << 20
READ_BYTES = 1 << 16
BURIAL_SECONDS = 10.0

logger = structlog.get_logger()


class ChildDied(PointmillError):
    """The child ended by a signal that may not come again: the machine was short, or somebody killed it."""

    code = "worker_killed"
    title = "The process of the task was killed"
    remedy = (
        "It is tried again by itself; if it keeps failing, split the file or ask for more memory."
    )
    retryable = True


class Child:
    """The process tree of an attempt: its first process leads a group that all others stay in.

    Attributes:
        pid: the first process and the group. It is ours until `end`, even when it has ended.
        stdout: what it says.
        stderr: what it logs.
    """

    def __init__(self, pid: int, stdout: "Pipe", stderr: "Pipe") -> None:
        self.pid = pid
        self.stdout = stdout.reader
        self.stderr = stderr.reader
        self._pipes = (stdout, stderr)
        self._handle = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._handle, self._hear_end)

    async def wait(self) -> int:
        """Its exit status; the number of the signal that killed it, negative."""
        await self._ended.wait()
        deadline = time.monotonic() + BURIAL_SECONDS
        while True:
            try:
                ending = _look_at_end(self.pid)
            except ChildProcessError:  # it was killed before we had adopted it
                if time.monotonic() > deadline:
                    raise ChildDied("It ended before it had begun.") from None
                await asyncio.sleep(0.005)
                continue
            if ending is None:
                raise ChildDied("It ended without a status.")
            return ending.si_status if ending.si_code == os.CLD_EXITED else -ending.si_status

    def _hear_end(self) -> None:
        self._ended.set()
        asyncio.get_running_loop().remove_reader(self._handle)

    async def end(self) -> None:
        """Kill whoever is left of the tree, and wait until nobody is."""
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        for pipe in self._pipes:
            pipe.close()
        await bury(self.pid)


class Pipe:
    """A pipe that a child writes and we read.

    Attributes:
        write: the child's end, ours to close once the child has it.
        reader: what has come.
    """

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        self.reader = asyncio.StreamReader(limit=LINE_BYTES)
        asyncio.get_running_loop().add_reader(self._read, self._hear)

    def _hear(self) -> None:
        try:
            data = os.read(self._read, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.reader.feed_data(data)
        else:
            self.reader.feed_eof()
            asyncio.get_running_loop().remove_reader(self._read)

    def close_write(self) -> None:
        """Leave the writing end to the child."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def close(self) -> None:
        """Read no more."""
        self.close_write()
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)


async def bury(group: int) -> None:
    """Kill a process group of our own children, and reap every one of them."""
    deadline = time.monotonic() + BURIAL_SECONDS
    while time.monotonic() < deadline:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        try:
            _reap(group)
        except ChildProcessError:  # nobody is left, or nobody is ours yet
            with suppress(ProcessLookupError):
                os.killpg(group, 0)
                await asyncio.sleep(0.002)
                continue
            return
        await asyncio.sleep(0.002)
    logger.error("children_not_buried", group=group)


def _look_at_end(pid: int) -> os.waitid_result | None:
    """How a child has ended. It stays unburied: its number is nobody else's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _reap(group: int) -> None:
    """Bury those of the group that are dead; ChildProcessError when nobody in it is our child."""
    while os.waitpid(-group, os.WNOHANG)[0]:
        pass
