"""Bodies over a raw socket: what is said before the body, and bodies that stall, end early or grow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import TestClient

Client = TestClient[web.Request, web.Application]
FILE = f"/samples/{UUID(int=7)}/file"
KEY = "Authorization: Bearer good\r\n"


@asynccontextmanager
async def connection(
    client: Client,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def first_line(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(5):
        return (await reader.readline()).decode().strip()


def head(path: str, headers: str, method: str = "PUT") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


async def test_a_refusal_comes_before_the_client_is_asked_for_its_body(client: Client) -> None:
    """The default of aiohttp says 100 first: 500 MB would travel for a 401."""
    expect = "Expect: 100-continue\r\n"
    cases = {
        f"{expect}Content-Length: 10\r\n": "401",
        f"{KEY}{expect}Content-Length: 1000001\r\n": "413",
        f"{KEY}{expect}Content-Length: 10\r\nContent-Encoding: gzip\r\n": "415",
    }
    for headers, status in cases.items():
        async with connection(client) as (reader, writer):
            writer.write(head(FILE, headers))
            assert status in await first_line(reader)


async def test_a_client_that_may_send_is_told_so(client: Client) -> None:
    async with connection(client) as (reader, writer):
        writer.write(head(FILE, f"{KEY}Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert await first_line(reader) == "HTTP/1.1 100 Continue"
        assert await first_line(reader) == ""
        writer.write(b"abc")
        assert await first_line(reader) == "HTTP/1.1 201 Created"


async def test_a_json_client_that_waits_is_told_to_send(client: Client) -> None:
    headers = f"{KEY}Expect: 100-continue\r\nContent-Type: application/json\r\n"
    async with connection(client) as (reader, writer):
        writer.write(head("/samples", f"{headers}Content-Length: 12\r\n", "POST"))
        assert await first_line(reader) == "HTTP/1.1 100 Continue"
        await first_line(reader)
        writer.write(b'{"name":"a"}')
        assert await first_line(reader) == "HTTP/1.1 201 Created"


async def test_a_stalled_upload_is_given_up(client: Client) -> None:
    async with connection(client) as (reader, writer):
        writer.write(head(FILE, f"{KEY}Content-Length: 10\r\n") + b"abc")
        assert "408" in await first_line(reader)


async def test_an_upload_that_only_drips_is_given_up(client: Client) -> None:
    """Each byte comes in time; all of them together never would."""
    async with connection(client) as (reader, writer):
        writer.write(head(FILE, f"{KEY}Content-Length: 1000\r\n"))
        answer = asyncio.create_task(first_line(reader))
        while not answer.done():
            writer.write(b"a")
            await asyncio.sleep(0.1)
        assert "408" in answer.result()


async def test_a_growing_upload_is_stopped_at_the_limit(client: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100_000

    headers = {"Authorization": "Bearer good"}
    async with client.put(FILE, data=pieces(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["code"] == "object_too_large"


async def test_an_upload_that_ends_early_is_no_upload(client: Client) -> None:
    """Half closed, so that the answer can still be read."""
    for framing, sent in (
        ("Content-Length: 10\r\n", b"abc"),
        ("Transfer-Encoding: chunked\r\n", b"5\r\nab"),
    ):
        async with connection(client) as (reader, writer):
            writer.write(head(FILE, KEY + framing) + sent)
            await writer.drain()
            writer.write_eof()
            answer = await first_line(reader)
            assert "201" not in answer


async def test_a_broken_chunk_is_refused(client: Client) -> None:
    async with connection(client) as (reader, writer):
        writer.write(head(FILE, f"{KEY}Transfer-Encoding: chunked\r\n") + b"zz\r\nab\r\n")
        assert "400" in await first_line(reader)
