"""How the processor comes by the children of its attempts: it asks the fork server, and adopts them."""

import asyncio
import ctypes
import itertools
import os
import socket
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.processor.process_tree import Child, ChildDied, Pipe, bury

PR_SET_CHILD_SUBREAPER = 36
START_SECONDS = 30.0
PROJECT = Path(__file__).parents[2]

logger = structlog.get_logger()


class Forks:
    """The fork server, started when it is first needed and again when it has ended."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._starting: asyncio.Task[socket.socket] | None = None
        self._server: asyncio.subprocess.Process | None = None
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._burials: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The fork server's process; None before the first child."""
        return self._server.pid if self._server else None

    async def spawn(self, kind: str, stdin: int, folder: Path) -> Child:
        """Fork a child for jobs of `kind`; it reads its order on `stdin`, and works in `folder`.

        The descriptor stays the caller's, to close.

        Raises:
            ChildDied: there is no child; another attempt may have one.
        """
        ticket = next(self._tickets)
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        stdout, stderr = Pipe(), Pipe()
        request = orjson.dumps(
            {
                "ticket": ticket,
                "kind": kind,
                "folder": str(folder),
                "environment": {"HOME": str(folder), "TMPDIR": str(folder)},
            }
        )
        try:
            await self._ask(request, [stdin, stdout.write, stderr.write])
            self._waiting[ticket] = reply  # nothing was awaited since: the answer is not here yet
            stdout.close_write()
            stderr.close_write()
            async with asyncio.timeout(START_SECONDS):
                return Child(await reply, stdout, stderr)
        except BaseException as error:
            stdout.close()
            stderr.close()
            self._refuse(reply)
            if isinstance(error, OSError | TimeoutError):
                self._forget_server()
                raise ChildDied(f"It could not be started: {type(error).__name__}.") from error
            raise

    def _refuse(self, reply: "asyncio.Future[int]") -> None:
        """Nobody waits for this child any more: it is buried now, or when it comes."""
        if not reply.cancel() and not reply.cancelled() and reply.exception() is None:
            self._begin_burial(bury(reply.result()))

    async def _ask(self, request: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(await self._open(), [request], descriptors)
        except (BrokenPipeError, ConnectionResetError):  # it has ended, and we had not heard
            self._forget_server()
            socket.send_fds(await self._open(), [request], descriptors)

    async def close(self) -> None:
        """End the fork server. Children that still work are left to whoever holds them."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        self._forget_server()
        if self._burials:
            await asyncio.wait(self._burials)
        _adopt_orphans(adopt=False)

    async def _open(self) -> socket.socket:
        """The way to the fork server. Who is cancelled while it starts does not stop the start."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="fork server starts")
        try:
            return await asyncio.shield(self._starting)
        except OSError as error:
            self._forget_server()
            raise ChildDied("The fork server could not be started.") from error

    async def _start(self) -> socket.socket:
        _adopt_orphans(adopt=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._channel = ours
        with theirs:
            self._server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.processor.forkserver",
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
                env=_environment(),
            )
        asyncio.get_running_loop().add_reader(ours, self._hear, ours)
        logger.info("fork_server_started", pid=self._server.pid)
        return ours

    def _hear(self, channel: socket.socket) -> None:
        """The fork server has forked, or has ended."""
        try:
            packet = channel.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            logger.warning("fork_server_ended")
            self._forget_server()
            return
        words = orjson.loads(packet)
        reply = self._waiting.pop(words["ticket"])
        if reply.done():
            self._begin_burial(bury(words["pid"]))
        else:
            reply.set_result(words["pid"])

    def _begin_burial(self, burial: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(burial)
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    def _forget_server(self) -> None:
        """Nothing more is asked of it; whoever waits for a child gets none."""
        channel, self._channel, self._starting = self._channel, None, None
        server, self._server = self._server, None
        if server is not None:
            self._begin_burial(_bury_server(server))
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(ChildDied("The fork server has ended."))
        self._waiting.clear()


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """A file descriptor to read the content from."""
    descriptor = os.memfd_create("order")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


async def _bury_server(server: asyncio.subprocess.Process) -> None:
    """End a fork server, and whoever it had between itself and a child."""
    with suppress(ProcessLookupError):
        server.kill()
    await server.wait()
    await bury(server.pid)


def _adopt_orphans(*, adopt: bool) -> None:
    """Whether processes below us whose parent has ended become our children (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def _environment() -> dict[str, str]:
    """No secret of the service reaches a child: it gets what it needs and nothing else."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ
    }
    return {
        **kept,
        "PYTHONPATH": str(PROJECT),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # One thread per process: the engine's own processes keep the cores busy.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
    }
