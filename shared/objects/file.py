"""Objects in a folder of this machine.

An object of the key `a/b.las` is the plain file `objects/a/b.las/<crc32c>`: the bytes as they came,
named by their checksum inside a folder named by their key. One rename of that folder makes the
object appear, complete, with its checksum, and fails if there is one already. So bytes and
checksum cannot come apart in a crash, in a copy or in a backup, on any file system; a side file
can, extended attributes get lost, and a checksum made from the disk's bytes would prove nothing.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Self

from shared.errors import ChecksumMismatch, ObjectExists, ObjectMissing
from shared.objects import DEFAULT_MEDIA_TYPE, ObjectInfo, check_key, check_prefix, check_range
from shared.objects.part import (
    DISK_SECONDS,
    Part,
    file_chunks,
    fill,
    in_thread,
    read_file,
    save,
    sync_folder,
    verified,
)

CHECK_SECONDS = 5.0
_LIST_BATCH = 500
_CHECKSUM_NAME = re.compile(r"[0-9a-f]{8}")
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
# A folder emptied by a delete may vanish between our making it and our using it, but not for ever.
_RACES = 10


class FileStore:
    """An ObjectStore in a folder; several processes of one machine may share it."""

    def __init__(self, root: Path) -> None:
        """Use the folder as it is; `open` makes what it needs."""
        self._objects = root / "objects"
        self._unfinished = root / "unfinished"

    @classmethod
    async def open(cls, root: Path) -> Self:
        """Open the store, making its folders if need be."""
        store = cls(root)
        await in_thread(DISK_SECONDS, _make_folders, store._objects)
        await in_thread(DISK_SECONDS, _make_folders, store._unfinished)
        return store

    async def create(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,  # noqa: ARG002 - a folder has no place for it
        limit: int | None = None,
        crc32c: str | None = None,
    ) -> ObjectInfo:
        """See ObjectStore."""
        if await self.stat(key) is not None:
            # Only the rename decides; this spares sending a file that cannot be kept.
            raise _exists(key)
        part = Part(self._unfinished / f"{secrets.token_hex(16)}.part")
        await fill(part, chunks, lambda part: self._move_in(part, key), limit=limit, crc32c=crc32c)
        return ObjectInfo(key, part.size, part.crc32c, part.updated_at)

    async def create_from_file(
        self, key: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE
    ) -> ObjectInfo:
        """See ObjectStore."""
        async with aclosing(file_chunks(path)) as chunks:
            return await self.create(key, chunks, media_type=media_type)

    async def upload_url(
        self,
        key: str,  # noqa: ARG002
        *,
        media_type: str,  # noqa: ARG002
        size: int,  # noqa: ARG002
        origin: str | None,  # noqa: ARG002
    ) -> str | None:
        """See ObjectStore."""
        return None

    async def stat(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        check_key(key)
        path = await in_thread(DISK_SECONDS, self._find, key)
        return None if path is None else await in_thread(DISK_SECONDS, self._describe, path)

    async def read(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See ObjectStore."""
        check_range(start, end)
        info = await self._existing(key)
        stop = info.size if end is None else min(end, info.size)
        whole = start == 0 and stop == info.size
        missing = stop - start
        async with (
            aclosing(read_file(self._path(info), start, stop)) as raw,
            aclosing(verified(raw, info) if whole else raw) as chunks,
        ):
            async for chunk in chunks:
                missing -= len(chunk)
                yield chunk
        if missing > 0:
            raise ChecksumMismatch(f"{key} has become {missing} bytes shorter on the disk.")

    async def download(self, key: str, path: Path) -> ObjectInfo:
        """See ObjectStore."""
        info = await self._existing(key)
        async with aclosing(read_file(self._path(info), 0, info.size)) as chunks:
            await save(chunks, info, path)
        return info

    async def signed_url(
        self,
        key: str,  # noqa: ARG002
        seconds: int,  # noqa: ARG002
        media_type: str,  # noqa: ARG002
        disposition: str,  # noqa: ARG002
    ) -> str | None:
        """See ObjectStore."""
        return None

    async def delete(self, key: str) -> None:
        """See ObjectStore."""
        check_key(key)
        await in_thread(DISK_SECONDS, self._remove, key)

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """See ObjectStore."""
        check_prefix(prefix)
        found = self._walk(prefix)
        while batch := await in_thread(DISK_SECONDS, lambda: list(islice(found, _LIST_BATCH))):
            for info in batch:
                yield info

    async def check(self) -> None:
        """See ObjectStore."""
        await in_thread(CHECK_SECONDS, self._try_out)

    async def collect_unfinished(self, older_than_seconds: float) -> int:
        """See ObjectStore."""
        return await in_thread(DISK_SECONDS, self._sweep, time.time() - older_than_seconds)

    async def close(self) -> None:
        """Nothing is kept open between calls."""

    async def _existing(self, key: str) -> ObjectInfo:
        info = await self.stat(key)
        if info is None:
            raise ObjectMissing(f"There is no object {key}.")
        return info

    def _path(self, info: ObjectInfo) -> Path:
        return self._objects / info.key / info.crc32c

    # What follows blocks and runs in threads.

    def _find(self, key: str) -> Path | None:
        try:
            with os.scandir(self._objects / key) as entries:
                for entry in entries:
                    if _CHECKSUM_NAME.fullmatch(entry.name) and entry.is_file():
                        return Path(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        return None

    def _describe(self, path: Path) -> ObjectInfo | None:
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return ObjectInfo(
            key=path.parent.relative_to(self._objects).as_posix(),
            size=status.st_size,
            crc32c=path.name,
            updated_at=datetime.fromtimestamp(status.st_mtime, UTC),
        )

    def _move_in(self, part: Part, key: str) -> Path:
        """Name the finished part by its checksum, then give it the key, all in one rename."""
        folder = part.path.with_suffix(".ready")
        folder.mkdir()
        target = self._objects / key
        try:
            part.path.rename(folder / part.crc32c)
            sync_folder(folder)
            _rename_new(folder, target, key)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            sync_folder(target.parent)
        except OSError:
            (target / part.crc32c).unlink(missing_ok=True)
            raise
        return target / part.crc32c

    def _remove(self, key: str) -> None:
        path = self._find(key)
        if path is not None:
            path.unlink(missing_ok=True)
            # Empty folders go as well; one that is not empty any more stops it.
            with contextlib.suppress(OSError):
                for folder in path.parents:
                    if folder == self._objects:
                        break
                    folder.rmdir()

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        top = self._objects / prefix.rpartition("/")[0]
        for folder, _, names in os.walk(top):
            key = Path(folder).relative_to(self._objects).as_posix()
            for name in names:
                if key.startswith(prefix) and _CHECKSUM_NAME.fullmatch(name):
                    info = self._describe(Path(folder, name))
                    if info is not None:
                        yield info

    def _try_out(self) -> None:
        path = self._unfinished / f"{secrets.token_hex(16)}.check"
        path.write_bytes(b"x")
        path.unlink()
        with os.scandir(self._objects):
            pass

    def _sweep(self, before: float) -> int:
        count = 0
        for path in self._unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
                    count += 1
        return count


def _rename_new(folder: Path, target: Path, key: str) -> None:
    """Move the folder to where nothing is; ObjectExists if something is."""
    for race in range(_RACES):
        try:
            _make_folders(target.parent)
            folder.rename(target)
        except FileNotFoundError:
            if race == _RACES - 1:
                raise
        except OSError as error:
            if error.errno in _TAKEN:
                raise _exists(key) from error
            raise
        else:
            return


def _make_folders(folder: Path) -> None:
    """Make the folder and its parents, each one durable in its own parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def _exists(key: str) -> ObjectExists:
    return ObjectExists(f"{key} is already there, as an object or as the folder of one.")
