"""Bad requests as they come over the wire: each has an answer, none of them a 500, and no other hangs."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from services.gateway import bodies
from tests.integration.gateway.conftest import Running

SECONDS = 10.0
BODY = b'{"name": "wire"}'
JSON = "Content-Type: application/json\r\n"


@dataclass(frozen=True)
class Wire:
    """A raw connection to the gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def statuses(self) -> list[int]:
        """The status of every answer until the gateway ends the connection."""
        async with asyncio.timeout(SECONDS):
            data = await self.reader.read(-1)
        return [int(one) for one in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", data)]


@asynccontextmanager
async def wire(running: Running) -> AsyncIterator[Wire]:
    parts = urlsplit(running.api.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def post(key: str, headers: str, body: bytes = BODY, version: str = "1.1") -> bytes:
    head = f"POST /v1/clouds HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}{headers}Connection: close\r\n\r\n".encode() + body


def get(key: str, headers: str = "", path: str = "/v1/kinds", version: str = "1.1") -> bytes:
    head = f"GET {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}{headers}Connection: close\r\n\r\n".encode()


def chunked(chunks: bytes) -> Callable[[str], bytes]:
    return lambda key: post(key, f"{JSON}Transfer-Encoding: chunked\r\n", chunks)


CASES: dict[str, tuple[Callable[[str], bytes], list[int]]] = {
    "10 NUL in the path": (lambda key: get(key, path="/v1/clouds/a%00b"), [422]),
    "10 raw NUL in the path": (lambda key: get(key, path="/v1/clouds/a\x00b"), [400]),
    "15 less announced than sent": (
        lambda key: post(key, f"{JSON}Content-Length: {len(BODY)}\r\n", BODY + b"GET /x"),
        [400],
    ),
    "16 a negative length": (lambda key: post(key, f"{JSON}Content-Length: -5\r\n"), [400]),
    "17 two lengths": (
        lambda key: post(key, f"{JSON}Content-Length: 16\r\nContent-Length: 17\r\n"),
        [400],
    ),
    "18 a length and chunks": (
        lambda key: post(
            key, f"{JSON}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"
        ),
        [400],
    ),
    "19 a chunk with a huge extension": (
        chunked(b"10;" + b"x" * 200_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
        [201],
    ),
    "20 a chunk of more than 64 bits": (chunked(b"FFFFFFFFFFFFFFFFF\r\n" + BODY), [400]),
    "21 a header of 64 kB": (lambda key: get(key, f"X-Long: {'a' * 65536}\r\n"), [400]),
    "22 five hundred headers": (
        lambda key: get(key, "".join(f"X-{number}: a\r\n" for number in range(500))),
        [400],
    ),
    "23 a flood of trailers": (
        chunked(b"10\r\n" + BODY + b"\r\n0\r\n" + b"X-Trailer: a\r\n" * 5000 + b"\r\n"),
        [400],
    ),
    "24 HTTP/1.0": (lambda key: get(key, version="1.0"), [200]),
    "24 HTTP/0.9": (lambda _: b"GET /livez\r\n\r\n", []),
    "24 the preface of HTTP/2": (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "25 a gzip bomb": (
        lambda key: post(key, f"{JSON}Content-Encoding: gzip\r\nContent-Length: 16\r\n"),
        [415],
    ),
    "26 brotli": (
        lambda key: post(key, f"{JSON}Content-Encoding: br\r\nContent-Length: 16\r\n"),
        [415],
    ),
    "31 a method in a header": (
        lambda key: get(key, "X-HTTP-Method-Override: DELETE\r\n"),
        [200],
    ),
    "48 another host": (
        lambda key: get(key).replace(b"Host: x", b"Host: evil.example"),
        [200],
    ),
    "no request at all": (lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400]),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_comes_over_the_wire_is_answered_and_the_connection_ends(
    running: Running, name: str
) -> None:
    request, expected = CASES[name]
    async with wire(running) as connection:
        connection.writer.write(request(running.api.key or ""))
        assert await connection.statuses() == expected
    assert (await running.nobody("GET", "/livez")).status == 200


async def test_a_body_that_is_shorter_than_announced_is_given_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """14: the client waits for an answer to what it has not sent."""
    monkeypatch.setattr(bodies, "JSON_SECONDS", 0.5)
    async with wire(running) as connection:
        headers = f"{JSON}Content-Length: {len(BODY) + 100}\r\n"
        connection.writer.write(post(running.api.key or "", headers))
        async with asyncio.timeout(SECONDS):
            assert b" 408 " in await connection.reader.readline()


async def test_headers_that_never_end_hold_up_nobody(running: Running) -> None:
    """27, 28: a proxy has to end such connections (the README says so); here they cost no request."""
    async with wire(running) as one, wire(running) as other:
        for connection in (one, other):
            connection.writer.write(b"GET /v1/kinds HTTP/1.1\r\nHost: x\r\nX-Half: ")
            await connection.writer.drain()
        began = time.monotonic()
        assert (await running.api("GET", "/v1/kinds")).status == 200
        assert time.monotonic() - began < 5


async def test_two_hundred_idle_connections_hold_up_nobody(running: Running) -> None:
    """29: fewer than in the list, as it is one process that holds both ends here."""
    parts = urlsplit(running.api.base)
    opened = await asyncio.gather(
        *(asyncio.open_connection(parts.hostname, parts.port) for _ in range(200))
    )
    try:
        began = time.monotonic()
        assert (await running.api("GET", "/v1/kinds")).status == 200
        assert time.monotonic() - began < 5
    finally:
        for _, writer in opened:
            writer.close()


async def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(running: Running) -> None:
    """30: in the middle of its body, and in the middle of the answer."""
    before = len(running.stored())
    async with wire(running) as connection:
        key = running.api.key or ""
        head = f"POST /v1/clouds?name=a.laz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        connection.writer.write(f"{head}Content-Length: 100000\r\n\r\n".encode() + b"x" * 5000)
        await connection.writer.drain()
    async with wire(running) as connection:
        connection.writer.write(get(running.api.key or "", path="/openapi.json"))
        await connection.writer.drain()
    for _ in range(50):
        if len(running.stored()) == before:
            break
        await asyncio.sleep(0.1)
    assert len(running.stored()) == before
    assert (await running.api("GET", "/v1/kinds")).status == 200
