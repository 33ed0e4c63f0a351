"""The broker is there and does not do its part: alarms, lost queues, lost rights, full queues, impatience."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aio_pika
import aiohttp
import pytest
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from deploy.local import rabbitmq
from shared import topology
from tests.chaos.client import Client
from tests.chaos.test_servers_go_away import at_work
from tests.chaos.work import SUCCEEDS, do_work, slept
from tests.fixtures.invariants import check
from tests.fixtures.rabbitmqctl import rabbitmqctl
from tests.fixtures.system import System

ALARMS = {
    "memory": (
        ["set_vm_memory_high_watermark", "absolute", "1MB"],
        ["set_vm_memory_high_watermark", "0.4"],
    ),
    "disk": (["set_disk_free_limit", str(10**16)], ["set_disk_free_limit", "50MB"]),
}
NOTHING = {"configure": "^$", "write": "^$", "read": "^$"}
IMPATIENCE_SECONDS = 4


@pytest.mark.chaos
@pytest.mark.row("D4", "the broker's {resource} alarm: it takes no message")
@pytest.mark.parametrize("resource", sorted(ALARMS))
async def test_under_an_alarm_work_goes_on_and_is_told_afterwards(
    idle_system: System, client: Client, resource: str
) -> None:
    system = idle_system
    work = await at_work(system, client)
    raise_alarm, end_alarm = ALARMS[resource]
    await rabbitmqctl(system.servers, *raise_alarm)
    try:
        late = await client.order("demo.print", SUCCEEDS, first="under", second="alarm")
        assert (await system.wait_job(late))["attempt"] == 1
        await work
        await until(lambda: says(system, "select exists (select from outbox)"))
    finally:
        await rabbitmqctl(system.servers, *end_alarm)
    found = await check(system, client.ledger)
    assert not found.lost


@pytest.mark.chaos
@pytest.mark.row("D5", "a queue is deleted: {queue}")
@pytest.mark.parametrize("queue", [topology.work_queue("default"), topology.NOTIFIER_EVENTS])
async def test_a_deleted_queue_is_loud_and_loses_nothing(
    idle_system: System, client: Client, queue: str
) -> None:
    """Nothing is declared anew behind the operators' backs: the owner is not ready until they do it."""
    system, owner = idle_system, queue.partition(".")[0]
    work = await at_work(system, client)
    await system.broker.api("DELETE", f"queues/{system.broker.path}/{queue}")
    await work
    await until(lambda: is_not_ready(system, owner))
    await asyncio.to_thread(topology.apply, system.broker.admin_url, system.broker.vhost, {})
    await check(system, client.ledger)
    await system.start()


@pytest.mark.chaos
@pytest.mark.row("D5", "the rights of the {service} are taken away")
@pytest.mark.parametrize("service", ["gateway", "processor", "notifier"])
async def test_lost_rights_are_loud_and_lose_nothing(
    idle_system: System, client: Client, service: str
) -> None:
    system = idle_system
    work = await at_work(system, client)
    path = f"permissions/{system.broker.path}/{service}"
    await system.broker.api("PUT", path, NOTHING)
    await system.kill(service)
    await system.start(service, wait=False)  # the old process may have kept what it had
    await work
    await until(lambda: is_not_ready(system, service))
    access = topology.USERS[service]
    rights = {"configure": access.configure, "write": access.write, "read": access.read}
    await system.broker.api("PUT", path, rights)
    await check(system, client.ledger, repeats=service == "notifier")
    await system.start()


@pytest.mark.chaos
@pytest.mark.row("D6", "a queue is full: it refuses messages")
async def test_a_full_queue_keeps_messages_in_the_outbox(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    policy = {**topology.POLICIES["pointmill-queues"], "priority": 20}
    policy["definition"] = {**policy["definition"], "max-length": 1}
    await system.broker.api("PUT", f"policies/{system.broker.path}/full", policy)
    await system.start("sinks", "gateway", "processor")
    await client.register_hook()
    await do_work(client)
    refused = "select exists (select from outbox where last_error is not null)"
    await until(lambda: says(system, refused))
    await system.broker.api("DELETE", f"policies/{system.broker.path}/full")
    await system.start()
    await check(system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B8", "consumer_timeout of 4 s, jobs of 9 s")
async def test_jobs_longer_than_the_brokers_patience_run_once(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    async with impatient(system):
        await system.start()
        await client.register_hook()
        for _ in range(3):
            await client.order("demo.sleep", slept(9), seconds=9)
        assert await is_cut_off(system), "the broker is not impatient: the test proves nothing"
        found = await check(system, client.ledger)
    assert [attempt["attempt"] for attempt in found.attempts] == [1, 1, 1]
    seconds = [(row["ended_at"] - row["started_at"]).total_seconds() for row in found.attempts]
    assert min(seconds) > 2 * IMPATIENCE_SECONDS


@contextlib.asynccontextmanager
async def impatient(system: System) -> AsyncIterator[None]:
    """New channels are closed when a message on them is not acknowledged for so long."""

    async def patience(seconds: int, look: int) -> None:
        words = f"application:set_env(rabbit, consumer_timeout, {seconds * 1000})"
        words += f", application:set_env(rabbit, channel_tick_interval, {look * 1000})."
        await rabbitmqctl(system.servers, "eval", words)

    await patience(IMPATIENCE_SECONDS, 1)
    try:
        yield
    finally:
        await patience(1800, 60)


async def is_cut_off(system: System) -> bool:
    """Whether a consumer that holds a message for nine seconds is cut off by the broker."""
    connection = await aio_pika.connect(system.broker.url(rabbitmq.ADMIN), timeout=10)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("held", exclusive=True)
        await channel.default_exchange.publish(aio_pika.Message(b"hold me"), "held")
        async with queue.iterator(timeout=10) as messages:
            message = await anext(messages)
            await asyncio.sleep(9)
            try:
                await message.ack()
                await channel.declare_queue("held", passive=True, timeout=5)
            except (AMQPError, ChannelInvalidStateError, asyncio.CancelledError):
                return True
    return False


async def is_not_ready(system: System, service: str) -> bool:
    """Whether the service lives and says that it is not ready."""
    base = system.around.url(service)
    try:
        async with (
            system.client.get(f"{base}/readyz") as ready,
            system.client.get(f"{base}/livez") as alive,
        ):
            return ready.status == 503 and alive.status == 200
    except aiohttp.ClientError:
        return False


async def says(system: System, query: str) -> bool:
    """Whether the rows say so."""
    async with system.database.connected() as connection:
        return bool(await connection.fetchval(query))


async def until(look: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < deadline, "it did not come to that"
        await asyncio.sleep(0.1)
