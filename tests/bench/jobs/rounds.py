"""One round of one contestant: orders at full load, a queue to drain, orders one by one."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.bench.jobs.contestants import POINTMILL, Contestant, free_port
from tests.bench.jobs.pair import Pair
from tests.bench.jobs.programs import ROOT, Program

CONNECTIONS = 32
PACE = 20
_WARM_UP = 300
_DRAIN_SECONDS = 300
_TABLES = {True: "jobs, outbox, idempotency_keys", False: "jobs"}

# The moment of the commit that last changed the row is the server's word, the same for everybody.
_COMMITTED = "extract(epoch from pg_xact_commit_timestamp(xmin))::float8"
_ENDS = f"select {_COMMITTED} from jobs where state = 'succeeded' order by 1"  # noqa: S608
_PACED = (
    f"select (params->>'second')::int as number, {_COMMITTED} as ended from jobs "  # noqa: S608
    "where params->>'first' = 'paced' and state = 'succeeded'"
)
_LEFT = "select count(*) from jobs where state <> 'succeeded'"
_LAG = (
    "select coalesce(extract(epoch from now() - min(created_at)), 0)::float8 from outbox "
    "where available_at <= now()"
)


@dataclass(frozen=True)
class Cost:
    """Microseconds of processor time per request or job."""

    program: float
    postgres: float
    rabbitmq: float


@dataclass(frozen=True)
class Posting:
    """Orders at full load.

    Attributes:
        rate: accepted a second.
        p50: milliseconds from request to answer.
        p99: the same.
        cost: of the process that takes the orders, per request, until all of it is on the bus.
        load: the share of a core that the load generator took.
        lag: the greatest age of an event or doorbell that was not yet on the bus, seconds; ours only.
        behind: how long after the last answer everything was on the bus, seconds; ours only.
    """

    rate: float
    p50: float
    p99: float
    cost: Cost
    load: float
    lag: float | None = None
    behind: float | None = None


@dataclass(frozen=True)
class Draining:
    """A queue of light jobs and one worker process.

    Attributes:
        jobs: how many.
        rate: done a second, by the commits.
        cost: of the worker per job, until all of it is told on the bus.
        lag: the greatest age of an event that was not yet on the bus, seconds; ours only.
        behind: how long after the last commit everything was on the bus, seconds; ours only.
    """

    jobs: int
    rate: float
    cost: Cost
    lag: float | None = None
    behind: float | None = None


@dataclass(frozen=True)
class Round:
    """What one round has found.

    Attributes:
        posting: orders at full load.
        draining: a queue of light jobs.
        end_to_end: milliseconds of jobs that come one by one, sorted.
        single: what such a job costs; of the worker's process, with all that is done only once a batch.
    """

    posting: Posting
    draining: Draining
    end_to_end: Sequence[float]
    single: Cost


class Bench:
    """One contestant on the pair."""

    def __init__(self, pair: Pair, contestant: Contestant, jobs: int) -> None:
        self._pair = pair
        self._contestant = contestant
        self._jobs = jobs
        self._port = free_port("gateway")

    async def measure(self, seconds: float) -> Round:
        """Run the round; nothing of it is left running.

        Raises:
            RuntimeError: an order was not accepted, or a job was lost.
        """
        database = self._pair.url("postgres", self._contestant.database)
        connection = await asyncpg.connect(database)
        try:
            return await self._measure(connection, seconds)
        finally:
            await connection.close()

    async def _measure(self, connection: "asyncpg.Connection[Any]", seconds: float) -> Round:
        await self._clear(connection)
        gateway = Program(self._contestant.gateway(self._pair, self._port))
        worker: Program | None = None
        try:
            await gateway.until_ready(f"http://127.0.0.1:{self._port}{self._contestant.ready}")
            posting = await self._post(connection, gateway, seconds)
            worker = Program(self._contestant.worker(self._pair))
            draining = await self._drain(connection, worker)
            end_to_end, single = await self._order_one_by_one(connection, worker, seconds)
        finally:
            for program in (worker, gateway):
                if program is not None:
                    program.stop()
        return Round(posting, draining, end_to_end, single)

    async def _clear(self, connection: "asyncpg.Connection[Any]") -> None:
        await self._pair.purge()
        ours = self._contestant is POINTMILL
        await connection.execute(f"truncate {_TABLES[ours]} cascade")
        await connection.execute("checkpoint")

    async def _post(
        self, connection: "asyncpg.Connection[Any]", gateway: Program, seconds: float
    ) -> Posting:
        await self.load("full", CONNECTIONS, _WARM_UP, 60)
        async with _lag_watched(connection, self._contestant) as lags:
            before, servers = gateway.cpu(), self._pair.cpu()
            found = await self.load("full", CONNECTIONS, 10**9, seconds)
            count = len(found["seconds"])
        behind = await _relayed(connection, self._contestant)
        cost = self._cost(gateway.cpu() - before, servers, count)
        missing = self._jobs - count - _WARM_UP
        if missing > 0:
            await self.load("full", CONNECTIONS, missing, 300)
        await _relayed(connection, self._contestant)
        return Posting(
            rate=count / found["wall"],
            p50=_share(found["seconds"], 0.5) * 1e3,
            p99=_share(found["seconds"], 0.99) * 1e3,
            cost=cost,
            load=found["cpu"] / found["wall"],
            lag=max(lags, default=None),
            behind=behind,
        )

    async def _drain(self, connection: "asyncpg.Connection[Any]", worker: Program) -> Draining:
        count = await connection.fetchval("select count(*) from jobs")
        began = time.monotonic()
        left = count
        while left == count:  # it starts; that is not part of the rate
            await asyncio.sleep(0.02)
            worker.must_run()
            left = await self._left(connection, began)
        before, servers, first = worker.cpu(), self._pair.cpu(), left
        async with _lag_watched(connection, self._contestant) as lags:
            while left:
                await asyncio.sleep(0.2)
                left = await self._left(connection, began)
            behind = await _relayed(connection, self._contestant)
        cost = self._cost(worker.cpu() - before, servers, first)
        ends = [row[0] for row in await connection.fetch(_ENDS)]
        rate = (len(ends) - 1) / (ends[-1] - ends[0])
        return Draining(count, rate, cost, max(lags, default=None), behind)

    async def _left(self, connection: "asyncpg.Connection[Any]", began: float) -> int:
        left: int = await connection.fetchval(_LEFT)
        if time.monotonic() - began > _DRAIN_SECONDS:
            raise RuntimeError(f"{self._contestant.name}: {left} jobs were not done in time.")
        return left

    async def _order_one_by_one(
        self, connection: "asyncpg.Connection[Any]", worker: Program, seconds: float
    ) -> tuple[list[float], Cost]:
        before, servers = worker.cpu(), self._pair.cpu()
        found = await self.load("paced", PACE, int(PACE * seconds))
        await self._left_none(connection)
        rows = await connection.fetch(_PACED)
        cost = self._cost(worker.cpu() - before, servers, len(rows))
        times = [(row["ended"] - found["began"][row["number"] - 1]) * 1e3 for row in rows]
        return sorted(times), cost

    async def _left_none(self, connection: "asyncpg.Connection[Any]") -> None:
        began = time.monotonic()
        while await self._left(connection, began):
            await asyncio.sleep(0.1)

    def _cost(self, program: float, servers: tuple[float, float], count: int) -> Cost:
        after = self._pair.cpu()
        each = 1e6 / max(count, 1)
        return Cost(program * each, (after[0] - servers[0]) * each, (after[1] - servers[1]) * each)

    async def load(self, mode: str, *numbers: float) -> dict[str, Any]:
        """Run the load generator; what it found."""
        words = [str(self._port), self._pair.api_key, mode, *map(str, numbers)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.jobs.load", *words, cwd=ROOT, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        found: dict[str, Any] = json.loads(output)
        if set(found["statuses"]) != {"202"}:
            raise RuntimeError(f"{self._contestant.name} answered {found['statuses']}.")
        return found


@asynccontextmanager
async def _lag_watched(
    connection: "asyncpg.Connection[Any]", contestant: Contestant
) -> AsyncIterator[list[float]]:
    """The ages of the oldest row in the outbox, looked at four times a second."""
    ages: list[float] = []
    if contestant is not POINTMILL:
        yield ages
        return

    async def watch() -> None:
        while True:
            ages.append(await connection.fetchval(_LAG))
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    try:
        yield ages
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _relayed(connection: "asyncpg.Connection[Any]", contestant: Contestant) -> float | None:
    """Wait until the outbox is empty; how many seconds that took."""
    if contestant is not POINTMILL:
        return None
    began = time.monotonic()
    while await connection.fetchval("select exists (select from outbox)"):
        if time.monotonic() - began > _DRAIN_SECONDS:
            raise RuntimeError("The outbox was not relayed in time.")
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def _share(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
