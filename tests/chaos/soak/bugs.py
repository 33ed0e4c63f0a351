"""The bugs that are planted to see whether the soak is sharp: into its own database or its own processes only."""

from dataclasses import dataclass
from typing import Literal

from tests.chaos.plants import plant
from tests.fixtures.system import System

FENCE = (
    "where id = p_job and attempt = p_attempt and state = 'running' and cancel_requested_at is null"
)
NO_FENCE = "where id = p_job"

EARLY_DELETE = """
import asyncio
from shared import outbox


async def relay_batch(self):
    async with self._database.transaction() as transaction:
        rows = await transaction.rows("take_outbox", outbox.BATCH)
        await transaction.value("delete_outbox", [row["id"] for row in rows])
    sending = [self._publisher.publish(outbox._outgoing(row)) for row in rows]
    await asyncio.gather(*sending, return_exceptions=True)
    return len(rows)


outbox.Relay._relay_batch = relay_batch
"""
"""The relay deletes what it has not sent yet."""

DEAF_LEASE = """
from services.processor import lease


async def beat(self):
    try:
        row = await self._database.row(
            "beat", self._job, self._attempt, self._lasts, self.progress.now()
        )
    except lease.DatabaseUnavailable:
        return
    if row is not None and row["cancel_requested"]:
        raise lease.CancelRequested


lease.Lease._beat = beat
"""
"""A worker whose lease is lost works on: with the fence in place that is harmless."""

Name = Literal["no fence", "no sweep", "early delete"]


@dataclass(frozen=True)
class Bug:
    """A planted bug, and the faults that bring it out."""

    name: Name
    faults: dict[str, int]


BUGS = (
    Bug("no fence", {"freeze": 1}),
    Bug("no sweep", {"kill": 1}),
    Bug("early delete", {"partition_broker": 1, "reset_lines": 3}),
)


async def plant_bug(system: System, name: Name) -> None:
    """Plant it, before anything starts."""
    if name == "early delete":
        plant(system, ["gateway", "processor"], EARLY_DELETE)
        return
    async with system.database.connected("pointmill") as owner:
        if name == "no sweep":
            await owner.execute(
                "create or replace function reap_lost_jobs(p_limit integer) returns integer"
                " language sql as 'select 0'"
            )
            return
        text: str = await owner.fetchval("select pg_get_functiondef('finish_job'::regproc)")
        assert FENCE in text, "finish_job is fenced in other words now: plant this bug anew"
        await owner.execute(text.replace(FENCE, NO_FENCE))
    plant(system, ["processor"], DEAF_LEASE)
