"""The relay: what is committed reaches the broker, in whatever trouble, under the same id."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from prometheus_client import CollectorRegistry, Counter

from shared import outbox, topology
from shared.bus import Bus
from shared.db import open_database
from shared.failpoints import Failpoints
from shared.outbox import MOST_DOORBELLS, Relay
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.fixtures.processors import eventually

KEY = "w.job.demo_print.cancelled"


async def leave(
    database: Database,
    *,
    key: str = KEY,
    service: str = "processor",
    exchange: str = topology.EVENTS,
    rings: str | None = None,
) -> str:
    """Commit an outbox row; returns its message's id."""
    message = {"specversion": "1.0", "id": str(uuid4()), "source": "/t", "type": "t.v1"}
    message |= {"subject": str(uuid4()), "data": {"kind": "demo.sleep"}}
    async with database.connected() as connection:
        await connection.execute(
            "insert into outbox (service, exchange, routing_key, mandatory, message, rings)"
            " values ($1, $2, $3, true, $4, $5)",
            service,
            exchange,
            key,
            json.dumps(message),
            rings,
        )
    return message["id"]


async def rows(database: Database) -> list[Any]:
    async with database.connected() as connection:
        return await connection.fetch(
            "select service, tries, last_error, available_at > now() as later from outbox"
        )


async def received(broker: Broker, count: int) -> list[str]:
    """The ids of the next messages in the notifier's queue."""
    found: list[str] = []
    async with await aio_pika.connect(broker.url("notifier")) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(topology.NOTIFIER_EVENTS, passive=True)
        async with asyncio.timeout(15):
            while len(found) < count:
                message = await queue.get(no_ack=True, fail=False)
                if message is None:
                    await asyncio.sleep(0.05)
                else:
                    found.append(message.message_id)
    return found


@asynccontextmanager
async def relaying(database: Database, broker: Broker) -> AsyncIterator[Relay]:
    """A processor's relay that runs; any loop that ends fails the test."""
    bus = Bus(
        broker.url("processor"),
        service="processor",
        instance="t",
        version="0",
        exchanges=(topology.EVENTS, topology.WORK),
    )
    pool = await open_database(database.url("processor"), "processor")
    counter = Counter("relayed", "messages", registry=CollectorRegistry())
    relay = Relay(pool, bus.publisher, Failpoints(), "processor", counter)
    loops = [asyncio.create_task(loop) for loop in (*bus.loops().values(), relay.run())]
    try:
        yield relay
        assert not any(loop.done() for loop in loops)
    finally:
        for loop in reversed(loops):
            loop.cancel()
        await asyncio.wait(loops)
        await bus.close()
        await pool.close()


async def test_what_is_committed_is_published_once_and_then_gone(
    database: Database, broker: Broker
) -> None:
    sent = [await leave(database) for _ in range(450)]
    async with relaying(database, broker):
        assert sorted(await received(broker, 450)) == sorted(sent)
        await eventually(lambda: _empty(database))


async def _empty(database: Database) -> bool:
    return not await rows(database)


async def test_a_refused_message_backs_off_alone(database: Database, broker: Broker) -> None:
    await leave(database, key="nobody.listens")
    good = await leave(database)
    async with relaying(database, broker):
        assert await received(broker, 1) == [good]
        await eventually(lambda: _refused(database))
    (left,) = await rows(database)
    assert left["later"]
    assert "took no message" in left["last_error"]


async def test_a_message_that_fits_no_frame_backs_off_alone(
    database: Database, broker: Broker
) -> None:
    await leave(database, key="w.job." + "\U0001f600" * 100)
    good = await leave(database)
    async with relaying(database, broker):
        assert await received(broker, 1) == [good]
        await eventually(lambda: _refused(database))
    (left,) = await rows(database)
    assert "255 bytes" in left["last_error"]


async def _refused(database: Database) -> bool:
    return [row["tries"] > 0 for row in await rows(database)] == [True]


