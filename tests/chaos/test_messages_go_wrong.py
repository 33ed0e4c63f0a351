"""Messages come ten times, out of order, forged, cut short, from the future; the rows decide."""

import asyncio
import json
import random
import uuid
from collections.abc import Callable
from typing import Any

import aio_pika
import orjson
import pytest
from aio_pika.exceptions import AMQPError

from deploy.local import rabbitmq
from shared import topology
from tests.chaos.client import Client
from tests.chaos.test_broker_gives_way import until
from tests.chaos.work import SUCCEEDS, do_work, slept
from tests.fixtures.invariants import check
from tests.fixtures.system import System

WORK = topology.work_queue("default")
OWNERS = {topology.NOTIFIER_EVENTS: "notifier", WORK: "processor"}


@pytest.mark.chaos
@pytest.mark.row("D7", "every message ten times, shuffled: {queue}")
@pytest.mark.parametrize("queue", sorted(OWNERS))
async def test_messages_ten_times_and_out_of_order_have_one_effect(
    idle_system: System, client: Client, queue: str
) -> None:
    system, owner = idle_system, OWNERS[queue]
    await system.start()  # kinds are known, hooks are registered
    await client.register_hook()
    await system.stop(owner)
    await do_work_without(client, owner)
    async with await connect(system) as connection:
        channel = await connection.channel()
        kept = await taken(channel, queue)
        assert len(kept) >= 2
        twins = kept * 10
        random.Random(7).shuffle(twins)  # noqa: S311 - the same every time
        for message in twins:
            await channel.default_exchange.publish(copy(message), queue)
    await system.start(owner)
    await check(system, client.ledger)


async def do_work_without(client: Client, owner: str) -> None:
    """Work whose messages stay in the queue of the service that is away."""
    if owner == "processor":
        for _ in range(5):
            await client.order("demo.sleep", slept(0.1), seconds=0.1)
    else:
        await do_work(client)
        for job in client.ledger.expected:
            await client.system.wait_job(job)
    queue = next(name for name, service in OWNERS.items() if service == owner)
    await until(lambda: has(client.system, queue, at_least=2))


def truncated(body: bytes) -> bytes:
    return body[: len(body) // 2]


def nothing(_: bytes) -> bytes:
    return b""


def a_list(_: bytes) -> bytes:
    return b"[" * 50_000


def of_the_future(body: bytes) -> bytes:
    message = orjson.loads(body)
    message["type"] = message["type"].replace(".v1", ".v99")
    message["id"] = str(uuid.uuid4())
    return orjson.dumps(message)


def of_a_job_that_is_not(body: bytes) -> bytes:
    message = orjson.loads(body)
    message["id"] = message["subject"] = message["data"]["job_id"] = str(uuid.uuid4())
    return orjson.dumps(message)


def of_the_other_end(body: bytes) -> bytes:
    """The same event says that the job has failed: only its id is believed."""
    message = json.loads(body)
    message["type"] = "pointmill.job.failed.v1"
    message["data"]["state"] = "failed"
    message["data"]["error"] = {"code": "forged", "title": "t", "detail": "d", "remedy": "r"}
    return orjson.dumps(message)


Mangle = Callable[[bytes], bytes]
UNREADABLE: list[Mangle] = [truncated, nothing, a_list, of_the_future]
FORGED: list[Mangle] = [of_a_job_that_is_not, of_the_other_end]


@pytest.mark.chaos
@pytest.mark.row("D7", "messages that nobody can read: cut short, empty, deep, of version 99")
async def test_what_cannot_be_read_is_laid_aside_with_its_reason_and_holds_nobody_up(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    client.ledger.dead += await with_mangled(system, client, UNREADABLE)

    async def all_are_kept() -> bool:
        async with system.database.connected() as connection:
            kept = await connection.fetchval("select count(*) from dead_letters")
        return bool(kept == len(UNREADABLE))

    await until(all_are_kept)
    found = await check(system, client.ledger)
    assert {letter["queue"] for letter in found.dead} == {topology.NOTIFIER_EVENTS}
    assert "unsupported_version" in {letter["reason"] for letter in found.dead}


@pytest.mark.chaos
@pytest.mark.row("D7", "forged messages: of a job that is not, of another end")
async def test_a_forged_message_changes_nothing(idle_system: System, client: Client) -> None:
    await with_mangled(idle_system, client, FORGED)
    await check(idle_system, client.ledger)


async def with_mangled(system: System, client: Client, ways: list[Mangle]) -> list[bytes]:
    """Do some work whose first end also arrives mangled in several ways; what was sent."""
    await system.start()
    await client.register_hook()
    await system.stop("notifier")
    await do_work_without(client, "notifier")
    async with await connect(system) as connection:
        channel = await connection.channel()
        kept = await taken(channel, topology.NOTIFIER_EVENTS)
        good = next(one for one in kept if (one.type or "").endswith("succeeded.v1"))
        sent = [way(good.body) for way in ways]
        events = await channel.get_exchange(topology.EVENTS, ensure=False)
        for body in sent:
            await events.publish(aio_pika.Message(body), good.routing_key or "")
        for message in kept:
            await events.publish(copy(message), message.routing_key or "")
    await system.start("notifier")
    return sent


@pytest.mark.row("D7", "a service speaks in another's name, or where it may not")
async def test_nobody_speaks_in_anothers_name_or_out_of_turn(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    await system.start()
    await client.register_hook()
    stranger = await system.broker.add_user("stranger", "^$", r"^pointmill\.requests$", "^$")
    request = aio_pika.Message(b"{}", user_id="processor")
    assert not await may_publish(stranger, topology.REQUESTS, "request.demo_print", request)
    for exchange in (topology.EVENTS, topology.WORK, topology.CONTROL, ""):
        assert not await may_publish(stranger, exchange, WORK, aio_pika.Message(b"{}"))
    await client.order("demo.print", SUCCEEDS, first="all", second="well")
    await check(system, client.ledger)


async def may_publish(url: str, exchange: str, key: str, message: aio_pika.Message) -> bool:
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel()
        try:
            target = (
                channel.default_exchange
                if not exchange
                else await channel.get_exchange(exchange, ensure=False)
            )
            await target.publish(message, key, timeout=10)
        except (AMQPError, asyncio.CancelledError):
            return False
    return True


async def connect(system: System) -> aio_pika.abc.AbstractConnection:
    return await aio_pika.connect(system.broker.url(rabbitmq.ADMIN), timeout=10)


async def taken(channel: Any, queue: str) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """Everything that lies in a queue, taken out of it."""
    source = await channel.declare_queue(queue, passive=True)
    found = []
    while (message := await source.get(no_ack=True, fail=False)) is not None:
        found.append(message)
    return found


def copy(message: aio_pika.abc.AbstractIncomingMessage) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        content_type=message.content_type,
        message_id=message.message_id,
        type=message.type,
        correlation_id=message.correlation_id,
        app_id=message.app_id,
        headers=message.headers,
    )


async def has(system: System, queue: str, *, at_least: int) -> bool:
    """Whether so many messages lie in the queue."""
    async with await connect(system) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return (declared.declaration_result.message_count or 0) >= at_least
