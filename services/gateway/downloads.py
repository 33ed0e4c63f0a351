"""Handing out an object: whole or a range of it (RFC 9110 section 14), in constant memory."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from services.gateway.problems import RANGE_NOT_SATISFIABLE, Problem
from shared.objects import ObjectStore

# One range only; several at once is an invitation to make the server work.
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# A client that takes nothing for so long has gone to sleep.
WRITE_SECONDS = 60.0


@dataclass(frozen=True)
class Download:
    """An object and how it is presented."""

    key: str
    size: int
    etag: str
    media_type: str
    file_name: str


async def send(request: web.Request, store: ObjectStore, download: Download) -> web.StreamResponse:
    """Answer with the object, the range of it that is asked for, or 304."""
    headers = {
        "ETag": download.etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(download.file_name),
        # An object never changes, but the key that may read it can be revoked.
        "Cache-Control": "private, no-cache",
    }
    if download.etag in _tags(request.headers.get("If-None-Match", "")):
        return web.Response(status=304, headers=headers)
    start, end = _range(request, download)
    partial = (start, end) != (0, download.size)
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_type = download.media_type
    response.content_length = end - start
    if request.method == "HEAD" or start == end:
        await response.prepare(request)
        return response
    whole = store.read(download.key) if not partial else None
    pieces = whole or store.read(download.key, start=start, end=end)
    await _stream(request, response, pieces)
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, pieces: AsyncGenerator[bytes, None]
) -> None:
    async with aclosing(pieces):
        # The first piece before the headers: a store that is away can still be said so.
        piece = await anext(pieces, b"")
        await response.prepare(request)
        while piece:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(piece)
            piece = await anext(pieces, b"")
        await response.write_eof()


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _range(request: web.Request, download: Download) -> tuple[int, int]:
    """First byte and the one after the last; the whole when no range, or none we know, is asked."""
    whole = (0, download.size)
    given = request.headers.get("Range")
    if given is None or request.headers.get("If-Range", download.etag) != download.etag:
        return whole
    match = RANGE.fullmatch(given.strip())
    if match is None or match[0] == "bytes=-":
        return whole
    first, last = match[1], match[2]
    if first and last and int(last) < int(first):
        return whole
    if not first:
        start, end = max(0, download.size - int(last)), download.size
    else:
        start, end = int(first), min(download.size, int(last) + 1 if last else download.size)
    if start >= download.size or start == end:
        raise Problem(
            RANGE_NOT_SATISFIABLE,
            f"The file has {download.size} bytes.",
            headers={"Content-Range": f"bytes */{download.size}"},
        )
    return start, end


def disposition(file_name: str) -> str:
    """The header that makes a browser save the file under its name (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
