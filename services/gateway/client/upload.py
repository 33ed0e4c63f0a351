"""Sending a file: streamed, watched for stalls, sent again when cut, stored exactly once.

The cloud is made first and its file put into it, so that a second try after a lost answer finds the
file already there instead of storing it twice.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import aiohttp

from services.gateway.client.api import Document, Pointmill, read_object
from services.gateway.client.backoff import Backoff
from services.gateway.client.failures import Failure, Refused, Unreachable

CHUNK_BYTES = 1 << 20
# About a minute of pauses in all: a gateway that is replaced, or a short break of the network.
ATTEMPTS = 12
# No byte taken for so long, or no answer after the last byte: the try is given up.
STALL_SECONDS = 90.0
FORGET_SECONDS = 5.0

Moved = Callable[[int], None]


@dataclass(frozen=True)
class Sent:
    """What the server made of the file: the cloud, and the job that mills it."""

    cloud: Document
    job: Document


def _unseen(_what: object) -> None:
    """For a caller who does not look."""


async def send_file(
    api: Pointmill,
    path: Path,
    *,
    project: str | None = None,
    moved: Moved = _unseen,
    retrying: Callable[[Failure], None] = _unseen,
) -> Sent:
    """Store a file as a new cloud; at its end the server orders the ingest by itself.

    Args:
        api: the server.
        path: the file, of any size; it is read in pieces of a MiB.
        project: the id of the project the cloud is to belong to.
        moved: told the number of bytes sent so far; it falls back to 0 when the file is sent again.
        retrying: told why the file is about to be sent again.

    Raises:
        Failure: the file cannot be read, is refused, or could not be sent in `ATTEMPTS` tries; the
            server keeps nothing of it then.
    """
    size = await _size_of(path)
    order: Document = {"name": path.name}
    if project is not None:
        order["project"] = project
    cloud = await api.ask("POST", "/v1/clouds", json=order)
    try:
        return await _Transfer(api, cloud["id"], path, size, moved).run(retrying)
    except (Failure, asyncio.CancelledError):
        await _forget(api, cloud["id"])
        raise


@dataclass(frozen=True)
class _Transfer:
    """One file on its way into one cloud."""

    api: Pointmill
    cloud_id: str
    path: Path
    size: int
    moved: Moved

    async def run(self, retrying: Callable[[Failure], None]) -> Sent:
        """Send it until it is stored, or until another try is of no use."""
        backoff = Backoff(ATTEMPTS)
        tried = False
        while True:
            self.moved(0)
            try:
                return await self._send()
            except Refused as refusal:
                if refusal.code == "cloud_already_stored" and tried:
                    # An earlier try had arrived whole; only its answer was lost.
                    cloud = await self.api.cloud(self.cloud_id)
                    return Sent(cloud, await self.api.job(cloud["job"]))
                failure: Failure = refusal
            except Unreachable as unreachable:
                failure = unreachable
            tried = True
            seconds = backoff.after(failure)
            retrying(failure)
            await asyncio.sleep(seconds)

    async def _send(self) -> Sent:
        """One try, given up when nothing moves for `STALL_SECONDS`."""
        file = await _open(self.path)
        try:
            async with asyncio.timeout(STALL_SECONDS) as deadline:
                body = _Body(file, self, deadline)
                try:
                    return await self._put(body)
                except Unreachable:
                    if body.failure is not None:
                        raise body.failure from None
                    raise
        except TimeoutError:
            took_nothing = f"{self.api.url} took nothing for {STALL_SECONDS:g} seconds."
            raise Unreachable(took_nothing) from None
        finally:
            file.close()

    async def _put(self, body: "_Body") -> Sent:
        options: dict[str, Any] = {
            "params": {"name": self.path.name},
            "data": body.chunks(),
            "headers": {
                "Content-Length": str(self.size),
                "Content-Type": "application/octet-stream",
            },
            # The server says whether it wants the file before the first byte of it is sent.
            "expect100": True,
            # A read timeout would run from that word on, while we write; our deadline holds.
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=10),
        }
        path = f"/v1/clouds/{quote(self.cloud_id, safe='')}/file"
        async with self.api.open("PUT", path, **options) as response:
            answer = await read_object(response, self.api.url)
        return Sent(answer["cloud"], answer["job"])


class _Body:
    """The file as the body of one request."""

    def __init__(self, file: BinaryIO, transfer: _Transfer, deadline: asyncio.Timeout) -> None:
        # aiohttp tells of a body that raised as of a broken connection; the reason is kept here.
        self.failure: Failure | None = None
        self._file = file
        self._transfer = transfer
        self._deadline = deadline

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, as many as were announced; each that was taken puts the deadline off."""
        loop = asyncio.get_running_loop()
        sent = 0
        size = self._transfer.size
        while sent < size:
            chunk = await self._read(min(CHUNK_BYTES, size - sent))
            yield chunk
            sent += len(chunk)
            self._transfer.moved(sent)
            self._deadline.reschedule(loop.time() + STALL_SECONDS)

    async def _read(self, most: int) -> bytes:
        try:
            chunk = await asyncio.to_thread(self._file.read, most)
        except OSError as error:
            self.failure = unreadable(self._transfer.path, error.strerror or str(error))
            raise self.failure from error
        if not chunk:
            self.failure = unreadable(self._transfer.path, "it became shorter while it was read")
            raise self.failure
        return chunk


async def _open(path: Path) -> BinaryIO:
    try:
        return await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from error


async def _size_of(path: Path) -> int:
    """The file's size in bytes; refuses what is no plain, readable file before anything is sent."""
    file = await _open(path)
    with file:
        status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise unreadable(path, "it is not a file")
    return status.st_size


async def _forget(api: Pointmill, cloud_id: str) -> None:
    """Take back the cloud that has no file; what cannot be taken back now is only an empty cloud."""
    with contextlib.suppress(Failure, TimeoutError):
        async with asyncio.timeout(FORGET_SECONDS):
            await api.ask("DELETE", f"/v1/clouds/{quote(cloud_id, safe='')}", attempts=2)


def unreadable(path: Path, why: str) -> Failure:
    """The failure that says why a local file cannot be read."""
    return Failure(
        "file_unreadable",
        "The file cannot be read",
        f"{path}: {why}.",
        "Name a file that exists and that you may read.",
    )
