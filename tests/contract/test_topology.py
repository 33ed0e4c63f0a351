"""The definitions file is the map; the broker under the map refuses what no service may do."""

import json
from pathlib import Path

import aio_pika
import pytest
from aio_pika.exceptions import ChannelClosed

from shared import topology
from tests.fixtures.broker import Broker

DEFINITIONS = Path(__file__).parents[2] / "deploy" / "rabbitmq" / "definitions.json"


def test_the_definitions_file_equals_the_map() -> None:
    assert json.loads(DEFINITIONS.read_text()) == topology.definitions(), "run make contracts"


def test_no_password_stands_in_the_definitions() -> None:
    text = json.dumps(topology.definitions("/", {"gateway": "open sesame"}))
    assert "open sesame" not in text


async def test_the_map_can_be_applied_twice(broker: Broker) -> None:
    topology.apply(broker.admin_url, broker.vhost, {})
    queues = await broker.api("GET", f"queues/{broker.path}")
    assert {queue["name"] for queue in queues.json()} == set(topology.QUEUES)


@pytest.mark.parametrize(
    ("user", "exchange"),
    [
        ("gateway", topology.REQUESTS),
        ("gateway", topology.PROGRESS),
        ("gateway", topology.DEAD),
        ("processor", topology.REQUESTS),
        ("processor", topology.CONTROL),
        ("notifier", topology.WORK),
        ("notifier", topology.REQUESTS),
    ],
)
async def test_a_service_cannot_publish_where_it_has_nothing_to_say(
    module_broker: Broker, user: str, exchange: str
) -> None:
    connection = await aio_pika.connect(module_broker.url(user))
    async with connection:
        channel = await connection.channel()
        with pytest.raises(ChannelClosed, match=r"access|ACCESS"):
            await (await channel.get_exchange(exchange, ensure=False)).publish(
                aio_pika.Message(b"x"), "k"
            )


@pytest.mark.parametrize(
    ("user", "queue"),
    [
        ("gateway", topology.INTAKE),
        ("gateway", topology.NOTIFIER_EVENTS),
        ("processor", topology.NOTIFIER_EVENTS),
        ("notifier", topology.INTAKE),
        ("notifier", topology.work_queue("default")),
    ],
)
async def test_a_service_cannot_read_the_queue_of_another(
    module_broker: Broker, user: str, queue: str
) -> None:
    connection = await aio_pika.connect(module_broker.url(user))
    async with connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, passive=True)
        with pytest.raises(ChannelClosed, match=r"access|ACCESS"):
            await found.consume(print)


@pytest.mark.parametrize("user", ["gateway", "processor", "notifier"])
async def test_a_service_cannot_change_the_map(module_broker: Broker, user: str) -> None:
    connection = await aio_pika.connect(module_broker.url(user))
    async with connection:
        channel = await connection.channel()
        with pytest.raises(ChannelClosed, match=r"access|ACCESS"):
            await channel.declare_queue("pointmill.other", durable=True)


@pytest.mark.parametrize("user", ["gateway", "processor", "notifier"])
async def test_nobody_can_speak_under_another_name(module_broker: Broker, user: str) -> None:
    connection = await aio_pika.connect(module_broker.url(user))
    async with connection:
        channel = await connection.channel()
        events = await channel.get_exchange(topology.EVENTS, ensure=False)
        with pytest.raises(ChannelClosed, match="user_id"):
            await events.publish(aio_pika.Message(b"x", user_id="somebody"), "k")
