"""What dies on the bus is kept with its reason, and a request that was mended makes its one job."""

import asyncio
import uuid
from typing import Any

import aio_pika
import orjson
import pytest

from services.processor.dead_letters import replay_request
from services.processor.intake import job_id_of
from shared import replays, topology
from shared.bus import Delivery
from shared.messages.envelope import MAX_BODY_BYTES
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually

REQUEST = {
    "specversion": "1.0",
    "id": "order-1",
    "source": "/survey/planner",
    "type": "pointmill.job.requested.v1",
    "data": {"kind": "demo.print", "params": {"first": "x"}},
}


@pytest.fixture
async def known(bench: Bench) -> Bench:
    """The planner may ask for everything in the default workspace."""
    await bench.rows(
        "insert into senders (user_id, workspace_id) values ('planner', $1) returning 1",
        DEFAULT_WORKSPACE,
    )
    return bench


async def publish(
    bench: Bench,
    body: bytes,
    *,
    user: str | None = "planner",
    key: str = "request.demo_print",
    exchange: str = topology.REQUESTS,
    **properties: Any,
) -> None:
    """As another service does; `pointmill` may publish to every exchange."""
    name = user or "pointmill"
    rights = (r"^planner\..*$", r"^(pointmill\.requests)$", r"^(pointmill\.events)$")
    url = (
        bench.broker.url(name) if name != "planner" else await bench.broker.add_user(name, *rights)
    )
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(body, user_id=user, **properties)
        await (await channel.get_exchange(exchange, ensure=False)).publish(message, key)


async def letter(bench: Bench, **wanted: Any) -> dict[str, Any]:
    """The one dead letter, once it is there and as wanted."""

    async def look() -> dict[str, Any] | None:
        rows = await bench.rows("select *, state::text as state from dead_letters")
        assert len(rows) < 2
        fits = rows and all(rows[0][name] == value for name, value in wanted.items())
        return rows[0] if fits else None

    found: dict[str, Any] = await eventually(look)
    return found


async def ask_replay(bench: Bench, identifier: uuid.UUID, mended: Any = None) -> bool:
    """As the gateway does; whether it was open."""
    async with bench.database.connected("gateway") as gateway:
        move = "select id from move_dead_letter($1, $2, 'key:test', '', $3)"
        if mended is not None:
            assert await gateway.fetchval(move, identifier, "mended", orjson.dumps(mended))
        return await gateway.fetchval(move, identifier, "replay_asked", None) is not None


async def test_a_request_that_cannot_be_read_is_kept_whatever_it_is(known: Bench) -> None:
    bodies: dict[bytes, tuple[str | None, str]] = {
        orjson.dumps(REQUEST): (None, "no_sender"),
        b"hello": ("planner", "not_a_cloudevent"),
        b"\x00\xff\x80 binary": ("planner", "not_a_cloudevent"),
        b"": ("planner", "not_a_cloudevent"),
        b"[" * 30_000: ("planner", "not_a_cloudevent"),
        b"a" * 3_000_000: ("planner", "too_large"),
    }
    async with known.processor():
        for body, (user, _) in bodies.items():
            await publish(known, body, user=user, message_id="m-1", headers={"x-note": "n"})

        async def all_kept() -> Any:
            rows = await known.rows("select * from dead_letters")
            return len(rows) == len(bodies) and rows

        rows = {(row["body"], row["body_bytes"]): row for row in await eventually(all_kept)}
    for body, (user, reason) in bodies.items():
        found = rows[body[:MAX_BODY_BYTES], len(body)]
        assert (found["reason"], found["sender"]) == (reason, user)
        assert (found["queue"], found["owner"]) == (topology.INTAKE, "processor")
        assert (found["exchange"], found["routing_key"]) == (
            topology.REQUESTS,
            "request.demo_print",
        )
        assert found["message_id"] == "m-1"
        headers = orjson.loads(found["headers"])
        assert headers["x-note"] == "n"
        assert headers["x-death"][0]["reason"] == "rejected"
    assert await known.rows("select 1 from jobs") == []


async def test_a_request_that_nobody_is_bound_to_is_kept(known: Bench) -> None:
    async with known.processor():
        await publish(known, orjson.dumps(REQUEST), key="order.demo_print")
        found = await letter(known)
    assert (found["reason"], found["queue"]) == ("unrouted", topology.UNROUTED)
    assert (found["exchange"], found["sender"]) == (topology.REQUESTS, "planner")


async def test_a_dead_event_of_the_notifier_is_kept_for_the_notifier(known: Bench) -> None:
    body = orjson.dumps({**REQUEST, "type": "pointmill.job.succeeded.v9"})
    async with await aio_pika.connect(known.broker.url("notifier")) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(topology.NOTIFIER_EVENTS, passive=True)
        await publish(
            known, body, user=None, exchange=topology.EVENTS, key="w.job.demo_print.succeeded"
        )
        await (await eventually(lambda: queue.get(fail=False))).reject(requeue=False)
    async with known.processor():
        found = await letter(known)
    assert (found["reason"], found["owner"]) == ("unsupported_version", "notifier")


async def test_a_dead_doorbell_is_dropped(known: Bench) -> None:
    death = {"queue": "processor.work.default", "exchange": topology.WORK, "reason": "rejected"}
    async with known.processor():
        await publish(
            known, b"x", user=None, exchange=topology.DEAD, key="work.default",
            headers={"x-death": [death]},
        )  # fmt: skip
        await publish(known, b"x", user=None)  # what comes after it is kept
        assert (await letter(known))["exchange"] == topology.REQUESTS


