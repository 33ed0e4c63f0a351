import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.gateway.client.standin import KEY, Server, invite, new_job

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]
SECONDS = 20


@pytest.fixture
async def start(server: Server) -> AsyncIterator[Start]:
    """Starts the command as a process of its own, which signals and pipes need."""
    started: list[asyncio.subprocess.Process] = []
    environment = {**os.environ, "POINTMILL_URL": server.url, "POINTMILL_API_KEY": KEY}

    async def start_command(*arguments: str, code: str = "") -> asyncio.subprocess.Process:
        program = ("-c", code) if code else ("-m", "services.gateway.client")
        command = (sys.executable, *program, *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=PIPE, env=environment
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


PEAK = """
import sys
from services.gateway.client.__main__ import main
status = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1], file=sys.stderr)
sys.exit(status)
"""


async def interrupt(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_an_interrupted_wait_says_how_to_go_on(server: Server, start: Start) -> None:
    job = new_job("demo.sleep", None)
    server.jobs[job["id"]] = job
    listening = asyncio.Event()

    async def say_nothing(_: web.Request) -> None:
        listening.set()
        await asyncio.sleep(SECONDS)

    server.scripts["GET /v1/jobs/*/events"] = [say_nothing]
    process = await start("job", job["id"], "--wait", "--json")
    async with asyncio.timeout(SECONDS):
        await listening.wait()
    status, out, err = await interrupt(process)
    assert (status, out) == (130, "")
    assert f"pointmill job {job['id']} --wait" in err
    assert f"pointmill cancel {job['id']}" in err
    assert "Traceback" not in err


async def test_an_interrupted_upload_leaves_nothing_and_names_the_file(
    server: Server, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "town.laz").write_bytes(b"LASF" * 1_000_000)
    receiving = asyncio.Event()

    async def receive_for_ever(request: web.Request) -> None:
        await invite(request)
        receiving.set()
        await asyncio.sleep(SECONDS)

    server.scripts["PUT /v1/clouds/*/file"] = [receive_for_ever]
    process = await start("upload", str(tmp_path / "town.laz"), "--wait")
    async with asyncio.timeout(SECONDS):
        await receiving.wait()
    status, out, err = await interrupt(process)
    assert (status, out) == (130, "")
    assert "Not sent: " in err
    assert "town.laz" in err
    assert "Traceback" not in err
    assert server.clouds == {}


async def test_a_reader_that_has_enough_is_no_reason_to_complain(
    server: Server, start: Start
) -> None:
    for _ in range(100):
        job = new_job("demo.sleep", None, params={"text": "x" * 1000})
        server.jobs[job["id"]] = job
    process = await start("jobs", "--limit", "100", "--json")
    assert process.stdout is not None
    transport = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    transport.close()
    async with asyncio.timeout(SECONDS):
        await process.wait()
    assert process.stderr is not None
    assert await process.stderr.read() == b""


async def test_a_large_file_is_sent_in_constant_memory(
    server: Server, start: Start, tmp_path: Path
) -> None:
    with (tmp_path / "town.laz").open("wb") as file:
        file.truncate(400_000_000)
    received = 0

    async def count(request: web.Request) -> web.Response:
        nonlocal received
        await invite(request)
        async for chunk in request.content.iter_any():
            received += len(chunk)
        job = new_job("pointcloud.ingest", None)
        return web.json_response({"cloud": {"id": "c"}, "job": job}, status=201)

    server.scripts["PUT /v1/clouds/*/file"] = [count]
    process = await start("upload", str(tmp_path / "town.laz"), code=PEAK)
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    assert (process.returncode, received) == (0, 400_000_000)
    peak_kib = int(err.splitlines()[-1])
    assert peak_kib < 100_000
