"""The child of one slot of light jobs: it stays while batches of the same kind and workspace come.

A fork costs more than most light jobs. So the child is kept, within bounds: what jobs of one workspace
leave behind in it never meets those of another, it grows old neither by the clock nor by its work, and
one that has left a file or exceeded anything is not used again.
"""

import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog

from services.processor.attempt import remove_folder
from services.processor.forks import Forks
from services.processor.metrics import ATTEMPTS_STOPPED
from services.processor.process_tree import Child, ChildDied
from services.processor.runner import (
    Ending,
    LogTail,
    Order,
    note_level,
    read_log,
    to_the_end,
    understand,
    words_of,
)
from services.processor.watch import Bounds, watch
from shared.errors import PointmillError, TaskFailed

STAYS_SECONDS = 60.0
BUSY_SECONDS = 10.0  # well below what a kind may take of a processor

logger = structlog.get_logger()


class LightChild:
    """At most one child at a time, forked when a batch comes that the last one is not for.

    Args:
        forks: where children come from.
        order: what each is told, but for the kind and its folders.
        bounds: what each may take; `seconds` is the time for a batch.
        scratch: where their folders are made.
    """

    def __init__(self, forks: Forks, order: Order, bounds: Bounds, scratch: Path) -> None:
        self._forks = forks
        self._order = order
        self._bounds = bounds
        self._scratch = scratch
        self._room: _Room | None = None

    async def run(
        self, kind: str, workspace: UUID | None, batch: Sequence[dict[str, Any]]
    ) -> list[tuple[Ending, LogTail]]:
        """The ending and the log of each job of a batch, in order. An empty one warms the child up.

        There are fewer endings than jobs if the child died, or was stopped, on the way: the first
        job without one was it.
        """
        endings: list[tuple[Ending, LogTail]] = []
        sound = False
        try:
            async with asyncio.timeout(self._bounds.seconds):  # the fork server's start included
                room = await self._enter(kind, workspace)
                sound = await room.work(batch, endings)
        except PointmillError as error:
            logger.warning("batch_stopped", kind=kind, code=error.code, detail=error.detail)
        except TimeoutError:
            logger.warning("batch_stopped", kind=kind, code="time_limit")
        finally:
            if not sound:
                await self.leave()
        return endings

    async def leave_if_old(self) -> None:
        """Keep no child that nobody has needed for long."""
        if self._room is not None and self._room.is_old:
            await self.leave()

    async def leave(self) -> None:
        """End the child, and its whole tree."""
        room, self._room = self._room, None
        if room is not None:
            await room.close()

    async def _enter(self, kind: str, workspace: UUID | None) -> "_Room":
        room = self._room
        if room is not None and room.kind == kind and not room.is_old:
            if room.workspace is None:
                room.workspace = workspace
            if room.workspace == workspace:
                return room
        await self.leave()
        self._room = await _open_room(
            self._forks, replace(self._order, kind=kind), self._bounds, self._scratch
        )
        self._room.workspace = workspace
        return self._room


class _Room:
    """One child, the folder it works in, and whoever hears and watches it."""

    def __init__(
        self, kind: str, child: Child, to_child: asyncio.StreamWriter, folder: str, bounds: Bounds
    ) -> None:
        self.kind = kind
        self.workspace: UUID | None = None
        self._child = child
        self._words = words_of(child)
        self._to_child = to_child
        self._folder = Path(folder)
        self._bounds = bounds
        self._born = time.monotonic()
        self._busy = 0.0
        self._reading = asyncio.create_task(read_log(child, LogTail()), name="log of a light child")

    @property
    def is_old(self) -> bool:
        """Whether it has lived, or worked, for long enough."""
        return time.monotonic() > self._born + STAYS_SECONDS or self._busy > BUSY_SECONDS

    async def work(
        self, batch: Sequence[dict[str, Any]], endings: list[tuple[Ending, LogTail]]
    ) -> bool:
        """Have the batch done; whether the child may have another."""
        began = time.monotonic()
        self._to_child.write(orjson.dumps(batch) + b"\n")
        # Only while it works: a look costs more than most batches, and few last until the first.
        watching = asyncio.create_task(self._watch(), name="watch over a light child")
        try:
            while len(endings) < len(batch):
                words = await anext(self._words, None)
                if words is None:
                    return False
                endings.append((understand(words), LogTail(words.get("log", ""))))
        finally:
            watching.cancel()
        self._busy += time.monotonic() - began
        return not any(self._folder.iterdir())

    async def shut_in(self) -> None:
        """Wait until the child is behind its walls.

        Raises:
            PointmillError: it could not be shut in as required.
        """
        words = await anext(self._words, None)
        if words is None:
            raise ChildDied("It ended before it had begun.")
        if "sandbox" not in words:
            error = understand(words)
            raise error if isinstance(error, PointmillError) else ChildDied("It spoke too early.")
        note_level(words["sandbox"])

    async def _watch(self) -> None:
        try:
            await watch(self._child.pid, (self._folder,), self._bounds)
        except TaskFailed as error:
            ATTEMPTS_STOPPED.labels(error.code).inc()
            logger.warning("batch_stopped", kind=self.kind, code=error.code, detail=error.detail)
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    async def close(self) -> None:
        """See the whole tree dead and its folder gone."""
        self._reading.cancel()
        self._to_child.close()
        await to_the_end(self._child)
        await asyncio.to_thread(remove_folder, self._folder)


async def _open_room(forks: Forks, order: Order, bounds: Bounds, scratch: Path) -> _Room:
    folder = tempfile.mkdtemp(prefix="light-", dir=scratch)
    ours, theirs = socket.socketpair()
    with theirs:
        _, to_child = await asyncio.open_unix_connection(sock=ours)
        to_child.write(replace(order, out=Path(folder), scratch=Path(folder)).to_json() + b"\n")
        try:
            child = await forks.spawn(order.kind, theirs.fileno(), Path(folder))
        except BaseException:
            to_child.close()
            remove_folder(Path(folder))
            raise
    room = _Room(order.kind, child, to_child, folder, bounds)
    try:
        await room.shut_in()
    except BaseException:
        await room.close()
        raise
    return room
