"""Clocks that differ by hours, and services that are there before their servers."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from deploy.local.services import SERVICES
from tests.chaos.client import Client
from tests.chaos.conftest import LEASE_SECONDS
from tests.chaos.plants import SKEW, plant
from tests.chaos.test_services_go_away import until_running
from tests.chaos.work import do_work, slept
from tests.fixtures.invariants import check
from tests.fixtures.system import System

HOURS = 2 * 3600


@pytest.mark.chaos
@pytest.mark.row("G1", "clocks two hours off: {fast} ahead, the others behind")
@pytest.mark.parametrize("fast", ["processor", "gateway"])
async def test_clocks_two_hours_apart_lose_no_lease_and_no_order(
    idle_system: System, client: Client, fast: str
) -> None:
    system = idle_system
    slow = [service for service in SERVICES if service not in {fast, "notifier"}]
    plant(system, [fast], SKEW.format(seconds=HOURS))
    plant(system, slow, SKEW.format(seconds=-HOURS))
    await system.start()
    assert ahead(system, fast) > HOURS / 2, "its clock is right: the test proves nothing"
    await client.register_hook()
    long = await client.order("demo.sleep", slept(3 * LEASE_SECONDS), seconds=3 * LEASE_SECONDS)
    await until_running(system, long)
    await do_work(client)
    found = await check(system, client.ledger)
    assert not found.lost


def ahead(system: System, service: str) -> float:
    """How many seconds the clock of a service goes ahead, by its last log line."""
    said = json.loads(system.log(service).splitlines()[-1])["timestamp"]
    return (datetime.fromisoformat(said) - datetime.now(UTC)).total_seconds()


@pytest.mark.chaos
@pytest.mark.row("G5", "services start while broker and database are down")
async def test_services_that_start_first_wait_and_then_work(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    # Stopped, not killed: the vhost is seconds old, and a quorum queue of RabbitMQ 3.10.8 that is killed
    # while it is being made comes back without a leader.
    await asyncio.to_thread(system.servers.stop, "rabbitmq")
    await asyncio.to_thread(system.servers.stop, "postgres")
    await system.start("sinks")
    for service in SERVICES:
        await system.start(service, wait=False)
    await asyncio.sleep(5)
    assert all(system.is_running(service) for service in SERVICES)
    await asyncio.gather(system.servers.start_rabbitmq(), system.servers.start_postgres())
    await system.start()
    await client.register_hook()
    await do_work(client)
    await check(system, client.ledger)
