"""Nothing that may start waits longer than two seconds for a free slot, whatever was not heard."""

import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually

POLL = 2.0
# The look itself, on a busy machine.
LOOK = 1.0
Release = Callable[[Bench], Awaitable[None]]


async def order(bench: Bench, kind: str) -> UUID:
    return await bench.order(kind, {"seconds": 0} if kind == "demo.sleep" else {})


async def run(bench: Bench, statement: str, *arguments: object) -> None:
    async with bench.database.connected() as connection:
        await connection.execute(statement, *arguments)


async def a_kind_is_resumed(bench: Bench, kind: str) -> UUID:
    await run(bench, "update kinds set paused_at = now() where kind = $1", kind)
    return await order(bench, kind)


async def resume(bench: Bench) -> None:
    await run(bench, "update kinds set paused_at = null")


async def a_cap_is_freed(bench: Bench, kind: str) -> UUID:
    await run(bench, "update workspaces set max_running = 0")
    held = await bench.order("demo.sleep")
    # At once, so that no slot of ours is quicker.
    await run(
        bench,
        "update workspaces set max_running = 1;"
        " select claim_job('elsewhere', array['demo.sleep'], 60, gen_random_uuid())",
    )
    assert (await bench.job(held))["state"] == "running"
    return await order(bench, kind)


async def free_the_cap(bench: Bench) -> None:
    await run(
        bench, "select finish_job(id, attempt, '{}', '[]', null) from jobs where state = 'running'"
    )


async def a_cap_is_raised(bench: Bench, kind: str) -> UUID:
    await run(bench, "update workspaces set max_running = 0 where id = $1", DEFAULT_WORKSPACE)
    return await order(bench, kind)


async def raise_the_cap(bench: Bench) -> None:
    await run(bench, "update workspaces set max_running = null")


async def starts_are_allowed_again(bench: Bench, kind: str) -> UUID:
    await run(bench, "update kinds set starts_per_minute = 1 where kind = $1", kind)
    await run(bench, "insert into kind_starts (kind) values ($1)", kind)
    return await order(bench, kind)


async def let_a_minute_pass(bench: Bench) -> None:
    await run(bench, "update kind_starts set at = at - interval '1 minute'")


async def a_pause_before_a_retry_is_over(bench: Bench, kind: str) -> UUID:
    await run(bench, "update kinds set paused_at = now() where kind = $1", kind)
    job = await order(bench, kind)
    await run(bench, "update jobs set available_at = now() + interval '1 hour'")
    await run(bench, "update kinds set paused_at = null")
    return job


async def end_the_pause(bench: Bench) -> None:
    await run(bench, "update jobs set available_at = now()")


@pytest.mark.parametrize("kind", ["demo.sleep", "demo.print"], ids=["heavy", "light"])
@pytest.mark.parametrize(
    ("hold", "release"),
    [
        (a_kind_is_resumed, resume),
        (a_cap_is_freed, free_the_cap),
        (a_cap_is_raised, raise_the_cap),
        (starts_are_allowed_again, let_a_minute_pass),
        (a_pause_before_a_retry_is_over, end_the_pause),
    ],
    ids=lambda step: step.__name__,
)
async def test_a_free_slot_finds_what_may_start_now_without_being_told(
    bench: Bench, hold: Callable[[Bench, str], Awaitable[UUID]], release: Release, kind: str
) -> None:
    async with bench.processor(poll_seconds=POLL):
        await eventually(lambda: bench.rows("select 1 from kinds"))
        job = await hold(bench, kind)
        # A whole round in which the slot looks and finds nothing.
        with pytest.raises(TimeoutError):
            await bench.until(job, "running", "succeeded", seconds=POLL + LOOK)
        await release(bench)
        start = time.monotonic()
        await bench.until(job, "running", "succeeded")
        assert time.monotonic() - start < POLL + LOOK


async def test_a_new_worker_takes_what_waits_for_it_at_once(bench: Bench) -> None:
    job = await bench.order("demo.print")
    async with bench.processor(poll_seconds=POLL):
        start = time.monotonic()
        await bench.until(job, "running", "succeeded")
        assert time.monotonic() - start < POLL + LOOK


async def test_a_job_whose_message_was_lost_is_found_by_an_idle_slot(bench: Bench) -> None:
    async with bench.processor(poll_seconds=POLL):
        await bench.until(await bench.order("demo.print"), "succeeded")
        job = await bench.order("demo.print")
        start = time.monotonic()
        await bench.until(job, "running", "succeeded")
        assert time.monotonic() - start < POLL + LOOK
