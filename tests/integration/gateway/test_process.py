"""The gateway as a process of its own: starts, serves, takes a large file in little memory, stops."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.broker import Broker
from tests.fixtures.database import Database

GIGABYTE = 1_000_000_000
MEBIBYTE = 1 << 20


@asynccontextmanager
async def gateway(
    database: Database, broker: Broker, storage: Path, port: int
) -> AsyncIterator[Process]:
    environment = {
        "PATH": os.environ["PATH"],
        "GATEWAY_DATABASE_URL": database.url("gateway"),
        "GATEWAY_AMQP_URL": broker.url("gateway"),
        "GATEWAY_STORAGE_URL": f"file://{storage}",
        "GATEWAY_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.gateway", env=environment, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def wait_ready(session: aiohttp.ClientSession, base: str) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                async with session.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


def resident(process: Process, field: str = "VmRSS") -> int:
    """Bytes of memory held now (`VmRSS`) or at most so far (`VmHWM`)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


async def test_a_told_gateway_lets_its_requests_end_and_leaves(
    database: Database, broker: Broker, tmp_path: Path, unused_tcp_port: int
) -> None:
    base = f"http://127.0.0.1:{unused_tcp_port}"
    async with (
        gateway(database, broker, tmp_path, unused_tcp_port) as process,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {database.api_key}"}) as session,
    ):
        await wait_ready(session, base)
        release = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"x" * 1000
            await release.wait()
            yield b"y" * 1000

        sending = asyncio.create_task(session.post(f"{base}/v1/clouds?name=a.laz", data=slowly()))
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        release.set()
        async with await sending as response:
            assert response.status == 201
            assert (await response.json())["cloud"]["source"]["bytes"] == 2000
        async with asyncio.timeout(20):
            assert await process.wait() == 0
        assert process.stderr is not None
        log = (await process.stderr.read()).decode()
        assert database.api_key not in log
        assert "?name=" not in log
        assert '"status": 201' in log


async def test_a_setting_that_is_missing_is_named_in_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.gateway", env={"PATH": os.environ["PATH"]}, stderr=PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "GATEWAY_DATABASE_URL: Field required" in errors.decode()
    assert "Traceback" not in errors.decode()


@pytest.mark.slow
async def test_a_gigabyte_passes_through_in_little_memory(
    database: Database, broker: Broker, tmp_path: Path, unused_tcp_port: int
) -> None:
    base = f"http://127.0.0.1:{unused_tcp_port}"
    block = os.urandom(MEBIBYTE)

    async def file() -> AsyncIterator[bytes]:
        for _ in range(GIGABYTE // MEBIBYTE):
            yield block

    async with (
        gateway(database, broker, tmp_path, unused_tcp_port) as process,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {database.api_key}"}) as session,
    ):
        await wait_ready(session, base)
        async with session.post(f"{base}/v1/clouds?name=warm.laz", data=b"x") as response:
            assert response.status == 201
        before = resident(process)
        async with session.post(f"{base}/v1/clouds?name=big.laz", data=file()) as response:
            assert response.status == 201
            source = (await response.json())["cloud"]["source"]
        grown = resident(process, "VmHWM") - before
        assert source["bytes"] == GIGABYTE // MEBIBYTE * MEBIBYTE
        assert grown < 64 * MEBIBYTE, f"grew by {grown / MEBIBYTE:.0f} MiB"
        sys.stdout.write(f"1 GB grew the gateway by {grown / MEBIBYTE:.1f} MiB\n")
