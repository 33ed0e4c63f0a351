"""Lines that can be broken: the services reach a server through a proxy from their next start on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

import pytest

from deploy.local.services import SERVICES
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.strict_gcs import StrictGcs
from tests.fixtures.system import System

BUCKET = "pointmill-chaos"
EMULATOR = "STORAGE_EMULATOR_HOST"


@asynccontextmanager
async def proxied(
    system: System, part: Literal["postgres", "rabbitmq"], services: Sequence[str] = SERVICES
) -> AsyncIterator[FaultProxy]:
    """Put a proxy between some services and a server."""
    async with FaultProxy(system.servers.folder.notes.ports[part]) as proxy:
        around = system.around

        def through(known: str, service: str) -> str:
            return proxy.in_front_of(known) if service in services else known

        if part == "postgres":
            database = {name: through(url, name) for name, url in around.database.items()}
            system.around = replace(around, database=database)
        else:
            amqp = {name: through(url, name) for name, url in around.amqp.items()}
            system.around = replace(around, amqp=amqp)
        yield proxy


@asynccontextmanager
async def bucket(system: System, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultProxy]:
    """Keep the objects in a strict bucket behind a proxy; the test itself looks past the proxy."""
    server = StrictGcs(BUCKET)
    await server.start()
    try:
        async with FaultProxy(urlsplit(server.url).port or 80) as proxy:
            system.around = replace(system.around, storage=f"gs://{BUCKET}/objects")
            for service in ("gateway", "processor"):
                system.variables.setdefault(service, {})[EMULATOR] = proxy.in_front_of(server.url)
            monkeypatch.setenv(EMULATOR, server.url)
            yield proxy
    finally:
        await server.stop()
