"""The bus against a real broker that is cut, frozen, restarted and misused."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from shared import topology
from shared.bus import Bus, Delivery, Interests, MessageRefused, Outgoing
from shared.errors import BrokerUnavailable, DatabaseUnavailable
from shared.messages import wrap
from shared.messages.jobs import JobCancelledV1
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.broker import Broker
from tests.fixtures.processors import eventually

KEY = f"{DEFAULT_WORKSPACE}.job.demo_print.cancelled"


def event(**more: Any) -> Outgoing:
    job = uuid4()
    message = JobCancelledV1(
        job_id=job,
        workspace_id=DEFAULT_WORKSPACE,
        kind="demo.print",
        state="cancelled",
        attempt=1,
        requested_by="test",
    )
    return Outgoing(
        **{
            "exchange": topology.EVENTS,
            "routing_key": KEY,
            "message": wrap(message, service="processor", subject=str(job)),
            **more,
        }
    )


@asynccontextmanager
async def running_bus(
    broker: Broker, user: str, *exchanges: str, wait: bool = True
) -> AsyncIterator[Bus]:
    """A bus whose loops run; any loop that ends fails the test."""
    bus = Bus(broker.url(user), service=user, instance="t", version="0", exchanges=exchanges)
    loops = [asyncio.create_task(loop, name=name) for name, loop in bus.loops().items()]
    try:
        if wait:
            await eventually(lambda: _answer(bus.publisher.ready))
        yield bus
        assert not [loop.get_name() for loop in loops if loop.done()]
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)
        await bus.close()


async def _answer(value: Any) -> Any:
    return value


@asynccontextmanager
async def consumed(
    bus: Bus, queue: str, handle: Any, prefetch: int = 50
) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(bus.consumer.consume(queue, handle, prefetch=prefetch))
    try:
        await eventually(
            lambda: _answer(not bus.consumer.silent and queue in bus.consumer._healthy)
        )
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def cut_connections(broker: Broker, name: str) -> int:
    """Close the connections whose name contains the text, as an operator would."""
    cut = 0
    for connection in (await broker.api("GET", f"vhosts/{broker.path}/connections")).json():
        if name in connection["client_properties"].get("connection_name", ""):
            await broker.api(
                "DELETE",
                f"connections/{connection['name'].replace(' ', '%20').replace('>', '%3E')}",
            )
            cut += 1
    return cut


async def test_a_message_nobody_would_get_is_refused_and_its_neighbours_are_not(
    broker: Broker,
) -> None:
    async with running_bus(broker, "processor", topology.EVENTS) as bus:
        nowhere = event(routing_key="nobody.listens.here")
        answers = await asyncio.gather(
            *(bus.publisher.publish(event()) for _ in range(20)),
            bus.publisher.publish(nowhere),
            *(bus.publisher.publish(event()) for _ in range(20)),
            return_exceptions=True,
        )
        assert [index for index, answer in enumerate(answers) if answer is not None] == [20]
        assert isinstance(answers[20], MessageRefused)


async def test_an_exchange_that_is_missing_makes_the_service_not_ready_and_nothing_is_sent(
    broker: Broker,
) -> None:
    await broker.api("DELETE", f"exchanges/{broker.path}/{topology.PROGRESS}")
    async with running_bus(
        broker, "processor", topology.EVENTS, topology.PROGRESS, wait=False
    ) as bus:
        await asyncio.sleep(1)
        with pytest.raises(BrokerUnavailable):
            await bus.check()
        with pytest.raises(BrokerUnavailable):
            await bus.publisher.publish(event())
        topology.apply(broker.admin_url, broker.vhost, {})
        await eventually(lambda: _answer(bus.publisher.ready))
        await bus.publisher.publish(event())


async def test_a_handler_outlives_its_connection_and_the_message_comes_again(
    broker: Broker,
) -> None:
    started, ended = [], []
    again = asyncio.Event()

    async def slow(delivery: Delivery) -> None:
        started.append(delivery.envelope.id)
        if len(started) == 1:
            await again.wait()  # the first is still at work when the second comes
        else:
            again.set()
        ended.append(delivery.envelope.id)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, slow),
    ):
        await sender.publisher.publish(event())
        await eventually(lambda: _answer(started))
        await eventually(lambda: cut_connections(broker, "notifier-consume"))
        await eventually(lambda: _answer(len(ended) >= 2))
        assert len(set(started)) == 1


async def test_what_nobody_can_read_is_dead_lettered_and_the_queue_goes_on(broker: Broker) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        delivery.read()
        seen.append(delivery.envelope.id)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, handle),
    ):
        bad = event()
        bad.message["type"] = "pointmill.job.cancelled.v99"
        await sender.publisher.publish(bad)
        good = event()
        await sender.publisher.publish(good)
        await eventually(lambda: _answer(good.message["id"] in seen))
        dead = await eventually(lambda: _get(broker, "notifier.dead"))
        assert dead.message_id == bad.message["id"]
        assert dead.headers["x-first-death-queue"] == topology.NOTIFIER_EVENTS
    assert bad.message["id"] not in seen


async def _get(broker: Broker, queue: str) -> Any:
    connection = await aio_pika.connect(broker.url("pointmill"))
    async with connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, passive=True)
        return await found.get(no_ack=True, fail=False)


async def test_a_handler_that_always_breaks_ends_in_the_dead_letters(broker: Broker) -> None:
    policy = {**topology.POLICIES["pointmill-queues"], "priority": 20}
    policy["definition"] = {**policy["definition"], "delivery-limit": 1}
    await broker.api("PUT", f"policies/{broker.path}/impatient", policy)

    async def broken(_: Delivery) -> None:
        raise RuntimeError("a bug")

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, broken),
    ):
        await sender.publisher.publish(event())
        assert await eventually(lambda: _get(broker, "notifier.dead"))


async def test_while_the_database_is_away_a_message_waits_and_is_not_given_back(
    broker: Broker,
) -> None:
    tries: list[bool] = []

    async def waiting(delivery: Delivery) -> None:
        tries.append(delivery.redelivered)
        if len(tries) < 3:
            raise DatabaseUnavailable("away")

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, waiting),
    ):
        await sender.publisher.publish(event())
        await eventually(lambda: _answer(len(tries) == 3))
    assert tries == [False, False, False]
    assert await _get(broker, topology.NOTIFIER_EVENTS) is None


async def test_a_queue_that_is_deleted_is_noticed_and_consumed_again_when_it_is_back(
    broker: Broker,
) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.envelope.id)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, handle),
    ):
        await broker.api("DELETE", f"queues/{broker.path}/{topology.NOTIFIER_EVENTS}")
        await eventually(lambda: _answer(bus.consumer.silent == [topology.NOTIFIER_EVENTS]))
        with pytest.raises(BrokerUnavailable, match=r"notifier\.events"):
            await bus.check()
        topology.apply(broker.admin_url, broker.vhost, {})
        await eventually(lambda: _answer(not bus.consumer.silent))
        await sender.publisher.publish(event())
        await eventually(lambda: _answer(seen))


async def test_a_busy_worker_leaves_the_doorbells_to_others(broker: Broker) -> None:
    ring = event(exchange=topology.WORK, routing_key="work.default")
    async with (
        running_bus(broker, "gateway", topology.WORK) as gateway,
        running_bus(broker, "processor", topology.WORK) as busy,
        running_bus(broker, "processor", topology.WORK) as idle,
    ):
        first, second = (bus.doorbells(topology.work_queue("default")) for bus in (busy, idle))
        await gateway.publisher.publish(ring)
        assert await first.wait(5)
        await first.answer(more_slots=False)  # its only slot is taken now
        for _ in range(3):
            await gateway.publisher.publish(
                event(exchange=topology.WORK, routing_key="work.default")
            )
            assert await second.wait(5)
            await second.answer(more_slots=True)


async def test_listeners_hear_and_are_told_to_look_again_after_a_cut(broker: Broker) -> None:
    heard: list[str] = []
    connected: list[bool] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.envelope.id)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "gateway", topology.EVENTS) as bus,
    ):
        listening = asyncio.create_task(
            bus.consumer.listen(
                "gateway.live", [(topology.EVENTS, "#.job.#")], hear, lambda: connected.append(True)
            )
        )
        await eventually(lambda: _answer(connected))
        await sender.publisher.publish(event())
        await eventually(lambda: _answer(len(heard) == 1))
        await eventually(lambda: cut_connections(broker, "gateway-consume"))
        await eventually(lambda: _answer(len(connected) == 2))
        await sender.publisher.publish(event())
        await eventually(lambda: _answer(len(heard) == 2))
        listening.cancel()
        await asyncio.wait({listening})


async def test_what_is_listened_to_comes_and_goes_and_survives_a_cut(broker: Broker) -> None:
    heard: list[str] = []
    bound: list[int] = []
    interests = Interests(lambda bindings: bound.append(len(bindings)))

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.envelope.id)

    async def bindings() -> set[str]:
        found = await broker.api(
            "GET", f"exchanges/{broker.path}/{topology.EVENTS}/bindings/source"
        )
        return {one["routing_key"] for one in found.json() if "gateway.live" in one["destination"]}

    async def has(*keys: str) -> bool:
        return await bindings() == set(keys)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "gateway", topology.EVENTS) as bus,
    ):
        following = asyncio.create_task(bus.consumer.follow("gateway.live", interests, hear))
        await eventually(lambda: _answer(not bus.consumer.silent))
        assert await has()
        with interests.want((topology.EVENTS, "a.#")):
            with interests.want((topology.EVENTS, "a.#"), (topology.EVENTS, "b.#")):
                await eventually(lambda: _answer(sum(bound) == 2))
                await eventually(lambda: has("a.#", "b.#"))
            await eventually(lambda: has("a.#"))
            await eventually(lambda: cut_connections(broker, "gateway-consume"))
            await eventually(lambda: _answer(sum(bound) == 3))
            await sender.publisher.publish(event(routing_key="a.job.x.started", mandatory=False))
            await sender.publisher.publish(event(routing_key="b.job.x.started", mandatory=False))
            await sender.publisher.publish(event(routing_key="a.job.x.started", mandatory=False))
            await eventually(lambda: _answer(len(heard) == 2))
        await eventually(has)
        following.cancel()
        await asyncio.wait({following})


@pytest.mark.slow
async def test_a_frozen_broker_ends_every_publish_in_time_and_no_loop_dies(broker: Broker) -> None:
    """A broker that stops answering makes aiormq raise CancelledError; the loops must live on."""
    async with running_bus(broker, "processor", topology.EVENTS) as bus:
        broker.servers.signal("rabbitmq", signal.SIGSTOP)
        try:
            async with asyncio.timeout(8):
                with pytest.raises(BrokerUnavailable):
                    await bus.publisher.publish(event())
            await asyncio.sleep(15)  # beyond the heartbeat
        finally:
            broker.servers.signal("rabbitmq", signal.SIGCONT)
        await eventually(lambda: _answer(bus.publisher.ready))
        await bus.publisher.publish(event())


@pytest.mark.slow
async def test_a_killed_broker_comes_back_to_publishers_and_consumers(broker: Broker) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.envelope.id)

    async with (
        running_bus(broker, "processor", topology.EVENTS) as sender,
        running_bus(broker, "notifier", topology.EVENTS) as bus,
        consumed(bus, topology.NOTIFIER_EVENTS, handle),
    ):
        broker.servers.kill("rabbitmq")
        with pytest.raises(BrokerUnavailable):
            await sender.publisher.publish(event())
        await broker.servers.start_rabbitmq()
        await eventually(
            lambda: _answer(sender.publisher.ready and not bus.consumer.silent), seconds=40
        )
        kept = event()
        await sender.publisher.publish(kept)
        await eventually(lambda: _answer(kept.message["id"] in seen))