async def test_of_many_doorbells_for_a_pool_only_the_first_few_ring(
    database: Database, broker: Broker
) -> None:
    for _ in range(60):
        await leave(database, exchange=topology.WORK, key="work.default")
    facts = [await leave(database) for _ in range(60)]
    async with relaying(database, broker):
        assert sorted(await received(broker, 60)) == sorted(facts)
        await eventually(lambda: _empty(database))
    assert await waiting(broker, topology.work_queue("default")) == MOST_DOORBELLS


async def test_a_row_that_rings_has_a_doorbell_sent_beside_its_message(
    database: Database, broker: Broker
) -> None:
    facts = [await leave(database, rings="default") for _ in range(60)]
    async with relaying(database, broker):
        assert sorted(await received(broker, 60)) == sorted(facts)
        await eventually(lambda: _empty(database))
    assert await waiting(broker, topology.work_queue("default")) == MOST_DOORBELLS


async def test_a_doorbell_that_nobody_takes_keeps_no_message_back(
    database: Database, broker: Broker
) -> None:
    fact = await leave(database, rings="nowhere")
    async with relaying(database, broker):
        assert await received(broker, 1) == [fact]
        await eventually(lambda: _empty(database))


async def test_work_at_hand_holds_the_relay_back_but_not_for_long(
    database: Database, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_HELD_SECONDS", 1.5)
    async with relaying(database, broker) as relay:
        began = time.monotonic()
        relay.hold()
        fact = await leave(database)
        receiving = asyncio.create_task(received(broker, 1))
        while not receiving.done():
            relay.hold()
            relay.wake()
            await asyncio.sleep(0.05)
        assert receiving.result() == [fact]
        assert 0.3 < time.monotonic() - began < 4


async def waiting(broker: Broker, queue: str) -> int:
    """How many messages a queue holds."""
    async with await aio_pika.connect(broker.url("processor")) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def test_a_refused_doorbell_takes_none_of_the_spared_ones_with_it(
    database: Database, broker: Broker
) -> None:
    for _ in range(60):
        await leave(database, exchange=topology.WORK, key="work.nowhere")
    async with relaying(database, broker):
        await eventually(lambda: _some_refused(database))
        assert len(await rows(database)) == 60


async def _some_refused(database: Database) -> bool:
    return any(row["tries"] > 0 for row in await rows(database))


async def test_a_wake_up_is_faster_than_the_poll(database: Database, broker: Broker) -> None:
    async with relaying(database, broker) as relay:
        await leave(database)
        await received(broker, 1)
        await asyncio.sleep(0.2)  # it has looked and waits now
        sent = await leave(database)
        relay.wake()
        async with asyncio.timeout(0.8):
            assert await received(broker, 1) == [sent]


async def test_another_services_rows_are_left_alone(database: Database, broker: Broker) -> None:
    await leave(database, service="gateway")
    mine = await leave(database)
    async with relaying(database, broker):
        assert await received(broker, 1) == [mine]
        await asyncio.sleep(0.5)
    assert [row["service"] for row in await rows(database)] == ["gateway"]


async def test_two_relays_share_the_rows(database: Database, broker: Broker) -> None:
    sent = [await leave(database) for _ in range(100)]
    async with relaying(database, broker), relaying(database, broker):
        assert sorted(await received(broker, 100)) == sorted(sent)
        await eventually(lambda: _empty(database))


@pytest.mark.slow
async def test_while_the_broker_is_away_nothing_is_lost(database: Database, broker: Broker) -> None:
    async with relaying(database, broker) as relay:
        await leave(database)
        await received(broker, 1)
        broker.servers.kill("rabbitmq")
        sent = [await leave(database) for _ in range(5)]
        relay.wake()
        await asyncio.sleep(2)
        assert len(await rows(database)) == 5
        await broker.servers.start_rabbitmq()
        found = set(await received(broker, 5))
        assert found == set(sent)
