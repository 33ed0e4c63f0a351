"""The database is there and does not do its part: no connection free, a lock held, a COMMIT without answer."""

import asyncio
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest

from tests.chaos.client import Client
from tests.chaos.lines import proxied
from tests.chaos.test_broker_gives_way import is_not_ready, until
from tests.chaos.test_servers_go_away import at_work
from tests.chaos.work import REFUSED, SUCCEEDS
from tests.fixtures.evidence import Found
from tests.fixtures.fault_proxy import FaultProxy, Way
from tests.fixtures.invariants import check
from tests.fixtures.system import System


@pytest.mark.chaos
@pytest.mark.row("E5 E7", "every connection is cut, and none is left for the services")
async def test_an_exhausted_database_delays_and_loses_nothing(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    work = await at_work(system, client)
    name = system.database.name
    async with system.database.connected() as superuser:
        await superuser.execute(f'alter database "{name}" connection limit 0')
        await superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        for service in ("gateway", "processor", "notifier"):
            await until(partial(is_not_ready, system, service))
        await superuser.execute(f'alter database "{name}" connection limit -1')
    await work
    await check(system, client.ledger, repeats=True)
    await system.start()


@pytest.mark.chaos
@pytest.mark.row("E8", "a migration holds the lock on jobs for longer than a lease")
async def test_a_long_lock_on_the_jobs_delays_and_loses_nothing(
    idle_system: System, client: Client
) -> None:
    work = await at_work(idle_system, client)
    async with idle_system.database.connected() as owner, owner.transaction():
        await owner.execute("lock table jobs in access exclusive mode")
        await asyncio.sleep(5)
    await work
    await check(idle_system, client.ledger)


@dataclass(frozen=True)
class Ambiguity:
    """A COMMIT whose answer is lost: of which service, known by which words on the line."""

    service: str
    way: Way
    words: bytes


WORD = b'"ambiguous'
COMMITS = {
    "order": Ambiguity("gateway", "up", WORD),
    "relay": Ambiguity("gateway", "up", b"COMMIT;"),
    "claim": Ambiguity("processor", "down", WORD),
    "success": Ambiguity("processor", "up", b'"printed"'),
    "failure": Ambiguity("processor", "up", b'"drill_refused"'),
}


@pytest.mark.row("E3", "the answer to a COMMIT is lost: {place}")
@pytest.mark.parametrize(
    "place",
    [
        "claim",
        "success",
        *(pytest.param(place, marks=pytest.mark.chaos) for place in ("order", "relay", "failure")),
    ],
)
async def test_a_commit_without_an_answer_happens_once(
    idle_system: System, client: Client, place: str
) -> None:
    found = await with_lost_answer(idle_system, client, COMMITS[place])
    assert sorted(job["kind"] for job in found.jobs) == ["demo.print", "demo.sleep"]
    assert [attempt["attempt"] for attempt in found.attempts] == [1, 1]


async def with_lost_answer(system: System, client: Client, where: Ambiguity) -> Found:
    # What comes twice here comes from the lost answer, and not from a lease that was too short.
    system.variables["processor"]["PROCESSOR_LEASE_SECONDS"] = "20"
    async with proxied(system, "postgres", [where.service]) as proxy:
        await system.start()
        await client.register_hook()
        proxy.lose_answer(where.way, where.words)
        await client.order("demo.print", SUCCEEDS, first="ambiguous", second="commit")
        await client.order("demo.sleep", REFUSED, seconds=0, ending="refuse")
        await proxy.sprung()
        return await check(system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("E3", "the answer to a COMMIT is lost: a sent notice")
async def test_a_notice_whose_mark_had_no_answer_is_not_sent_again(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    async with proxied(system, "postgres", ["notifier"]) as proxy:
        await system.start("notifier", failpoints="notifier.delivery.sent=sleep:1", wait=False)
        await system.start()
        await client.register_hook()
        await client.order("demo.print", SUCCEEDS, first="one", second="notice")
        await lose_mark(system, proxy)
        await check(system, client.ledger)


async def lose_mark(system: System, proxy: FaultProxy) -> None:
    """Lose the answer when the first delivery is marked as sent."""
    found: list[UUID] = []

    async def is_claimed() -> bool:
        async with system.database.connected() as connection:
            query = "select id from deliveries where tries = 1 and state = 'pending' limit 1"
            found[:] = [row["id"] for row in await connection.fetch(query)]
        return bool(found)

    await until(is_claimed)
    proxy.lose_answer("up", found[0].bytes)
    await proxy.sprung()
