"""The process of an attempt crashes, hangs, is killed, fills the disk, or takes its worker with it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.client import Client
from tests.chaos.plants import SHORT_LIMIT, plant
from tests.chaos.test_services_go_away import children_in, until_running
from tests.chaos.work import CANCELLED, MILLED, SUCCEEDS, slept
from tests.fixtures import honest
from tests.fixtures.invariants import check
from tests.fixtures.system import System

BALLAST = 32 << 20


def failed(code: str) -> dict[str, object]:
    return {"state": "failed", "error": {"code": code}}


async def the_child(system: System) -> int:
    """The process of the one attempt that runs."""
    async with asyncio.timeout(20):
        while not (found := children_in(system.folder / "scratch")):
            await asyncio.sleep(0.05)
    return found[0]


@pytest.mark.row("B4 B9", "children run out of memory, crash, break, refuse")
async def test_every_bad_end_of_a_child_is_its_jobs_alone(
    idle_system: System, client: Client
) -> None:
    await idle_system.start()
    await client.register_hook()
    for ending, code in {
        "out_of_memory": "out_of_memory",
        "crash": "task_crashed",
        "error": "task_error",
        "refuse": "drill_refused",
    }.items():
        await client.order("demo.sleep", failed(code), seconds=0, ending=ending)
    for turn in range(3):
        await client.order("demo.print", SUCCEEDS, first="well", second=str(turn))
    await check(idle_system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B4", "the kernel kills a child: memory is short")
async def test_a_child_killed_from_outside_is_tried_again(
    idle_system: System, client: Client
) -> None:
    await idle_system.start()
    await client.register_hook()
    job = await client.order("demo.sleep", slept(3), seconds=3)
    await until_running(idle_system, job)
    os.kill(await the_child(idle_system), signal.SIGKILL)
    found = await check(idle_system, client.ledger)
    assert [row["outcome"] for row in found.attempts] == ["retried", "succeeded"]


@pytest.mark.chaos
@pytest.mark.row("B5", "a child hangs: it is ended by its limit")
async def test_a_child_that_hangs_is_ended_by_its_limit(
    idle_system: System, client: Client
) -> None:
    plant(idle_system, ["processor"], SHORT_LIMIT.format(seconds=4))
    await idle_system.start()
    await client.register_hook()
    job = await client.order("demo.sleep", failed("time_limit"), seconds=600)
    await until_running(idle_system, job)
    os.kill(await the_child(idle_system), signal.SIGSTOP)
    await idle_system.wait_job(job)
    assert not children_in(idle_system.folder / "scratch")
    await check(idle_system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B5", "a child hangs: it is cancelled")
async def test_a_child_that_hangs_can_be_cancelled(idle_system: System, client: Client) -> None:
    await idle_system.start()
    await client.register_hook()
    job = await client.order("demo.sleep", CANCELLED, seconds=600)
    await until_running(idle_system, job)
    os.kill(await the_child(idle_system), signal.SIGSTOP)
    await client.cancel(job)
    start = time.monotonic()
    await idle_system.wait_job(job)
    assert time.monotonic() - start < 5
    assert not children_in(idle_system.folder / "scratch")
    await check(idle_system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B7", "a job kills its worker at every attempt")
async def test_a_job_that_kills_its_worker_each_time_fails_visibly_and_others_flow(
    idle_system: System, client: Client
) -> None:
    system = idle_system
    await system.start()  # now the kind is known
    await client.register_hook()
    await system.stop("processor")
    await system.start("processor", wait=False, failpoints="processor.job.running=kill")
    poison = await client.order("demo.sleep", failed("worker_lost"), seconds=30)
    for _ in range(3):
        assert await system.wait_ended("processor", seconds=60) == -signal.SIGKILL
        await system.start("processor", wait=False, failpoints="processor.job.running=kill")
    assert (await system.wait_job(poison))["attempt"] == 3
    assert system.is_running("processor")
    await client.order("demo.print", SUCCEEDS, first="others", second="flow")
    await check(system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B6", "a job takes more scratch space than it may")
async def test_a_job_over_its_scratch_space_is_ended_and_leaves_nothing(
    idle_system: System, client: Client
) -> None:
    idle_system.variables["processor"]["PROCESSOR_SCRATCH_BYTES"] = str(1 << 20)
    await idle_system.start()
    await client.register_hook()
    await client.upload("large.las", honest.las(3, 200_000), failed("scratch_limit"))
    await client.order("demo.print", SUCCEEDS, first="others", second="flow")
    await check(idle_system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("B6", "the scratch disk is full, then has room again")
async def test_a_full_scratch_disk_costs_an_attempt_and_no_job(
    idle_system: System, client: Client
) -> None:
    scratch = idle_system.folder / "scratch"
    with small_disk(scratch):
        await idle_system.start()
        await client.register_hook()
        ballast = scratch / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            file.write(b"\0" * BALLAST)
        job = await client.upload("town.las", honest.las(3, 1000), MILLED)
        await idle_system.wait_job(job, lambda job: job["attempt"] >= 1 and job["error"])
        ballast.unlink()
        found = await check(idle_system, client.ledger)
        await idle_system.stop("processor")
    outcomes = [row["outcome"] for row in found.attempts]
    assert outcomes[-1] == "succeeded"
    assert set(outcomes[:-1]) == {"retried"}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of a few megabytes in place of the folder. Whoever runs this may mount."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={BALLAST}", "tmpfs", str(folder)]
    subprocess.run(words, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
