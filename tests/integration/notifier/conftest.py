"""The stage of a test, opened and closed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.topology import EVENTS
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.integration.notifier.receivers import Mailbox, Receiver, until
from tests.integration.notifier.stage import Stage


@pytest.fixture
async def stage(database: Database, broker: Broker, tmp_path: Path) -> AsyncIterator[Stage]:
    bus = Bus(
        broker.url("processor"), service="processor", instance="test", version="0", exchanges=(EVENTS,)
    )  # fmt: skip
    loops = [asyncio.create_task(loop) for loop in bus.loops().values()]
    receiver, mailbox = Receiver(), Mailbox()
    try:
        await until(lambda: bus.publisher.ready)
        async with receiver.serving(), mailbox.serving():
            yield Stage(database, broker, receiver, mailbox, tmp_path, bus)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await bus.close()
