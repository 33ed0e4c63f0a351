"""Requests of other services: proved sender, one job per request, always an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import orjson
import pytest

from services.processor.intake import job_id_of
from shared import topology
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually


@dataclass
class Planner:
    """Another internal service, with its own user: publishes requests, hears answers."""

    channel: aio_pika.abc.AbstractChannel
    answers: list[dict[str, Any]] = field(default_factory=list)

    async def ask(
        self,
        request_id: str,
        kind: str = "demo.print",
        *,
        user: str | None = "planner",
        **data: Any,
    ) -> None:
        body = {
            "specversion": "1.0",
            "id": request_id,
            "source": "/survey/planner",
            "type": data.pop("type", "pointmill.job.requested.v1"),
            "data": {"kind": kind, **data},
        }
        exchange = await self.channel.get_exchange(topology.REQUESTS, ensure=False)
        await exchange.publish(
            aio_pika.Message(orjson.dumps(body), user_id=user), f"request.{kind.replace('.', '_')}"
        )

    async def answer(self, request_id: str, count: int = 1) -> dict[str, Any]:
        async def look() -> list[dict[str, Any]]:
            found = [answer for answer in self.answers if answer.get("subject") == request_id]
            return found if len(found) >= count else []

        return (await eventually(look))[-1]


@asynccontextmanager
async def planner(bench: Bench) -> AsyncIterator[Planner]:
    url = await bench.broker.add_user(
        "planner",
        r"^planner\..*$",
        r"^(pointmill\.requests|planner\..*)$",
        r"^(pointmill\.events|planner\..*)$",
    )
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        found = Planner(channel)
        queue = await channel.declare_queue("planner.answers", exclusive=True)
        for what in ("accepted", "rejected"):
            await queue.bind(topology.EVENTS, f"*.job.*.{what}")

        async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            found.answers.append(orjson.loads(message.body))

        await queue.consume(hear, no_ack=True)
        yield found


@pytest.fixture
async def known(bench: Bench) -> Bench:
    """The planner may ask for every kind but demo.sleep, in the default workspace."""
    await bench.rows(
        "insert into senders (user_id, workspace_id, kinds) values ('planner', $1, $2) returning 1",
        DEFAULT_WORKSPACE,
        ["demo.print", "file.checksum", "no.such"],
    )
    return bench


async def test_a_request_becomes_one_job_however_often_it_is_sent(known: Bench) -> None:
    async with known.processor(), planner(known) as asker:
        for _ in range(3):
            await asker.ask("order-1", params={"first": "x"})
        answer = await asker.answer("order-1", count=3)
        assert answer["type"] == "pointmill.job.accepted.v1"
        jobs = await known.rows("select id, requested_by, params::text from jobs")
        assert len(jobs) == 1
        assert str(jobs[0]["id"]) == answer["data"]["job_id"]
        assert jobs[0]["requested_by"] == "service:planner"
        await known.until(jobs[0]["id"], "succeeded")


@pytest.mark.parametrize(
    ("request_", "code", "field_"),
    [
        ({"kind": "no.such"}, "unknown_kind", "data.kind"),
        ({"kind": "demo.sleep"}, "kind_not_allowed", "data.kind"),
        ({"params": {"first": 3}}, "invalid_params", "data.params.first"),
        ({"params": {"third": "x"}}, "invalid_params", "data.params"),
        ({"kind": "file.checksum"}, "cloud_missing", "data.cloud_id"),
        (
            {"kind": "file.checksum", "cloud_id": str(DEFAULT_WORKSPACE)},
            "unknown_cloud",
            "data.cloud_id",
        ),
        ({"priority": 10_000}, "invalid_data", "data"),
        ({"type": "pointmill.job.requested.v9"}, "unsupported_version", "data"),
    ],
)
async def test_a_request_that_makes_no_job_is_answered_with_the_field_at_fault(
    known: Bench, request_: dict[str, Any], code: str, field_: str
) -> None:
    async with known.processor(), planner(known) as asker:
        await eventually(lambda: known.rows("select 1 from kinds"))
        await asker.ask("order-2", **request_)
        answer = await asker.answer("order-2")
    assert answer["type"] == "pointmill.job.rejected.v1"
    assert answer["data"]["code"] == code
    assert answer["data"]["errors"][0]["field"] == field_
    assert await known.rows("select 1 from jobs") == []


async def test_what_no_row_and_no_frame_can_hold_is_answered_and_harms_nobody(
    known: Bench,
) -> None:
    """Each of these once stopped the relay, or was tried twenty times and never answered."""
    faces = "\U0001f600"
    async with known.processor(), planner(known) as asker:
        await eventually(lambda: known.rows("select 1 from kinds"))
        await asker.ask(faces * 200, params={"first": "x"})
        await asker.ask("nul\x00", params={"first": "x"})
        await asker.ask("order-6", params={"first": "a\x00b"})
        await asker.ask("order-7", params={"first": 2**63})
        await asker.ask("order-8", kind=faces * 60)
        await asker.ask("order-9", params={"first": "\\u0000, spelt out"})
        told = {
            name: (await asker.answer(name))["data"].get("code")
            for name in (faces * 63, "nul\ufffd", "order-6", "order-7", "order-8", "order-9")
        }
        assert list(told.values()) == [
            "invalid_id",
            "invalid_id",
            "invalid_data",
            "invalid_params",
            "kind_not_allowed",
            None,
        ]
        assert "relay" in {task.get_name() for task in asyncio.all_tasks()}
    assert len(await known.rows("select 1 from jobs")) == 1


async def test_an_answer_names_no_more_faults_than_fit(known: Bench) -> None:
    async with known.processor(), planner(known) as asker:
        await eventually(lambda: known.rows("select 1 from kinds"))
        await asker.ask("order-10", params={f"unknown{number}": 1 for number in range(2000)})
        answer = await asker.answer("order-10")
    assert len(orjson.dumps(answer)) < 64 * 1024


async def test_a_sender_without_a_workspace_is_told_so(bench: Bench) -> None:
    async with bench.processor(), planner(bench) as asker:
        await asker.ask("order-3")
        assert (await asker.answer("order-3"))["data"]["code"] == "unknown_sender"


async def test_a_sender_cannot_speak_for_another(known: Bench) -> None:
    async with planner(known) as asker:
        with pytest.raises(aio_pika.exceptions.ChannelClosed, match="user_id"):
            await asker.ask("order-4", user="gateway")


async def test_a_request_that_cannot_even_be_read_is_answered_by_what_amqp_calls_it(
    known: Bench,
) -> None:
    async with known.processor(), planner(known) as asker:
        exchange = await asker.channel.get_exchange(topology.REQUESTS, ensure=False)
        for name, body in (("m-1", b"hello"), ("m-2", b" " * 70_000)):
            message = aio_pika.Message(body, user_id="planner", message_id=name)
            await exchange.publish(message, "request.demo_print")
        told = [(await asker.answer(name))["data"] for name in ("m-1", "m-2")]
    assert [(one["code"], one["sender"], one["request_id"]) for one in told] == [
        ("not_a_cloudevent", "planner", "m-1"),
        ("too_large", "planner", "m-2"),
    ]


async def test_two_senders_with_the_same_request_id_get_two_jobs() -> None:
    assert job_id_of("a", "1") == job_id_of("a", "1")
    assert len({job_id_of("a", "1"), job_id_of("b", "1"), job_id_of("a", "2")}) == 3
