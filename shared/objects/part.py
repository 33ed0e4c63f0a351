"""Bytes on a local disk: written whole or not at all, checked, and never on the event loop."""

import asyncio
import contextlib
import errno
import os
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import google_crc32c

from shared.errors import (
    ChecksumMismatch,
    ObjectTooLarge,
    StorageUnavailable,
)
from shared.objects import ObjectInfo

BATCH_BYTES = 1 << 20
DISK_SECONDS = 60.0
# An fsync may have gigabytes to bring to a slow disk.
SYNC_SECONDS = 600.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(
    seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run one disk operation in a thread; a disk that fails or stalls is StorageUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.to_thread(function, *args, **kwargs)
    except TimeoutError as error:
        detail = f"The disk did not answer within {seconds:.0f} seconds."
        raise StorageUnavailable(detail) from error
    except OSError as error:
        raise _disk_error(error) from error


def _disk_error(error: OSError) -> StorageUnavailable:
    if error.errno in _FULL:
        return StorageUnavailable(
            f"There is no room left on the disk ({error.strerror}).",
            remedy="Free some space or raise the limit, then try again; nothing half-written is left.",
        )
    return StorageUnavailable(f"The disk refused: {error.strerror or type(error).__name__}.")


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: a file's own fsync does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Part:
    """A file in the making; its length and crc32c grow with its bytes.

    Every method blocks and is called in a thread. A cancelled caller leaves its thread running, so
    they take turns by a lock, and after `discard` nothing more happens and nothing is left.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing yet; the first `write` makes the file at `path`."""
        self.path = path
        self.size = 0
        self.updated_at = datetime.fromtimestamp(0, UTC)
        self._crc = 0
        self._descriptor: int | None = None
        self._published: Path | None = None
        self._discarded = False
        self._lock = threading.Lock()

    @property
    def crc32c(self) -> str:
        """The checksum so far, eight hex digits."""
        return f"{self._crc:08x}"

    def write(self, data: bytes) -> None:
        """Append the bytes, making the file with the first ones."""
        with self._lock:
            if self._discarded:
                return
            if self._descriptor is None:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self._crc = google_crc32c.extend(self._crc, data)
            self.size += len(data)

    def publish(self, commit: Callable[["Part"], Path]) -> None:
        """Make the bytes durable, then let `commit` put the file in its place and name that."""
        self.write(b"")
        with self._lock:
            if self._discarded or self._descriptor is None:
                return
            os.fsync(self._descriptor)
            self.updated_at = datetime.fromtimestamp(os.fstat(self._descriptor).st_mtime, UTC)
            os.close(self._descriptor)
            self._descriptor = None
            self._published = commit(self)

    def discard(self) -> None:
        """Remove the file, wherever it has got to."""
        with self._lock:
            self._discarded = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            self.path.unlink(missing_ok=True)
            if self._published is not None:
                self._published.unlink(missing_ok=True)


async def fill(
    part: Part,
    chunks: AsyncIterator[bytes],
    commit: Callable[[Part], Path],
    *,
    limit: int | None = None,
    crc32c: str | None = None,
) -> None:
    """Write the chunks into the part and publish it; on any exception, leave nothing.

    Args:
        part: not yet written to.
        chunks: the bytes.
        commit: puts the durable file in its place.
        limit: most bytes to take, else ObjectTooLarge.
        crc32c: what the bytes must add up to, else ChecksumMismatch.
    """
    try:
        async for batch in _batches(chunks, limit):
            await in_thread(DISK_SECONDS, part.write, batch)
        check_crc32c(crc32c, part.crc32c)
        await in_thread(SYNC_SECONDS, part.publish, commit)
    except BaseException:
        # A disk that refuses to forget leaves a part that nobody sees, for collect_unfinished.
        with contextlib.suppress(StorageUnavailable):
            await asyncio.shield(in_thread(DISK_SECONDS, part.discard))
        raise


async def _batches(chunks: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    """The same bytes in fewer, larger pieces: one trip to a thread costs more than a small write."""
    pieces: list[bytes] = []
    held = total = 0
    async for chunk in chunks:
        held += len(chunk)
        total += len(chunk)
        check_limit(total, limit)
        pieces.append(chunk)
        if held >= BATCH_BYTES:
            yield b"".join(pieces)
            pieces.clear()
            held = 0
    if pieces:
        yield b"".join(pieces)


def check_limit(size: int, limit: int | None) -> None:
    """Raise ObjectTooLarge when more bytes have come than the limit allows."""
    if limit is not None and size > limit:
        raise ObjectTooLarge(f"More than {limit} bytes arrived; nothing was stored.")


def check_crc32c(expected: str | None, actual: str) -> None:
    """Raise ChecksumMismatch when the bytes do not add up to what was promised, if anything was."""
    if expected is not None and actual != expected:
        raise ChecksumMismatch(f"Expected crc32c {expected}, but the bytes have {actual}.")


async def verified(chunks: AsyncIterator[bytes], info: ObjectInfo) -> AsyncGenerator[bytes, None]:
    """Pass the whole object's chunks on, the last one only if all of them add up."""
    crc = size = 0
    last = b""
    async for chunk in chunks:
        if last:
            yield last
        crc = google_crc32c.extend(crc, chunk)
        size += len(chunk)
        last = chunk
    if size != info.size:
        raise ChecksumMismatch(f"{info.key} has {info.size} bytes, but {size} arrived.")
    check_crc32c(info.crc32c, f"{crc:08x}")
    if last:
        yield last


async def read_file(path: Path, start: int, end: int) -> AsyncGenerator[bytes, None]:
    """The bytes of a local file from `start` up to `end`; fewer if the file ends before."""
    descriptor = await in_thread(DISK_SECONDS, os.open, path, os.O_RDONLY)
    try:
        while start < end:
            length = min(BATCH_BYTES, end - start)
            data = await in_thread(DISK_SECONDS, os.pread, descriptor, length, start)
            if not data:
                return
            yield data
            start += len(data)
    finally:
        os.close(descriptor)


async def file_chunks(path: Path) -> AsyncGenerator[bytes, None]:
    """A local file's bytes; a file that is not there is the caller's FileNotFoundError."""
    async with asyncio.timeout(DISK_SECONDS):
        status = await asyncio.to_thread(path.stat)
    async with aclosing(read_file(path, 0, status.st_size)) as chunks:
        async for chunk in chunks:
            yield chunk


async def save(chunks: AsyncIterator[bytes], info: ObjectInfo, path: Path) -> None:
    """Write the object's chunks to a local file that appears, durable, when they add up."""

    def replace(part: Part) -> Path:
        part.path.replace(path)
        sync_folder(path.parent)
        return path

    part = Part(path.with_name(f".{secrets.token_hex(8)}.part"))
    await fill(part, verified(chunks, info), replace)
