"""Services that are frozen, and services that are killed while their children and clients are at work."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.client import Client, in_pieces
from tests.chaos.conftest import LEASE_SECONDS
from tests.chaos.work import MILLED, POINTS, do_work, slept
from tests.fixtures import honest
from tests.fixtures.invariants import check
from tests.fixtures.system import System


async def until_running(system: System, job: str) -> None:
    async with asyncio.timeout(20):
        while (await system.job(job))["state"] != "running":
            await asyncio.sleep(0.05)


def children_in(folder: Path) -> list[int]:
    """The processes that work in a folder below the given one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                here = (entry / "cwd").readlink()
            except OSError:
                continue
            if here.is_relative_to(folder):
                found.append(int(entry.name))
    return found


@pytest.mark.row("B2", "a processor frozen (SIGSTOP) beyond its lease, then awake: the zombie")
async def test_a_frozen_processor_that_wakes_up_late_has_no_say(
    idle_system: System, client: Client
) -> None:
    """Its lease is over, another has done the work; what it still does must change nothing."""
    system = idle_system
    await system.start()
    await client.register_hook()
    job = await client.order("demo.sleep", slept(2), seconds=2)
    await until_running(system, job)
    system.pause("processor")
    await asyncio.sleep(LEASE_SECONDS + 0.5)
    async with system.database.connected("processor") as other:
        assert await other.fetchval("select reap_lost_jobs(10)") == 1
        await other.execute("update jobs set available_at = now() where id = $1", job)
        claimed = await other.fetchrow(
            "select id, attempt from claim_job('other', array['demo.sleep'], 30, gen_random_uuid())"
        )
        assert claimed is not None
        system.resume("processor")
        await asyncio.sleep(2 * LEASE_SECONDS)  # the first attempt has had time to end by now
        row = await other.fetchrow(
            "select state::text, attempt, lease_owner from jobs where id = $1", claimed["id"]
        )
        assert row is not None
        assert (row["state"], row["attempt"], row["lease_owner"]) == ("running", 2, "other")
        assert await other.fetchval(
            "select finish_job($1, 2, '{\"slept\": 2}', '[]', null)", claimed["id"]
        )
    await check(system, client.ledger)


@pytest.mark.row("B1", "a processor killed with its children at work")
async def test_a_killed_processor_leaves_no_child_at_work(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    await system.start()
    await client.register_hook()
    job = await client.order("demo.sleep", slept(4), seconds=4)
    await until_running(system, job)
    async with asyncio.timeout(10):
        while not (children := children_in(system.folder / "scratch")):
            await asyncio.sleep(0.05)
    await system.kill("processor")
    async with asyncio.timeout(3):
        while children_in(system.folder / "scratch"):
            await asyncio.sleep(0.02)
    assert children
    await system.start("processor")
    found = await check(system, client.ledger)
    assert [attempt["outcome"] for attempt in found.attempts] == ["lost", "succeeded"]


@pytest.mark.row("A B C", "the {service} killed three times under work")
@pytest.mark.parametrize("service", ["gateway", "processor", "notifier"])
async def test_a_service_killed_again_and_again_loses_nothing(
    idle_system: System, client: Client, service: str
) -> None:
    system = idle_system
    await system.start()
    await client.register_hook()
    work = asyncio.create_task(do_work(client, await client.make_cloud("town")))
    for _ in range(3):
        await asyncio.sleep(0.6)
        await system.kill(service)
        await system.start(service)
    await work
    await check(system, client.ledger, repeats=service == "notifier")


@pytest.mark.row("A1", "an upload cut by its client")
async def test_a_cut_upload_leaves_nothing_and_may_be_sent_again(
    idle_system: System, client: Client
) -> None:
    system, body = idle_system, honest.las(3, POINTS)
    await system.start()
    await client.register_hook()
    cloud = await client.make_cloud("town")

    async def cut() -> AsyncIterator[bytes]:
        async for piece in in_pieces(body[: len(body) // 2]):
            yield piece
        raise ConnectionResetError("the client goes away")

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await system.client.put(f"/v1/clouds/{cloud}/file?name=town.las", data=cut())
    async with system.client.get(f"/v1/clouds/{cloud}") as answer:
        assert (await answer.json())["state"] == "empty"
    await client.fill(cloud, "town.las", body, MILLED)
    found = await check(system, client.ledger)
    assert len([key for key in found.objects if "/clouds/" in key]) == 1


@pytest.mark.row("A1", "the gateway killed under an upload")
async def test_a_gateway_killed_under_an_upload_gets_the_file_again(
    idle_system: System, client: Client
) -> None:
    system, body = idle_system, honest.las(3, POINTS)
    await system.start()
    await client.register_hook()
    upload = asyncio.create_task(client.upload("town.las", body, MILLED, slowly=1.0))
    await asyncio.sleep(0.5)
    await system.kill("gateway")
    await system.start("gateway")
    await upload
    assert client.tries > 1
    await check(system, client.ledger)
