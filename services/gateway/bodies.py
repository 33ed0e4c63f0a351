"""Reading request bodies: bounded, timed, uncompressed, and asked for only when they are wanted.

A client that sends `Expect: 100-continue` waits for our word before it sends the body. The word is
given where the body is first read, so every refusal before that (401, 404, 413, 415, 422) costs the
client not a byte, and takes the same road as every other answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Self

from aiohttp import ClientPayloadError, HttpVersion11, web

from services.gateway.problems import (
    BODY_CUT,
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    OBJECT_TOO_LARGE,
    UNSUPPORTED_ENCODING,
    UNSUPPORTED_MEDIA_TYPE,
    Kind,
    Problem,
)

JSON_BYTES = 1 << 20
JSON_SECONDS = 15.0
# Less than this on the average is no upload but an occupation.
SLOWEST_BYTES_PER_SECOND = 1024
UPLOAD_BYTES = web.AppKey("UPLOAD_BYTES", int)
UPLOAD_IDLE_SECONDS = web.AppKey("UPLOAD_IDLE_SECONDS", float)
# What aiohttp raises from a read when the peer is gone or breaks the framing of its body.
CUT = (web.RequestPayloadError, ClientPayloadError, ConnectionError)


async def wait_to_be_asked(request: web.Request) -> None:
    """The `expect_handler` of every route: says nothing yet (see the module's first lines)."""


async def invite(request: web.Request) -> None:
    """Tell a client that waits for it to send its body."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp takes a writer that has written for one that has begun its answer.
        request.writer.output_size = 0


def is_json(request: web.Request) -> bool:
    """Whether the request says that its body is JSON."""
    media_type = request.content_type
    return media_type == "application/json" or media_type.endswith("+json")


def _refuse_encoding(request: web.Request) -> None:
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Problem.of_field(UNSUPPORTED_ENCODING, "Content-Encoding", "only identity is taken")


def _refuse_length(request: web.Request, limit: int, kind: Kind) -> None:
    length = request.content_length
    if length is not None and length > limit:
        raise Problem.of_field(kind, "body", f"{length} bytes, the limit is {limit} bytes")


async def read_json(request: web.Request) -> bytes:
    """The bytes of a JSON body of at most `JSON_BYTES`, arrived within `JSON_SECONDS`."""
    if not is_json(request):
        raise Problem.of_field(
            UNSUPPORTED_MEDIA_TYPE, "Content-Type", "application/json is expected"
        )
    _refuse_encoding(request)
    _refuse_length(request, JSON_BYTES, BODY_TOO_LARGE)
    content = request.content
    if content.is_eof():
        # The usual case: the whole body came along with the headers, nothing to wait for.
        try:
            return _bounded(content.read_nowait())
        except CUT as error:
            raise Problem(BODY_CUT) from error
    await invite(request)
    body = bytearray()
    try:
        async with asyncio.timeout(JSON_SECONDS):
            while chunk := await content.readany():
                body += chunk
                if len(body) > JSON_BYTES:
                    break
    except TimeoutError as error:
        raise Problem(BODY_TOO_SLOW) from error
    except CUT as error:
        raise Problem(BODY_CUT) from error
    return _bounded(body)


def _bounded(body: bytes | bytearray) -> bytes:
    if len(body) > JSON_BYTES:
        raise Problem.of_field(BODY_TOO_LARGE, "body", f"the limit is {JSON_BYTES} bytes")
    return bytes(body)


class Upload:
    """A body of any type and size, handed out in chunks as it arrives.

    Attributes:
        length: the announced number of bytes; None when the client sends chunks.
        received: the number of bytes read so far.
        ended: whether all of it has arrived.
    """

    def __init__(self, request: web.Request) -> None:
        """Take the request's body; `of` also refuses what its headers already give away."""
        self._request = request
        self._limit = request.app[UPLOAD_BYTES]
        self._idle_seconds = request.app[UPLOAD_IDLE_SECONDS]
        self.length = request.content_length
        self.received = 0
        self.ended = False

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """The request's body, refused at once if its headers already say that it cannot be taken."""
        _refuse_encoding(request)
        _refuse_length(request, request.app[UPLOAD_BYTES], OBJECT_TOO_LARGE)
        return cls(request)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes; raises a Problem when they stop coming, end early or are too many."""
        await invite(self._request)
        began = time.monotonic()
        while chunk := await self._next():
            self.received += len(chunk)
            if self.received > self._limit:
                raise Problem.of_field(
                    OBJECT_TOO_LARGE, "body", f"the limit is {self._limit} bytes"
                )
            seconds = time.monotonic() - began - self._idle_seconds
            if self.received < seconds * SLOWEST_BYTES_PER_SECOND:
                raise Problem(BODY_TOO_SLOW, f"{self.received} bytes took {seconds:.0f} seconds.")
            yield chunk
        if self.length is not None and self.received != self.length:
            raise Problem(BODY_CUT, f"{self.received} of {self.length} bytes arrived.")
        self.ended = True

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._request.content.readany()
        except TimeoutError as error:
            raise Problem(
                BODY_TOO_SLOW, f"Nothing arrived for {self._idle_seconds:g} seconds."
            ) from error
        except CUT as error:
            raise Problem(BODY_CUT, f"The connection ended after {self.received} bytes.") from error
