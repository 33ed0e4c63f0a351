"""The stand-in served for real on a loopback port, and the command run against it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer

from services.gateway.client import backoff, follow
from services.gateway.client.__main__ import main
from services.gateway.client.api import Pointmill
from tests.unit.gateway.client.standin import KEY, Ran, Run, Server, application


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    held = Server()
    serving = TestServer(application(held))
    await serving.start_server(access_log=None)
    held.url = str(serving.make_url("")).rstrip("/")
    yield held
    await serving.close()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Pointmill]:
    async with Pointmill(server.url, KEY) as opened:
        # As if the server had answered before: from then on the client is patient.
        opened._reached = True
        yield opened


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause worth waiting for."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.001)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.01)


@pytest.fixture
def run(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command against the stand-in, with its settings in the environment."""
    monkeypatch.setenv("POINTMILL_URL", server.url)
    monkeypatch.setenv("POINTMILL_API_KEY", KEY)

    async def run_command(*arguments: object) -> Ran:
        def call() -> int:
            try:
                return main([str(argument) for argument in arguments])
            except SystemExit as end:
                return int(end.code or 0)

        status = await asyncio.to_thread(call)
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return run_command
