"""What only our system has: the relay's pace, a killed worker's job, progress to a listener."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aio_pika
import aiohttp
import asyncpg

from deploy.local import rabbitmq
from shared import topology
from tests.bench.jobs.contestants import POINTMILL, free_port, processor
from tests.bench.jobs.pair import Pair
from tests.bench.jobs.programs import Program

LEASE_SECONDS = 15.0
"""The processor's default."""

_RELAYED = 20_000
_LISTEN_SECONDS = 6
_FACTS = """
insert into outbox (service, exchange, routing_key, mandatory, message)
select 'gateway', 'pointmill.events', 'bench.job.demo_print.queued', false, jsonb_build_object(
    'specversion', '1.0', 'id', gen_random_uuid(), 'source', '/bench', 'type', 'pointmill.job.queued.v1',
    'subject', gen_random_uuid(), 'data', jsonb_build_object('text', repeat('x', 250)))
from generate_series(1, $1)
"""


@dataclass(frozen=True)
class Ours:
    """What was found.

    Attributes:
        relay_rate: messages a second from the outbox to the broker's confirm, nothing else going on.
        relay_cost: microseconds of the gateway's processor time per message.
        recovery: seconds from the kill of a worker to the next attempt at its job.
        progress: milliseconds from a worker's word of its progress to a listener over HTTP, sorted.
    """

    relay_rate: float
    relay_cost: float
    recovery: float
    progress: list[float]


async def announce_kinds(pair: Pair) -> None:
    """Let a processor say once what it can do: until then the gateway knows no kind."""
    connection = await asyncpg.connect(pair.url("postgres"))
    worker = Program(processor(pair, "announcer"))
    try:
        while not await connection.fetchval("select true from kinds where kind = 'demo.sleep'"):
            worker.must_run()
            await asyncio.sleep(0.1)
    finally:
        worker.stop()
        await connection.close()


async def measure_ours(pair: Pair) -> Ours:
    """Measure all of it, on our processes alone."""
    connection = await asyncpg.connect(pair.url("postgres"))
    port = free_port("gateway")
    gateway = Program(POINTMILL.gateway(pair, port))
    try:
        await connection.execute("truncate jobs, outbox cascade")
        await gateway.until_ready(f"http://127.0.0.1:{port}/readyz")
        rate, cost = await _relay(connection, gateway)
        headers = {"Authorization": f"Bearer {pair.api_key}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
            progress = await _listen(pair, session)
            recovery = await _kill_a_worker(pair, connection, session)
    finally:
        gateway.stop()
        await connection.close()
    return Ours(rate, cost, recovery, sorted(progress))


async def _relay(connection: "asyncpg.Connection[Any]", gateway: Program) -> tuple[float, float]:
    before = gateway.cpu()
    await connection.execute(_FACTS, _RELAYED)
    began = time.monotonic()
    while await connection.fetchval("select exists (select from outbox)"):
        await asyncio.sleep(0.02)
    return _RELAYED / (time.monotonic() - began), (gateway.cpu() - before) * 1e6 / _RELAYED


@asynccontextmanager
async def _working(*workers: Program) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()


async def _order_sleep(session: aiohttp.ClientSession, seconds: float) -> str:
    order = {"kind": "demo.sleep", "params": {"seconds": seconds}}
    async with session.post("/v1/jobs", json=order) as answer:
        return str((await answer.json())["id"])


async def _listen(pair: Pair, session: aiohttp.ClientSession) -> list[float]:
    """Milliseconds from a message's own time to its arrival in a stream of the job's events."""
    arrived: dict[str, float] = {}
    async with (
        _working(Program(processor(pair))),
        await aio_pika.connect(pair.amqp_url(rabbitmq.ADMIN)) as connection,
    ):
        channel = await connection.channel()
        queue = await channel.declare_queue("bench.progress", exclusive=True)
        await queue.bind(topology.PROGRESS, "progress.*")
        job = await _order_sleep(session, _LISTEN_SECONDS)
        async with session.get(f"/v1/jobs/{job}/events") as stream:
            async for line in stream.content:
                shown = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                if shown.get("progress"):
                    arrived.setdefault(shown["progress"]["message"], time.time())
        told = {}
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            envelope = json.loads(message.body)
            sent = datetime.fromisoformat(envelope["time"]).timestamp()
            told[envelope["data"]["message"]] = sent
    return [(arrived[text] - told[text]) * 1e3 for text in arrived.keys() & told.keys()]


async def _kill_a_worker(
    pair: Pair, connection: "asyncpg.Connection[Any]", session: aiohttp.ClientSession
) -> float:
    first = Program(processor(pair))
    other = Program(processor(pair, "processor-2"))
    workers = {"processor": first, "processor-2": other}
    async with _working(first, other):
        # The other one waits a lease from its start before it takes anything from anybody.
        await asyncio.sleep(LEASE_SECONDS + 2)
        job = await _order_sleep(session, 120)
        owner = None
        while owner is None:
            await asyncio.sleep(0.1)
            owner = await connection.fetchval("select lease_owner from jobs where id = $1", job)
        pid = int(owner.split("-")[-2])
        victim = next(one for one in workers.values() if one.child.pid == pid)
        await asyncio.sleep(1)
        killed = time.time()
        victim.kill()
        while True:
            again = await connection.fetchval(
                "select extract(epoch from started_at)::float8 from attempts where job_id = $1 and attempt = 2",
                job,
            )
            if again is not None:
                return float(again - killed)
            await asyncio.sleep(0.05)
