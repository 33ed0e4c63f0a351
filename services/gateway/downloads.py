"""Handing out an object: whole or ranges of it (RFC 9110 section 14), in constant memory."""

import asyncio
import base64
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import quote

from aiohttp import web

from services.gateway.problems import PRECONDITION_FAILED, Problem
from services.gateway.ranges import Span, content_range, spans
from shared.objects import ObjectStore

# A client that takes nothing for so long has gone to sleep.
WRITE_SECONDS = 60.0
# The address names one object for ever, so a browser that has it never asks again. Only its own
# cache may keep it, and only for the same key: that key may be revoked.
IMMUTABLE = "private, max-age=31536000, immutable"
# The address names the latest object of a name: ask each time, by its tag.
LATEST = "private, no-cache"


@dataclass(frozen=True)
class Download:
    """A part of an object and how it is presented.

    Attributes:
        key: the object's.
        size: how many bytes there are.
        sha256: of these bytes, 64 hex digits; empty when nobody has reckoned it.
        tag: what changes with the bytes, for the strong ETag.
        caching: the Cache-Control header.
        start: where the bytes begin in the object.
    """

    key: str
    size: int
    sha256: str
    tag: str
    media_type: str
    file_name: str
    caching: str
    start: int = 0

    @property
    def etag(self) -> str:
        """The strong entity tag."""
        return f'"{self.tag}"'


async def send(request: web.Request, store: ObjectStore, download: Download) -> web.StreamResponse:
    """Answer with the bytes, the ranges of them that are asked for, or 304."""
    headers = _headers(download)
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted.strip() != "*" and download.etag not in _tags(wanted):
        raise Problem(PRECONDITION_FAILED, "The file is another one than `If-Match` names.")
    known = request.headers.get("If-None-Match", "")
    if known.strip() == "*" or download.etag in {tag.removeprefix("W/") for tag in _tags(known)}:
        return web.Response(status=304, headers=headers)
    ranges = _asked(request, download)
    if len(ranges) > 1:
        return await _send_parts(request, store, download, ranges)
    start, end = ranges[0] if ranges else (0, download.size)
    if ranges:
        headers["Content-Range"] = content_range((start, end), download.size)
    response = web.StreamResponse(status=206 if ranges else 200, headers=headers)
    response.content_type = download.media_type
    response.content_length = end - start
    if request.method == "HEAD" or start == end:
        await response.prepare(request)
        return response
    await _stream(request, response, _read(store, download, (start, end)))
    return response


def _headers(download: Download) -> dict[str, str]:
    headers = {
        "ETag": download.etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(download.file_name),
        "Cache-Control": download.caching,
        "Vary": "Authorization, Cookie",
    }
    if download.sha256:
        digest = base64.b64encode(bytes.fromhex(download.sha256)).decode()
        headers["Repr-Digest"] = f"sha-256=:{digest}:"
    return headers


def _asked(request: web.Request, download: Download) -> list[Span]:
    """The ranges that count: of GET only, and only of the version that the client knows."""
    if request.method != "GET":
        return []
    if request.headers.get("If-Range", download.etag).strip() != download.etag:
        return []
    return spans(request.headers.get("Range"), download.size)


async def _send_parts(
    request: web.Request, store: ObjectStore, download: Download, ranges: list[Span]
) -> web.StreamResponse:
    """Several ranges as multipart/byteranges (RFC 9110 section 14.6)."""
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {download.media_type}\r\n"
        f"Content-Range: {content_range(span, download.size)}\r\n\r\n".encode()
        for span in ranges
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = _headers(download)
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response = web.StreamResponse(status=206, headers=headers)
    response.content_length = (
        sum(map(len, heads)) + sum(end - start for start, end in ranges) + len(tail)
    )

    async def pieces() -> AsyncGenerator[bytes, None]:
        for head, span in zip(heads, ranges, strict=True):
            yield head
            async with aclosing(_read(store, download, span)) as chunks:
                async for chunk in chunks:
                    yield chunk
        yield tail

    await _stream(request, response, pieces())
    return response


def _read(store: ObjectStore, download: Download, span: Span) -> AsyncGenerator[bytes, None]:
    if span == (0, download.size) and not download.start:
        return store.read(download.key)  # the whole object: its checksum is looked at
    return store.read(download.key, start=download.start + span[0], end=download.start + span[1])


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
    return {tag.strip() for tag in header.split(",")}


def disposition(file_name: str) -> str:
    """The header that makes a browser save the file under its name (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
