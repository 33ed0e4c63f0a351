"""Objects in a Google Cloud Storage bucket, below a prefix."""

import asyncio
import base64
import binascii
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
import google_crc32c

from shared.errors import ChecksumMismatch, ObjectExists, ObjectMissing, StorageUnavailable
from shared.objects import DEFAULT_MEDIA_TYPE, ObjectInfo, check_key, check_prefix, check_range
from shared.objects.gcs_api import BucketApi, end_of_range, refused
from shared.objects.gcs_retries import Patience, Retries, connection_problem
from shared.objects.gcs_session import CHUNK_BYTES, Refused, ResumableSession
from shared.objects.part import check_crc32c, check_limit, file_chunks, save, verified

CHECK_SECONDS = 5.0
UNDO_SECONDS = 10.0
_READ_BYTES = 1 << 20
# Tells, after a lost answer, whether the object that is there now is the one we sent.
_MARK = "pointmill-upload"
_CHECKSUM_WORDS = ("crc32c", "hash", "checksum")


class GcsStore:
    """An ObjectStore in a bucket."""

    def __init__(self, api: BucketApi, prefix: str, patience: Patience) -> None:
        """Use the bucket below the prefix; no request is made."""
        self._api = api
        self._folder = f"{prefix}/" if prefix else ""
        self._patience = patience

    @classmethod
    async def open(cls, bucket: str, prefix: str, patience: Patience | None = None) -> Self:
        """Open the store; the bucket is not asked before it is needed."""
        patience = patience or Patience()
        return cls(await BucketApi.open(bucket, patience), prefix, patience)

    async def create(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        limit: int | None = None,
        crc32c: str | None = None,
    ) -> ObjectInfo:
        """See ObjectStore."""
        if await self.stat(key) is not None:
            # Only the precondition decides; this spares sending a file that cannot be kept.
            raise _exists(key)
        mark = secrets.token_hex(16)
        metadata = {"contentType": media_type, "metadata": {_MARK: mark}}
        session = await self._api.begin(self._name(key), metadata, self._patience)
        if session is None:
            raise _exists(key)
        try:
            size, crc, buffer = await _send(session, chunks, limit)
            check_crc32c(crc32c, f"{crc:08x}")
            info = self._info(await self._finish(session, key, mark, buffer, crc))
            _check_same(info, size, crc)
        except BaseException:
            await asyncio.shield(self._undo(session, key, mark))
            raise
        return info

    async def create_from_file(
        self, key: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE
    ) -> ObjectInfo:
        """See ObjectStore."""
        async with aclosing(file_chunks(path)) as chunks:
            return await self.create(key, chunks, media_type=media_type)

    async def upload_url(
        self, key: str, *, media_type: str, size: int, origin: str | None
    ) -> str | None:
        """See ObjectStore."""
        headers = {"X-Upload-Content-Length": str(size)} | ({"Origin": origin} if origin else {})
        metadata = {"contentType": media_type}
        url = await self._api.session_url(self._name(key), metadata, headers, self._patience)
        if url is None:
            raise _exists(key)
        return url

    async def stat(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        resource = await self._api.metadata(self._name(key), self._patience)
        return None if resource is None else self._info(resource)

    async def read(
        self, key: str, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See ObjectStore."""
        check_range(start, end)
        if start == 0 and end is None:
            info = await self._existing(key)
            async with (
                aclosing(self._stream(key, 0, info.size)) as raw,
                aclosing(verified(raw, info)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        elif start == end:
            await self._existing(key)
        else:
            async with aclosing(self._stream(key, start, end)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def download(self, key: str, path: Path) -> ObjectInfo:
        """See ObjectStore."""
        info = await self._existing(key)
        try:
            await self._save(info, path)
        except ChecksumMismatch:
            # Bits flip on the way as well: a second look tells the wire from the bucket.
            await self._save(info, path)
        return info

    async def signed_url(
        self, key: str, seconds: int, media_type: str, disposition: str
    ) -> str | None:
        """See ObjectStore."""
        return await self._api.signed_url(self._name(key), seconds, media_type, disposition)

    async def delete(self, key: str) -> None:
        """See ObjectStore."""
        await self._api.delete(self._name(key), None, self._patience)

    async def list(self, prefix: str) -> AsyncGenerator[ObjectInfo, None]:
        """See ObjectStore."""
        check_prefix(prefix)
        params = {"prefix": self._folder + prefix}
        while True:
            page = await self._api.page(params, self._patience)
            for resource in page["items"]:
                # Consoles make "folders" of empty objects that no key of ours could name.
                if not str(resource.get("name", "/")).endswith("/"):
                    yield self._info(resource)
            if not page.get("nextPageToken"):
                return
            params["pageToken"] = str(page["nextPageToken"])

    async def check(self) -> None:
        """See ObjectStore."""
        seconds = min(CHECK_SECONDS, self._patience.request)
        once = replace(self._patience, without_progress=0, request=seconds)
        await self._api.page({"prefix": self._folder, "maxResults": "1"}, once)

    async def collect_unfinished(self, older_than_seconds: float) -> int:  # noqa: ARG002
        """See ObjectStore."""
        return 0

    async def close(self) -> None:
        """See ObjectStore."""
        await self._api.close()

    def _name(self, key: str) -> str:
        check_key(key)
        return self._folder + key

    async def _existing(self, key: str) -> ObjectInfo:
        info = await self.stat(key)
        if info is None:
            raise _missing(key)
        return info

    async def _save(self, info: ObjectInfo, path: Path) -> None:
        async with aclosing(self._stream(info.key, 0, info.size)) as chunks:
            await save(chunks, info, path)

    async def _finish(
        self, session: ResumableSession, key: str, mark: str, buffer: bytearray, crc: int
    ) -> dict[str, Any]:
        try:
            return await session.finish(buffer, _to_base64(crc))
        except Refused as refusal:
            # A finished upload whose answer was lost is refused when it is asked for again.
            resource = await self._api.metadata(self._name(key), self._patience)
            if resource is not None:
                if _mark_of(resource) == mark:
                    return resource
                raise _exists(key) from refusal
            raise _explained(refusal) from refusal

    async def _undo(self, session: ResumableSession, key: str, mark: str) -> None:
        """Leave nothing behind: neither the session nor an object that it may have become."""
        with contextlib.suppress(StorageUnavailable, TimeoutError):
            async with asyncio.timeout(UNDO_SECONDS):
                await session.cancel()
                if not session.finishing:
                    return
                resource = await self._api.metadata(self._name(key), self._patience)
                if resource is not None and _mark_of(resource) == mark:
                    generation = str(resource.get("generation", ""))
                    await self._api.delete(self._name(key), generation, self._patience)

    async def _stream(self, key: str, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes of the range, taken up where they stopped when the connection breaks."""
        name = self._name(key)
        retries = Retries(self._patience, f"{key} cannot be read")
        while end is None or start < end:
            response = await self._api.media(name, start, end, self._patience)
            if response == 404:
                raise _missing(key)
            if isinstance(response, int):
                return  # 416: the object ends before the range begins
            problem = "ended the answer early"
            end = end_of_range(response, start, end)
            try:
                async with response:
                    while start < end and (chunk := await response.content.read(_READ_BYTES)):
                        kept = chunk[: end - start]
                        start += len(kept)
                        retries.progressed()
                        yield kept
            except (aiohttp.ClientError, OSError) as error:
                problem = connection_problem(error)
            if start < end:
                await retries.pause(problem)

    def _info(self, resource: dict[str, Any]) -> ObjectInfo:
        try:
            return ObjectInfo(
                key=str(resource["name"]).removeprefix(self._folder),
                size=int(resource["size"]),
                crc32c=base64.b64decode(resource["crc32c"], validate=True).hex(),
                updated_at=datetime.fromisoformat(resource["updated"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            detail = "The bucket described an object in a way that makes no sense."
            raise StorageUnavailable(detail) from error


async def _send(
    session: ResumableSession, chunks: AsyncIterator[bytes], limit: int | None
) -> tuple[int, int, bytearray]:
    """Send all but the end of the bytes; how many there are, their crc32c, and the end."""
    buffer = bytearray()
    size = crc = 0
    try:
        async for chunk in chunks:
            size += len(chunk)
            check_limit(size, limit)
            crc = google_crc32c.extend(crc, chunk)
            buffer += chunk
            # The last byte is kept back: only the last request may be short, and it must come.
            while len(buffer) > CHUNK_BYTES:
                await session.append(buffer)
    except Refused as refusal:
        raise _explained(refusal) from refusal
    return size, crc, buffer


def _explained(refusal: Refused) -> ChecksumMismatch | ObjectExists | StorageUnavailable:
    """The error that a refused upload stands for, when no object is there."""
    # Google answers a wrong checksum with 400, other servers of its protocol with 412.
    about_checksum = any(word in refusal.text.lower() for word in _CHECKSUM_WORDS)
    if refusal.status in {400, 412} and about_checksum:
        return ChecksumMismatch("The bucket received other bytes than were sent.")
    if refusal.status == 412:
        return ObjectExists("An object of this key came and went while the upload was under way.")
    if refusal.status in {404, 410}:
        return StorageUnavailable("The bucket has lost the upload.")
    return refused("The upload failed", refusal.status)


def _check_same(info: ObjectInfo, size: int, crc: int) -> None:
    if info.size != size:
        raise ChecksumMismatch(f"{size} bytes were sent, but the bucket holds {info.size}.")
    check_crc32c(f"{crc:08x}", info.crc32c)


def _mark_of(resource: dict[str, Any]) -> str:
    metadata = resource.get("metadata")
    return str(metadata.get(_MARK, "")) if isinstance(metadata, dict) else ""


def _to_base64(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def _exists(key: str) -> ObjectExists:
    return ObjectExists(f"{key} is already there.")


def _missing(key: str) -> ObjectMissing:
    return ObjectMissing(f"There is no object {key}.")
