"""One resumable upload into a bucket, by the protocol Google documents for it.

gcloud-aio-storage sends the whole file in one request, repeats all of it with a wrong header after
any refusal, and gives up at a cut connection. Here the file goes in chunks; after trouble the
bucket is asked what it holds, and sending goes on from there.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from shared.errors import StorageUnavailable
from shared.objects.gcs_retries import RETRIED, Patience, Retries, connection_problem

# Every chunk but the last is a multiple of this.
QUANTUM = 256 * 1024
# What is kept for sending again, so also the memory one upload takes.
CHUNK_BYTES = 32 * QUANTUM
_CANCEL_SECONDS = 5.0
_PIECE_BYTES = QUANTUM
_HELD = re.compile(r"bytes=0-(\d{1,18})")


class Refused(Exception):
    """The bucket's answer to an upload is final, and it is no."""

    def __init__(self, status: int, text: str = "") -> None:
        """Keep the HTTP status and the answer's text, which is not for people."""
        super().__init__(f"status {status}")
        self.status = status
        self.text = text


@dataclass(frozen=True)
class _Answer:
    """What a request of the session brought: a problem worth another try, or a status."""

    problem: str = ""
    status: int = 0
    held: int = 0
    resource: dict[str, Any] | None = None


class ResumableSession:
    """Sends one object's bytes; the bucket's word on what it holds is the only truth."""

    def __init__(self, http: aiohttp.ClientSession, url: str, patience: Patience) -> None:
        """Go on with the session that the URL (a secret) stands for, from its first byte."""
        self._http = http
        self._url = url
        self._timeout = patience.timeout()
        self._silence = patience.silence
        self._retries = Retries(patience, "The upload failed")
        self._offset = 0
        self._hash = ""
        self.finishing = False

    async def append(self, buffer: bytearray) -> None:
        """Send the buffer's beginning; what the bucket holds leaves the buffer.

        Raises Refused, and StorageUnavailable when patience ends.
        """
        if await self._drive(buffer, None) is not None:
            raise StorageUnavailable("The bucket ended the upload before the last byte.")

    async def finish(self, buffer: bytearray, crc32c: str) -> dict[str, Any]:
        """Send the rest and end the upload; the finished object's metadata.

        Args:
            buffer: all that is not yet held.
            crc32c: of the whole object, base64; the bucket refuses bytes that do not match.
        """
        self.finishing = True
        self._hash = f"crc32c={crc32c}"
        resource = await self._drive(buffer, self._offset + len(buffer))
        if resource is None:
            raise StorageUnavailable("The bucket did not end the upload.")
        return resource

    async def cancel(self) -> None:
        """Forget the upload, as far as the bucket is there to hear it."""
        timeout = aiohttp.ClientTimeout(total=_CANCEL_SECONDS)
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self._http.delete(self._url, timeout=timeout, allow_redirects=False):
                pass

    async def _drive(self, buffer: bytearray, total: int | None) -> dict[str, Any] | None:
        """Send, and after trouble ask, until bytes have moved (`total` None) or all is done."""
        asking = False
        while True:
            answer = await self._exchange(buffer, total, asking=asking)
            if answer.problem:
                await self._retries.pause(answer.problem)
                asking = True
                continue
            if answer.status != 308:
                return answer.resource
            moved = self._release(buffer, answer.held, total)
            if moved:
                self._retries.progressed()
                if total is None:
                    return None
            elif not asking:
                await self._retries.pause("kept nothing of what was sent")
            asking = False

    async def _exchange(self, buffer: bytearray, total: int | None, *, asking: bool) -> _Answer:
        length = 0 if asking else self._sendable(buffer, total)
        headers = {
            "Content-Length": str(length),
            "Content-Range": self._content_range(length, total),
        }
        if self._hash and not asking:
            headers["X-Goog-Hash"] = self._hash
        try:
            # aiohttp's own timeouts do not end a write that the other side does not read.
            async with (
                asyncio.timeout(None) as clock,
                self._http.put(
                    self._url,
                    data=_Pieces(buffer, length, clock, 2 * self._silence) if length else None,
                    headers=headers,
                    timeout=self._timeout,
                    allow_redirects=False,  # 308 means "go on" here
                ) as response,
            ):
                return _understood(response, await response.read())
        except (aiohttp.ClientError, OSError) as error:
            return _Answer(problem=connection_problem(error))

    @staticmethod
    def _sendable(buffer: bytearray, total: int | None) -> int:
        if total is not None:
            return len(buffer)
        return min(len(buffer), CHUNK_BYTES) // QUANTUM * QUANTUM

    def _content_range(self, length: int, total: int | None) -> str:
        end = "*" if total is None else str(total)
        if not length:
            return f"bytes */{end}"
        return f"bytes {self._offset}-{self._offset + length - 1}/{end}"

    def _release(self, buffer: bytearray, held: int, total: int | None) -> int:
        """Drop what the bucket holds from the buffer; how many bytes that were."""
        if held != total:
            # A bucket keeps whole quanta; sending a rest again is harmless, trusting it is not.
            held -= held % QUANTUM
        moved = held - self._offset
        if not 0 <= moved <= len(buffer):
            raise StorageUnavailable(
                f"The bucket says it holds {held} bytes; that cannot be, after "
                f"{self._offset} confirmed and {len(buffer)} to send."
            )
        del buffer[:moved]
        self._offset = held
        return moved


def _understood(response: aiohttp.ClientResponse, body: bytes) -> _Answer:
    status = response.status
    if status in RETRIED:
        return _Answer(problem=f"answered {status}")
    if status == 308:
        held = _HELD.fullmatch(response.headers.get("Range", ""))
        return _Answer(status=status, held=int(held[1]) + 1 if held else 0)
    if status in {200, 201}:
        with contextlib.suppress(ValueError):
            resource = json.loads(body)
            if isinstance(resource, dict):
                return _Answer(status=status, resource=resource)
        return _Answer(problem="answered something that is no metadata")
    raise Refused(status, body[:2000].decode(errors="replace"))


@dataclass(frozen=True)
class _Pieces:
    """The buffer's first `length` bytes, in copies small enough never to hold up the loop.

    Each must be taken, and the last be answered, within `silence` seconds of the one before.

    Not a plain generator: aiohttp sends a request again by itself when a kept connection turns out
    dead, and must then find the whole body, not what an interrupted generator has left.
    """

    buffer: bytearray
    length: int
    clock: asyncio.Timeout
    silence: float

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, self.length, _PIECE_BYTES):
            self.clock.reschedule(asyncio.get_running_loop().time() + self.silence)
            yield bytes(self.buffer[start : min(start + _PIECE_BYTES, self.length)])
