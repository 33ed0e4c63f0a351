"""The load of the soak: what a crowd of clients orders, cancels and asks for again, and how each must end."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Client
from tests.chaos.work import CANCELLED, MILLED, POINTS, REFUSED, SUCCEEDS, slept
from tests.fixtures import honest
from tests.fixtures.system import System

ENDINGS = {
    "well": None,
    "refuse": REFUSED,
    "crash": {"state": "failed", "error": {"code": "task_crashed"}},
    "error": {"state": "failed", "error": {"code": "task_error"}},
}
GIVEN_UP = {"worker_lost", "worker_fault", "worker_killed"}
"""Codes of a job that met a fault of ours at every attempt: it has failed, and says so."""


@dataclass
class Load:
    """A crowd of clients.

    Attributes:
        ordered: what was accepted, by what it was.
        cancelled: the jobs that somebody asked to cancel: they may have ended before.
    """

    system: System
    client: Client
    rng: random.Random
    ordered: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    _clouds: list[str] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        """A hook and a few clouds, before anything breaks."""
        await self.client.register_hook()
        for number in range(3):
            body = honest.laz(number, POINTS)
            await self.client.upload(f"{number}.laz", body, MILLED)
        self._clouds = list(self.client.ledger.uploads)

    async def go_on(self, seconds: float, clients: int, pause: float) -> None:
        """Order for so long, as so many clients who wait a little between two orders."""
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                rng = random.Random(self.rng.random())  # noqa: S311 - repeatable by its seed
                group.create_task(self._one_client(rng, until, pause))

    async def _one_client(self, rng: random.Random, until: float, pause: float) -> None:
        while asyncio.get_running_loop().time() < until:
            await self._order(rng)
            await asyncio.sleep(rng.uniform(0, 2 * pause))

    async def _order(self, rng: random.Random) -> None:
        turn = rng.random()
        if turn < 0.45:
            word = f"{rng.getrandbits(32):x}"
            expected = {"state": "succeeded", "result": {"printed": f"soak {word}"}}
            await self.client.order("demo.print", expected, first="soak", second=word)
            self.ordered["demo.print"] += 1
        elif turn < 0.55:
            await self._checksum(rng)
        elif turn < 0.65:
            await self._cancel(rng)
        else:
            await self._drill(rng)

    async def _drill(self, rng: random.Random) -> None:
        seconds = round(rng.uniform(0, 1.5), 2)
        ending = rng.choices(list(ENDINGS), [12, 2, 1, 1])[0]
        expected = ENDINGS[ending] or slept(seconds)
        job = await self.client.order("demo.sleep", expected, seconds=seconds, ending=ending)
        self.ordered[f"demo.sleep ({ending})"] += 1
        if ending == "refuse":
            self._refused.append(job)
            if rng.random() < 0.5:
                await self._again(self._refused[0])

    async def _again(self, job: str) -> None:
        """Retry a job if it has failed by now; a retry without an answer is found by its `retry_of`."""
        answer = await self.client.send("POST", f"/v1/jobs/{job}/retry")
        if answer.status == 202:
            self.client.ledger.expected[answer.body["id"]] = REFUSED
            self.ordered["retry"] += 1
            self._refused = [one for one in self._refused if one != job]

    async def _cancel(self, rng: random.Random) -> None:
        job = await self.client.order("demo.sleep", CANCELLED, seconds=600)
        self.cancelled.add(job)
        await asyncio.sleep(rng.uniform(0, 2))
        await self.client.cancel(job)
        self.ordered["demo.sleep (cancelled)"] += 1

    async def _checksum(self, rng: random.Random) -> None:
        cloud = rng.choice(self._clouds)
        await self.client.order("file.checksum", SUCCEEDS, cloud=cloud)
        self.ordered["file.checksum"] += 1


async def settle_expectations(system: System, load: Load) -> Counter[str]:
    """Make exact what could not be known before: which jobs had bad luck at every attempt.

    Such a job must have used up its attempts, each of them lost to a fault; it is counted.
    """
    expected = load.client.ledger.expected
    luck: Counter[str] = Counter()
    async with system.database.connected() as connection:
        rows = await connection.fetch(
            "select id::text, state::text, error->>'code' as code, failures, max_failures, retry_of from jobs"
        )
    for row in rows:
        wanted: dict[str, Any] = expected.get(row["id"], {})
        if row["retry_of"] is not None and not wanted:
            luck["retries without an answer that were made"] += 1
            expected[row["id"]] = wanted = REFUSED
        if row["code"] in GIVEN_UP and row["failures"] >= row["max_failures"]:
            luck["jobs given up after faults at every attempt"] += 1
            expected[row["id"]] = {"state": "failed", "error": {"code": row["code"]}}
    return luck
