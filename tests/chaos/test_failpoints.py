"""A service is killed at each named place while work is going on; nothing is lost, nothing is doubled."""

import asyncio
import json
import signal

import pytest

from shared.failpoints import FAILPOINTS
from tests.chaos.client import Client
from tests.chaos.work import do_work
from tests.fixtures.invariants import check
from tests.fixtures.system import System

KILLS = {
    "gateway.upload.receiving": "kill@2",
    "gateway.upload.stored": "kill",
    "gateway.upload.committed": "kill",
    "gateway.outbox.published": "kill@2",
    "processor.outbox.published": "kill@2",
    "processor.doorbell.received": "kill",
    "processor.job.claimed": "kill@2",
    "processor.batch.computed": "kill",
    "processor.batch.finished": "kill",
    "processor.job.downloaded": "kill@2",
    "processor.job.running": "kill@2",
    "processor.job.computed": "kill",
    "processor.job.stored": "kill",
    "processor.job.finished": "kill",
    "processor.schedule.ordered": "kill",
    "processor.schedule.committed": "kill",
    "notifier.event.received": "kill@2",
    "notifier.event.planned": "kill",
    "notifier.delivery.claimed": "kill@2",
    "notifier.delivery.sent": "kill",
}
"""Where, and at which passage: late enough that other work has begun, early enough that it goes on."""

AT_DEATH = {
    "gateway.upload.committed": "exists (select from clouds where state = 'stored')",
    "gateway.outbox.published": "exists (select from outbox where service = 'gateway')",
    "processor.outbox.published": "exists (select from outbox where service = 'processor')",
    "processor.job.claimed": "exists (select from jobs where state = 'running')",
    "processor.job.downloaded": "exists (select from jobs where state = 'running')",
    "processor.job.running": "exists (select from jobs where state = 'running')",
    "processor.batch.computed": "exists (select from jobs where kind = 'demo.print' and state = 'running')",
    "processor.batch.finished": "exists (select from jobs where kind = 'demo.print' and state = 'succeeded')",
    "processor.job.computed": "not exists (select from products)",
    "processor.job.stored": "not exists (select from products)",
    "processor.job.finished": "exists (select from jobs where state in ('succeeded', 'failed'))",
    "processor.schedule.ordered": "not exists (select from jobs where schedule_id is not null)",
    "processor.schedule.committed": "exists (select from jobs where schedule_id is not null)",
    "notifier.event.planned": "exists (select from deliveries)",
    "notifier.delivery.claimed": "exists (select from deliveries where state = 'pending' and tries = 1)",
    "notifier.delivery.sent": "exists (select from deliveries where state = 'pending' and tries = 1)",
}
"""What the rows say at that moment, where they can tell the place from its neighbours."""


@pytest.mark.row("A1-A4 B1 C1", "kill -9 at {name}")
@pytest.mark.parametrize("name", sorted(FAILPOINTS))
async def test_a_service_killed_there_loses_nothing_and_doubles_nothing(
    idle_system: System, client: Client, name: str
) -> None:
    system, service = idle_system, name.partition(".")[0]
    await system.start("sinks", *({"gateway", "processor", "notifier"} - {service}), wait=False)
    await system.start(service, failpoints=f"{name}={KILLS[name]}", wait=False)
    await system.start()  # waits for all
    await client.register_hook()

    work = asyncio.create_task(do_work(client))
    assert await system.wait_ended(service) == -signal.SIGKILL
    assert last_words(system, service)["failpoint"] == name
    assert not work.done() or await is_busy(system), "it was killed at rest"
    if name in AT_DEATH:
        assert await is_true(system, AT_DEATH[name])
    await system.start(service)
    await work
    await check(system, client.ledger, repeats=service == "notifier")


def last_words(system: System, service: str) -> dict[str, str]:
    """The last line that the service has logged."""
    words: dict[str, str] = json.loads(system.log(service).splitlines()[-1])
    return words


async def is_busy(system: System) -> bool:
    """Whether there are jobs that have not ended."""
    return await is_true(system, "exists (select from jobs where state in ('queued', 'running'))")


async def is_true(system: System, condition: str) -> bool:
    """Whether the rows say so."""
    async with system.database.connected() as connection:
        return bool(await connection.fetchval(f"select {condition}"))
