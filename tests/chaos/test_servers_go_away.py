"""The broker and the database are restarted, killed and frozen under uploads and running jobs."""

import asyncio
import signal

import pytest

from tests.chaos.client import Client
from tests.chaos.conftest import LEASE_SECONDS
from tests.chaos.work import CANCELLED, SUCCEEDS, do_work, slept
from tests.fixtures.invariants import check
from tests.fixtures.system import System


async def at_work(system: System, client: Client) -> "asyncio.Task[None]":
    """Everything runs, a job is in the middle of its work, and more is being ordered."""
    await system.start()
    await client.register_hook()
    cloud = await client.make_cloud("town")
    job = await client.order("demo.sleep", slept(3), seconds=3)
    work = asyncio.create_task(do_work(client, cloud))
    async with asyncio.timeout(20):
        while (await system.job(job))["state"] != "running":
            await asyncio.sleep(0.05)
    return work


@pytest.mark.row("D1", "the broker restarted in the middle; killed: {kill}")
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_the_broker_is_restarted_in_the_middle_of_uploads_and_jobs(
    idle_system: System, client: Client, kill: bool
) -> None:
    work = await at_work(idle_system, client)
    await idle_system.restart_rabbitmq(kill=kill)
    await work
    found = await check(idle_system, client.ledger)
    # Jobs do not hang on the broker: none was lost or tried again because of it.
    assert not found.lost


@pytest.mark.row("D1", "the broker away")
async def test_while_the_broker_is_away_work_is_accepted_and_told_afterwards(
    idle_system: System, client: Client
) -> None:
    # Nobody looks for what was not told: each message must have waited for the broker.
    idle_system.variables["notifier"]["NOTIFIER_RECONCILE_SECONDS"] = "3600"
    await idle_system.start()
    await client.register_hook()
    idle_system.servers.kill("rabbitmq")
    await do_work(client)  # every order gets its 2xx
    await idle_system.servers.start_rabbitmq()
    await check(idle_system, client.ledger)


@pytest.mark.row("E1", "the database restarted in the middle; killed: {kill}")
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_the_database_is_restarted_in_the_middle_of_uploads_and_jobs(
    idle_system: System, client: Client, kill: bool
) -> None:
    work = await at_work(idle_system, client)
    await idle_system.restart_postgres(kill=kill)
    await work
    await check(idle_system, client.ledger, repeats=True)


@pytest.mark.row("D2", "the broker frozen (SIGSTOP)")
async def test_a_frozen_broker_costs_no_job_an_attempt(idle_system: System, client: Client) -> None:
    """All by looking into the table: no doorbell rings, and no word of the cancel comes through."""
    system = idle_system
    work = await at_work(system, client)
    system.servers.signal("rabbitmq", signal.SIGSTOP)
    try:
        late = await client.order("demo.print", SUCCEEDS, first="without", second="doorbell")
        doomed = await client.order("demo.sleep", CANCELLED, seconds=600)
        await system.wait_job(doomed, lambda job: job["state"] == "running", seconds=30)
        await client.cancel(doomed)
        for job in (late, doomed):
            assert (await system.wait_job(job, seconds=30))["attempt"] == 1
        await work
    finally:
        system.servers.signal("rabbitmq", signal.SIGCONT)
    found = await check(system, client.ledger)
    assert not found.lost


@pytest.mark.row("E1", "the database away for longer than a lease")
async def test_a_database_away_for_longer_than_a_lease_costs_no_job_an_attempt(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    work = await at_work(system, client)
    system.servers.kill("postgres")
    await asyncio.sleep(2.5 * LEASE_SECONDS)
    await system.servers.start_postgres()
    await work
    found = await check(system, client.ledger, repeats=True)
    assert not found.lost
