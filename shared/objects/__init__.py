"""Where the bytes live: one small interface over a folder (`file://`) or a bucket (`gs://`).

Nothing here imports Google's library or the checksum module: a store brings its own when it is
opened, so a service that never opens one needs neither installed.
"""

import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

KEY_BYTES = 900
# A folder store turns every part of a key into a folder's name (255 bytes on every file system).
PART_BYTES = 200
PREFIX_BYTES = 100
DEFAULT_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows of one object.

    Attributes:
        key: its name, relative to the store.
        size: length in bytes.
        crc32c: checksum of the bytes, eight lower-case hex digits.
        updated_at: when it was stored, by the store's clock.
    """

    key: str
    size: int
    crc32c: str
    updated_at: datetime


class ObjectStore(Protocol):
    """Objects that are created once, whole, and never change.

    Keys obey `check_key` (else ValueError), and none may be the folder of another. A store that
    does not answer, or answers nonsense, ends in StorageUnavailable; no call waits for ever.
    """

    async def create(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        limit: int | None = None,
        crc32c: str | None = None,
    ) -> ObjectInfo:
        """Store the chunks as a new object, in constant memory, all or nothing.

        On an error, a cancellation and any exception from `chunks` no object is left. The object
        is durable when this returns.

        Args:
            key: where; ObjectExists if an object is already there.
            chunks: the bytes; the caller sees to it that they cannot stall for ever.
            media_type: kept with the object where the store can.
            limit: most bytes to take; ObjectTooLarge as soon as there are more.
            crc32c: what the bytes must add up to (eight hex digits), else ChecksumMismatch.
        """
        ...

    async def create_from_file(
        self, key: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE
    ) -> ObjectInfo:
        """Store a local file as a new object, as `create` does."""
        ...

    async def upload_url(
        self, key: str, *, media_type: str, size: int, origin: str | None
    ) -> str | None:
        """An address (a secret) to which anybody may send the bytes of a new object; None: it has none.

        It speaks Google's protocol of resumable uploads, is good for a week, and never replaces an
        object. The object is there when all the bytes are.

        Args:
            key: the object to be; ObjectExists if one is there.
            media_type: kept with the object.
            size: how many bytes it takes: no more, no less.
            origin: of the page that will send them, which a bucket must know beforehand.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo | None:
        """What is stored under the key; None if nothing."""
        ...

    def read(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The object's bytes from `start` up to, not including, `end`; ObjectMissing if none.

        A range is clipped to the object; one beyond its end is empty. When the whole object is
        read, its last piece is given out only after the checksum was right (ChecksumMismatch),
        so that nobody holds a complete but wrong copy.
        """
        ...

    async def download(self, key: str, path: Path) -> ObjectInfo:
        """Copy the object to a local file that appears only when its checksum is right.

        An existing file is replaced. ObjectMissing, ChecksumMismatch.
        """
        ...

    async def signed_url(
        self, key: str, seconds: int, media_type: str, disposition: str
    ) -> str | None:
        """An address at which the store itself hands the object out to anybody; None: it has none.

        Args:
            key: the object's; not looked up.
            seconds: how long it is good, at most a week.
            media_type: what the store is to say the object is.
            disposition: the Content-Disposition it is to give.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; fine if there is none."""
        ...

    def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """Every object whose key begins with the prefix (any string), in no promised order."""
        ...

    async def check(self) -> None:
        """Return within seconds if the store is usable, else raise StorageUnavailable."""
        ...

    async def collect_unfinished(self, older_than_seconds: float) -> int:
        """Remove what killed uploads left and nobody wrote to for so long; how many there were.

        A bucket forgets unfinished uploads by itself after a week, so there it is always 0.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def check_key(key: str) -> None:
    """Raise ValueError unless the key is a plain relative path that every store can hold."""
    parts = key.split("/")
    if "" in parts or "." in parts or ".." in parts:
        msg = f"An object's key is a relative path without empty, '.' or '..' parts, not {key!r}."
        raise ValueError(msg)
    _check_text(key, KEY_BYTES)
    if any(len(part.encode()) > PART_BYTES for part in parts):
        msg = f"No part of an object's key may have more than {PART_BYTES} bytes: {key!r}."
        raise ValueError(msg)


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless some key could begin with the prefix; the empty one is fine."""
    folders = prefix.split("/")[:-1]
    if "" in folders or "." in folders or ".." in folders:
        msg = f"A prefix is the beginning of an object's key, not {prefix!r}."
        raise ValueError(msg)
    _check_text(prefix, KEY_BYTES)


def check_range(start: int, end: int | None) -> None:
    """Raise ValueError unless some object could have the bytes from `start` up to `end`."""
    if start < 0 or (end is not None and end < start):
        msg = f"There is no range of bytes from {start} up to {end}."
        raise ValueError(msg)


def _check_text(text: str, longest: int) -> None:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        msg = f"An object's key holds no control characters: {text!r}."
        raise ValueError(msg)
    if len(text.encode()) > longest:
        msg = f"An object's key has at most {longest} bytes; this one has {len(text.encode())}."
        raise ValueError(msg)


async def open_store(url: str) -> ObjectStore:
    """Open the store that a `file:///folder` or `gs://bucket/prefix` URL names.

    The folder is made if need be; a bucket is only asked by `check`. ValueError for another URL.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    plain = not (parts.query or parts.fragment)
    # A store's libraries are loaded when it is chosen: not every service installs them.
    if parts.scheme == "file" and not parts.netloc and plain and path[:1] == "/" != path:
        from shared.objects.file import FileStore  # noqa: PLC0415

        return await FileStore.open(Path(path))
    if parts.scheme == "gs" and parts.netloc and plain:
        prefix = path.strip("/")
        if prefix:
            check_key(prefix)
        _check_text(prefix, PREFIX_BYTES)
        from shared.objects.gcs import GcsStore  # noqa: PLC0415

        return await GcsStore.open(parts.netloc, prefix)
    msg = f"A storage URL is file:///folder or gs://bucket/prefix, not {url!r}."
    raise ValueError(msg)
