"""Each planned time makes one job, whoever looks and whatever is lost; and what schedules do instead."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.processor.scheduler import job_id_of
from shared.db import load_statements
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import Moves

STATEMENTS = load_statements("processor")
TAKE, RUN = STATEMENTS["take_due_schedule"], STATEMENTS["run_schedule"]
LATER = datetime(2100, 1, 1, tzinfo=UTC)
Connection = "asyncpg.Connection[Any]"


async def make(
    owner: Connection,
    *,
    overlap: str = "skip",
    missed: str = "once",
    late: float = 1,
    cloud: UUID | None = None,
) -> UUID:
    """A schedule whose time came `late` seconds ago."""
    return await owner.fetchval(
        "insert into schedules (workspace_id, name, kind, cron, timezone, overlap, missed, next_at, cloud_id)"
        " values ($1, $2, 'demo.print', '* * * * *', 'UTC', $3, $4,"
        "         date_trunc('milliseconds', now()) - make_interval(secs => $5), $6) returning id",
        DEFAULT_WORKSPACE,
        uuid.uuid4().hex,
        overlap,
        missed,
        late,
        cloud,
    )


async def again(owner: Connection, schedule: UUID, late: float = 1) -> None:
    """Let the schedule be due once more."""
    await owner.execute(
        "update schedules set next_at = now() - make_interval(secs => $2) where id = $1",
        schedule,
        late,
    )


async def look(owner: Connection, schedule: UUID) -> Any:
    return await owner.fetchrow("select * from schedules where id = $1", schedule)


async def jobs_of(owner: Connection, schedule: UUID) -> list[Any]:
    return await owner.fetch(
        "select *, state::text as state from jobs where schedule_id = $1 order by created_at",
        schedule,
    )


async def run(processor: Connection) -> str | None:
    """What a scheduler does: find, work out, order, in one transaction."""
    async with processor.transaction():
        row = await processor.fetchrow(TAKE, [])
        if row is None:
            return None
        job = job_id_of(row["id"], row["next_at"])
        return await processor.fetchval(RUN, row["id"], row["next_at"], job, LATER)


@pytest.fixture
async def schedulers(database: Database) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(database.connected("processor")) for _ in range(6)]


async def test_a_time_that_has_come_orders_the_job(moves: Moves) -> None:
    schedule = await make(moves.owner)
    planned = (await look(moves.owner, schedule))["next_at"]
    assert await run(moves.processor) == "ordered"
    row = await look(moves.owner, schedule)
    assert (row["next_at"], row["last_planned_at"], row["last_outcome"]) == (
        LATER,
        planned,
        "ordered",
    )
    (job,) = await jobs_of(moves.owner, schedule)
    assert job["id"] == row["last_job_id"] == job_id_of(schedule, planned)
    assert (job["state"], job["requested_by"]) == ("queued", f"schedule:{schedule}")
    assert await run(moves.processor) is None


async def test_many_schedulers_at_once_make_one_job_of_each_time(
    moves: Moves, schedulers: list[Any]
) -> None:
    schedules = [await make(moves.owner) for _ in range(20)]

    async def work(connection: Any) -> list[str]:
        outcomes = []
        while (outcome := await run(connection)) is not None:
            outcomes.append(outcome)
        return outcomes

    outcomes = await asyncio.gather(*(work(connection) for connection in schedulers))
    assert sum(map(len, outcomes)) == len(schedules)
    for schedule in schedules:
        assert len(await jobs_of(moves.owner, schedule)) == 1


@pytest.mark.parametrize("locked", [False, True], ids=["without the lock", "with the lock"])
async def test_the_lock_is_what_keeps_two_schedulers_apart(
    moves: Moves, schedulers: list[Any], locked: bool
) -> None:
    """The same look without it, and ids that are not derived: the time makes two jobs."""
    schedule = await make(moves.owner)
    take = TAKE if locked else TAKE.replace("for update of s skip locked", "")
    assert locked or take != TAKE
    first, second = schedulers[:2]

    async def order(connection: Any, row: Any) -> None:
        job = await connection.fetchval(
            "select (create_job($1, 'demo.print', '{}', null, 0::smallint, 'x')).id",
            row["workspace_id"],
        )
        await connection.execute("update jobs set schedule_id = $1 where id = $2", row["id"], job)
        await connection.execute(
            "update schedules set next_at = $2 where id = $1", row["id"], LATER
        )

    async with first.transaction():
        mine = await first.fetchrow(take, [])
        theirs = await second.fetchrow(take, [])
        await order(first, mine)
    if theirs is not None:
        await order(second, theirs)
    assert len(await jobs_of(moves.owner, schedule)) == (1 if locked else 2)


async def test_a_time_that_is_run_again_after_a_lost_answer_has_the_same_job(moves: Moves) -> None:
    """The COMMIT had worked, nobody heard of it, and the row was put back: still one job."""
    schedule = await make(moves.owner, overlap="queue")
    planned = (await look(moves.owner, schedule))["next_at"]
    await run(moves.processor)
    (job,) = await jobs_of(moves.owner, schedule)
    await moves.cancel(job["id"])
    await moves.owner.execute("update schedules set next_at = $1 where id = $2", planned, schedule)
    assert await run(moves.processor) == "ordered"
    assert [row["id"] for row in await jobs_of(moves.owner, schedule)] == [job["id"]]


async def test_a_time_that_another_has_run_is_not_run_again(moves: Moves) -> None:
    schedule = await make(moves.owner)
    planned = (await look(moves.owner, schedule))["next_at"]
    await run(moves.processor)
    assert await moves.processor.fetchval(RUN, schedule, planned, uuid.uuid4(), LATER) is None
    assert len(await jobs_of(moves.owner, schedule)) == 1


async def test_skip_leaves_a_time_out_while_the_job_before_goes_on(moves: Moves) -> None:
    schedule = await make(moves.owner, overlap="skip")
    await run(moves.processor)
    await again(moves.owner, schedule)
    assert await run(moves.processor) == "skipped"
    row = await look(moves.owner, schedule)
    assert (row["next_at"], row["last_outcome"]) == (LATER, "skipped")
    (job,) = await jobs_of(moves.owner, schedule)
    assert row["last_job_id"] == job["id"]
    assert (await moves.claim())["id"] == job["id"]
    await moves.finish(job["id"], 1)
    await again(moves.owner, schedule)
    assert await run(moves.processor) == "ordered"


async def test_queue_orders_the_job_when_the_one_before_has_ended(moves: Moves) -> None:
    schedule = await make(moves.owner, overlap="queue")
    await run(moves.processor)
    job = await moves.claim()
    await again(moves.owner, schedule)
    assert await run(moves.processor) == "waiting"
    assert (await look(moves.owner, schedule))["waiting_since"] is not None
    assert await run(moves.processor) is None  # it does not keep others from being looked at
    await moves.finish(job["id"], 1)
    assert await run(moves.processor) == "ordered"
    assert (await look(moves.owner, schedule))["waiting_since"] is None
    assert [row["state"] for row in await jobs_of(moves.owner, schedule)] == ["succeeded", "queued"]


async def test_cancel_stops_the_job_before_and_orders_the_new_one_after_it(moves: Moves) -> None:
    schedule = await make(moves.owner, overlap="cancel")
    await run(moves.processor)
    job = await moves.claim()
    await again(moves.owner, schedule)
    assert await run(moves.processor) == "waiting"
    assert (await moves.look(job["id"]))["cancel_requested_at"] is not None
    assert await run(moves.processor) is None
    await moves.fail(job["id"], 1)
    assert await run(moves.processor) == "ordered"
    assert [row["state"] for row in await jobs_of(moves.owner, schedule)] == ["cancelled", "queued"]


async def test_waiting_for_a_job_is_not_being_missed(moves: Moves) -> None:
    schedule = await make(moves.owner, overlap="queue", missed="skip")
    await run(moves.processor)
    job = await moves.claim()
    await again(moves.owner, schedule)
    assert await run(moves.processor) == "waiting"
    await moves.owner.execute(
        "update schedules set next_at = next_at - interval '1 hour' where id = $1", schedule
    )
    await moves.finish(job["id"], 1)
    assert await run(moves.processor) == "ordered"


@pytest.mark.parametrize(
    ("missed", "late", "outcome"),
    [("once", 7200, "ordered"), ("skip", 7200, "missed"), ("skip", 50, "ordered")],
)
async def test_a_time_at_which_nobody_was_there_is_made_up_for_or_not(
    moves: Moves, missed: str, late: float, outcome: str
) -> None:
    schedule = await make(moves.owner, missed=missed, late=late)
    assert await run(moves.processor) == outcome
    assert await run(moves.processor) is None
    assert len(await jobs_of(moves.owner, schedule)) == (outcome == "ordered")
    row = await look(moves.owner, schedule)
    assert (row["next_at"], row["last_outcome"]) == (LATER, outcome)


@asynccontextmanager
async def a_cloud(moves: Moves) -> AsyncIterator[UUID]:
    yield await moves.owner.fetchval(
        "insert into clouds (workspace_id, name) values ($1, 'c') returning id", DEFAULT_WORKSPACE
    )


async def test_a_schedule_goes_with_its_cloud(moves: Moves) -> None:
    async with a_cloud(moves) as cloud:
        schedule = await make(moves.owner, cloud=cloud)
        assert await moves.gateway.fetchval("select delete_cloud($1, $2)", DEFAULT_WORKSPACE, cloud)
        assert await look(moves.owner, schedule) is None


async def test_a_cloud_that_is_being_deleted_is_not_held_up(
    moves: Moves, schedulers: list[Any]
) -> None:
    """Deleting locks the cloud first, ordering the schedule first: the scheduler is who gives way."""
    async with a_cloud(moves) as cloud:
        await make(moves.owner, cloud=cloud)
        scheduler = schedulers[0]
        async with moves.gateway.transaction():
            await moves.gateway.execute("select enter_workspace($1)", DEFAULT_WORKSPACE)
            await moves.gateway.execute("select 1 from clouds where id = $1 for update", cloud)
            running = asyncio.create_task(run(scheduler))
            await asyncio.sleep(0.1)
            await moves.gateway.execute("select delete_cloud($1, $2)", DEFAULT_WORKSPACE, cloud)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await running
        assert await run(scheduler) is None


async def test_a_schedule_that_cannot_order_its_job_is_paused_and_says_why(moves: Moves) -> None:
    schedule = await make(moves.owner)
    planned = (await look(moves.owner, schedule))["next_at"]
    refuse = STATEMENTS["refuse_schedule"]
    error = json.dumps({"code": "x"})
    await moves.processor.execute(refuse, schedule, planned + timedelta(seconds=1), error)
    assert (await look(moves.owner, schedule))["paused_at"] is None
    await moves.processor.execute(refuse, schedule, planned, error)
    row = await look(moves.owner, schedule)
    assert (row["last_outcome"], row["next_at"]) == ("refused", None)
    assert row["paused_at"] is not None
    assert await run(moves.processor) is None