async def test_the_same_message_that_dies_again_is_counted_and_opened_again(known: Bench) -> None:
    async with known.processor():
        await publish(known, b"hello")
        first = await letter(known)
        async with known.database.connected("gateway") as gateway:
            await gateway.fetch(
                "select move_dead_letter($1, 'discarded', 'key:a', 'of no use')", first["id"]
            )
        await publish(known, b"hello")
        await letter(known, seen=2, state="open")
    acts = await known.rows("select act, by, note from dead_letter_acts order by id")
    assert [(act["act"], act["by"]) for act in acts] == [
        ("discarded", "key:a"),
        ("died_again", "service:processor"),
    ]


async def test_a_mended_request_makes_one_job_of_its_sender_however_often_it_is_replayed(
    known: Bench,
) -> None:
    async with known.processor():
        await publish(known, b'{"kind": "demo.print"}')
        found = await letter(known)
        assert await ask_replay(known, found["id"], REQUEST)
        ended = await letter(known, state="replayed")
        job = job_id_of("planner", "order-1")
        assert ended["outcome"] == f"accepted: job {job}"
        assert ended["body"] == b'{"kind": "demo.print"}'
        assert not await ask_replay(known, found["id"])
        # The same dies again, is mended and replayed again: it is still the same job.
        await publish(known, b'{"kind": "demo.print"}')
        await letter(known, state="open")
        assert await ask_replay(known, found["id"])
        await letter(known, state="replayed")
        row = await known.until(job, "succeeded")
    assert row["requested_by"] == "service:planner"
    assert len(await known.rows("select 1 from jobs")) == 1
    acts = [row["act"] for row in await known.rows("select act from dead_letter_acts order by id")]
    assert acts == ["mended", "replay_asked", "replayed", "died_again", "replay_asked", "replayed"]


async def test_an_unrouted_request_is_replayed_as_it_came(known: Bench) -> None:
    async with known.processor():
        await publish(known, orjson.dumps(REQUEST), key="order.demo_print")
        found = await letter(known)
        await ask_replay(known, found["id"])
        await letter(known, state="replayed")
        await known.until(job_id_of("planner", "order-1"), "succeeded")


async def test_what_is_refused_again_is_open_again_and_says_why(known: Bench) -> None:
    async with known.processor():
        await publish(known, orjson.dumps(REQUEST), user=None)
        found = await letter(known)
        await ask_replay(known, found["id"])
        refused = await letter(
            known, state="open", outcome="no_sender: The property user_id is missing."
        )
    assert refused["mended"] is None
    assert await known.rows("select 1 from jobs") == []


async def test_what_was_cut_is_not_replayed_unmended(known: Bench) -> None:
    async with known.processor():
        await publish(known, b'{"specversion": "1.0"}' + b" " * MAX_BODY_BYTES)
        found = await letter(known)
        await ask_replay(known, found["id"])
        await letter(known, outcome="too_large: Only its beginning was kept; mend it first.")


async def test_a_rejected_request_tells_what_its_sender_was_told(known: Bench) -> None:
    mended = {**REQUEST, "data": {"kind": "no.such"}}
    async with known.processor():
        await publish(known, b"hello")
        found = await letter(known)
        await ask_replay(known, found["id"], mended)
        assert (await letter(known, state="replayed"))["outcome"] == "rejected: unknown_kind"


async def test_a_replay_cut_off_between_its_effect_and_its_mark_is_done_again_without_harm(
    known: Bench,
) -> None:
    """As a kill would: the transaction that holds the letter is lost, the job's is committed."""
    handled = asyncio.Event()
    async with known.processor() as processor:

        async def handle_and_hang(delivery: Delivery) -> str:
            await replay_request(processor, delivery)
            handled.set()
            await asyncio.sleep(60)
            return "never"

        await publish(known, b"hello")
        found = await letter(known)
        async with known.database.connected("gateway") as gateway, gateway.transaction():
            # Seen by our own replay first: the processor's own finds the row locked.
            move = "select move_dead_letter($1, $2, 'key:test', '', $3)"
            await gateway.fetch(move, found["id"], "mended", orjson.dumps(REQUEST))
        await processor.supervisor.stop()
        await known.rows("update dead_letters set state = 'replay_asked' returning 1")
        cut = asyncio.create_task(replays.replay_one(processor.database, handle_and_hang))
        await asyncio.wait_for(handled.wait(), 10)
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        assert (await letter(known))["state"] == "replay_asked"
        assert len(await known.rows("select 1 from jobs")) == 1
    async with known.processor():
        await letter(known, state="replayed")
        await known.until(job_id_of("planner", "order-1"), "succeeded")
    assert len(await known.rows("select 1 from jobs")) == 1


async def test_two_processors_replay_a_letter_once(known: Bench) -> None:
    handled: list[str] = []
    async with known.processor() as processor:
        await publish(known, b"hello")
        found = await letter(known)
        await processor.supervisor.stop()
        await ask_replay(known, found["id"], REQUEST)

        async def handle(delivery: Delivery) -> str:
            handled.append(delivery.envelope.id)
            await asyncio.sleep(0.3)
            return "done"

        done = await asyncio.gather(
            *(replays.replay_one(processor.database, handle) for _ in range(4))
        )
    assert handled == ["order-1"]
    assert sorted(done) == [False, False, False, True]
