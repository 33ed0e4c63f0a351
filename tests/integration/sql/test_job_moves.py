"""The moves of a job in PostgreSQL: fences, races, budgets."""

import asyncio
import json
import uuid
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from shared.jobs import JobState, may_move
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import KINDS, Moves


async def test_a_job_runs_once_however_many_ask_for_it(moves: Moves, database: Database) -> None:
    jobs = {await moves.order() for _ in range(5)}

    async def ask() -> UUID | None:
        async with database.connected("processor") as connection:
            return await connection.fetchval(
                "select id from claim_job('i', $1, 15, $2)", KINDS, uuid.uuid4()
            )

    claimed = [job for job in await asyncio.gather(*(ask() for _ in range(16))) if job]
    assert sorted(claimed) == sorted(jobs)


async def test_a_claim_asked_again_with_its_token_is_the_same_claim(moves: Moves) -> None:
    """The answer to a COMMIT can be lost: the second question must not claim a second job."""
    await moves.order()
    await moves.order()
    token = uuid.uuid4()
    first, second = await moves.claim(token=token), await moves.claim(token=token)
    assert first["id"] == second["id"]
    assert second["attempt"] == 1


async def test_an_old_attempt_can_no_longer_end_the_job(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim(lease=-1)
    assert await moves.processor.fetchval("select reap_lost_jobs(10)") == 1
    await moves.due(job)
    assert (await moves.claim())["attempt"] == 2
    assert not await moves.finish(job, 1)
    assert await moves.fail(job, 1) is None
    assert not await moves.processor.fetchval("select release_job($1, 1)", job)
    assert await moves.finish(job, 2)
    assert (await moves.look(job))["state"] == "succeeded"


async def test_a_lease_that_runs_is_not_reaped(moves: Moves) -> None:
    await moves.order()
    await moves.claim(lease=15)
    assert await moves.processor.fetchval("select reap_lost_jobs(10)") == 0


async def test_a_lost_job_is_tried_as_often_as_its_kind_allows_and_then_fails(moves: Moves) -> None:
    job = await moves.order()
    states = []
    for _ in range(3):
        await moves.due(job)
        await moves.claim(lease=-1)
        await moves.processor.fetchval("select reap_lost_jobs(10)")
        states.append((await moves.look(job))["state"])
    assert states == ["queued", "queued", "failed"]
    assert json.loads((await moves.look(job))["error"])["code"] == "worker_lost"


async def test_a_released_job_has_lost_nothing_of_its_budget(moves: Moves) -> None:
    job = await moves.order()
    for attempt in range(1, 6):
        await moves.claim()
        assert await moves.processor.fetchval("select release_job($1, $2)", job, attempt)
    row = await moves.look(job)
    assert (row["state"], row["failures"], row["attempt"]) == ("queued", 0, 5)


async def test_a_retry_waits_longer_each_time_and_never_in_step(moves: Moves) -> None:
    pauses: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(8):
        job = await moves.order()
        for failures in (1, 2):
            await moves.due(job)
            claimed = await moves.claim()
            await moves.fail(job, claimed["attempt"])
            pause = await moves.owner.fetchval(
                "select extract(epoch from available_at - now())::float from jobs where id = $1",
                job,
            )
            pauses[failures].append(pause)
        await moves.cancel(job)
    assert all(0.9 < pause <= 2 for pause in pauses[1])
    assert all(1.9 < pause <= 4 for pause in pauses[2])
    assert len({round(pause, 2) for pause in pauses[1]}) > 3


async def test_a_failure_that_is_no_ones_luck_is_final_at_once(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim()
    assert await moves.fail(job, 1, retryable=False) == "failed"


async def test_a_job_that_is_tried_again_asks_nobody_to_do_it(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim()
    await moves.fail(job, 1)
    told = json.loads((await moves.look(job))["error"])
    assert (told["code"], told["remedy"]) == (
        "x",
        "Nothing needs to be done: it is tried again by itself.",
    )
    kept = await moves.owner.fetchval("select error from attempts where job_id = $1", job)
    assert json.loads(kept)["remedy"] == "r"
    for attempt in (2, 3):
        await moves.due(job)
        await moves.claim()
        await moves.fail(job, attempt)
    assert json.loads((await moves.look(job))["error"])["remedy"] == "r"


async def test_a_queued_job_is_cancelled_at_once(moves: Moves) -> None:
    job = await moves.order()
    assert (await moves.cancel(job))["state"] == "cancelled"
    assert await moves.claim() is None


async def test_a_cancel_beats_a_success_that_comes_later(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim()
    assert (await moves.cancel(job))["state"] == "running"
    assert not await moves.finish(job, 1)
    assert await moves.fail(job, 1) == "cancelled"


async def test_a_success_beats_a_cancel_that_comes_later(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim()
    assert await moves.finish(job, 1)
    assert (await moves.cancel(job))["state"] == "succeeded"


async def test_a_cancelled_job_of_a_dead_worker_is_cancelled_by_the_reaper(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim(lease=-1)
    await moves.cancel(job)
    await moves.processor.fetchval("select reap_lost_jobs(10)")
    assert (await moves.look(job))["state"] == "cancelled"


async def test_a_cancel_asked_twice_is_told_once(moves: Moves) -> None:
    job = await moves.order()
    await moves.claim()
    await moves.cancel(job)
    await moves.cancel(job)
    told = await moves.owner.fetchval(
        "select count(*) from job_events where type = 'cancel_requested'"
    )
    assert told == 1


async def test_a_kind_nobody_knows_is_left_alone_and_said_so_when_it_is_overdue(
    moves: Moves,
) -> None:
    job = await moves.order(kind="other.kind")
    assert await moves.claim() is None
    await moves.owner.execute(
        "update jobs set start_by = now() - interval '1 second' where id = $1", job
    )
    assert await moves.processor.fetchval("select fail_overdue_jobs(10)") == 1
    assert json.loads((await moves.look(job))["error"])["code"] == "no_worker"


async def test_an_overdue_job_with_a_living_worker_was_not_started_in_time(moves: Moves) -> None:
    job = await moves.order()
    await moves.owner.execute(
        "insert into service_instances (instance, service, version, accepts, kinds) "
        "values ('i', 'processor', '1', '{}', array['demo.print'])"
    )
    await moves.owner.execute(
        "update jobs set start_by = now() - interval '1 second' where id = $1", job
    )
    await moves.processor.fetchval("select fail_overdue_jobs(10)")
    assert json.loads((await moves.look(job))["error"])["code"] == "not_started"


async def test_a_job_that_fits_no_running_processor_says_so_when_it_is_overdue(
    moves: Moves,
) -> None:
    await moves.register("demo.print", cores=8)
    job = await moves.order()
    await moves.owner.execute(
        "insert into service_instances (instance, service, version, accepts, kinds, cores, memory_bytes)"
        " values ('i', 'processor', '1', '{}', array['demo.print'], 4, 1)"
    )
    await moves.owner.execute("update jobs set start_by = now() - interval '1 second'")
    await moves.processor.fetchval("select fail_overdue_jobs(10)")
    error = json.loads((await moves.look(job))["error"])
    assert error["code"] == "no_worker"
    assert "8 cores" in error["detail"]


@pytest.mark.parametrize("old", list(JobState))
async def test_the_schema_allows_exactly_the_moves_of_the_code(moves: Moves, old: JobState) -> None:
    shape = {
        "running": "lease_owner = 'i', lease_until = now(), claim_token = uuid7(), ended_at = null, result = null",
        "succeeded": "lease_owner = null, lease_until = null, claim_token = null, ended_at = now(), result = '{}'",
    }
    ended = "lease_owner = null, lease_until = null, claim_token = null, result = null, error = '{}', ended_at = now()"
    waits = (
        "lease_owner = null, lease_until = null, claim_token = null, result = null, ended_at = null"
    )

    async def become(job: UUID, state: JobState) -> None:
        rest = shape.get(state, ended if state in ("failed", "cancelled") else waits)
        await moves.owner.execute(f"update jobs set state = '{state}', {rest} where id = $1", job)  # noqa: S608

    for new in JobState:
        if new is old:
            continue
        job = await moves.order()
        await moves.owner.execute("alter table jobs disable trigger jobs_move_legally")
        await become(job, old)
        await moves.owner.execute("alter table jobs enable trigger jobs_move_legally")
        if may_move(old, new):
            await become(job, new)
        else:
            with pytest.raises(asyncpg.CheckViolationError):
                await become(job, new)


async def test_the_same_key_and_order_give_one_job_even_at_once(
    moves: Moves, database: Database
) -> None:
    async def ask(fingerprint: bytes) -> Any:
        async with database.connected("gateway") as connection:
            return await connection.fetchval(
                "select (create_job_once($1, 'demo.print', '{}', null, 0::smallint, 'key:a', null, 'r', 'k', $2)).id",
                DEFAULT_WORKSPACE,
                fingerprint,
            )

    jobs = await asyncio.gather(*(ask(b"same") for _ in range(10)))
    assert len(set(jobs)) == 1
    assert await ask(b"other") is None
    assert await moves.owner.fetchval("select count(*) from jobs") == 1


async def test_a_second_upload_of_a_cloud_changes_nothing(moves: Moves) -> None:
    async with moves.gateway.transaction():
        await moves.gateway.execute("select enter_workspace($1)", DEFAULT_WORKSPACE)
        cloud = await moves.gateway.fetchval(
            "insert into clouds (workspace_id, name) values ($1, 'c') returning id",
            DEFAULT_WORKSPACE,
        )
    upload = "select id from finish_upload($1, $2, 'a.laz', $3, 1, '00000000', '{}', 'x', null)"
    assert await moves.gateway.fetchval(upload, DEFAULT_WORKSPACE, cloud, "first")
    assert await moves.gateway.fetchval(upload, DEFAULT_WORKSPACE, cloud, "second") is None
    assert await moves.owner.fetchval("select source_object from clouds") == "first"


async def test_another_workspaces_job_can_be_neither_cancelled_nor_retried(moves: Moves) -> None:
    other = await moves.workspace("other")
    job = await moves.order(other)
    assert await moves.cancel(job) is None
    await moves.gateway.fetch("select cancel_job($1, $2)", other, job)
    assert (
        await moves.gateway.fetchrow(
            "select * from retry_job($1, $2, 'x', null)", DEFAULT_WORKSPACE, job
        )
        is None
    )
    assert await moves.gateway.fetchrow("select * from retry_job($1, $2, 'x', null)", other, job)


async def test_a_job_that_has_not_ended_in_time_fails_wherever_it_is(moves: Moves) -> None:
    await moves.register("demo.print", total_seconds=100)
    queued, running = await moves.order(priority=-1), await moves.order()
    assert (await moves.claim())["id"] == running
    later = "update jobs set end_by = end_by - interval '101 seconds'"
    await moves.owner.execute(later)
    assert await moves.processor.fetchval("select fail_overdue_jobs(10)") == 1
    assert (await moves.look(running))["state"] == "running"  # its worker has half a minute
    await moves.owner.execute("update jobs set end_by = end_by - interval '31 seconds'")
    assert await moves.processor.fetchval("select fail_overdue_jobs(10)") == 1
    assert not await moves.finish(running, 1)
    for job in (queued, running):
        row = await moves.look(job)
        assert (row["state"], json.loads(row["error"])["code"]) == ("failed", "total_time_limit")


async def test_the_last_failure_of_a_job_out_of_time_is_told_with_it(moves: Moves) -> None:
    await moves.register("demo.print", total_seconds=100)
    job = await moves.order()
    await moves.claim()
    await moves.owner.execute("update jobs set end_by = now() - interval '1 second'")
    assert await moves.fail(job, 1, code="disk_full") == "failed"
    error = json.loads((await moves.look(job))["error"])
    assert error["code"] == "total_time_limit"
    assert "disk_full" in error["detail"]


async def test_a_kind_says_which_lost_workers_are_worth_another_attempt(moves: Moves) -> None:
    """Its effects outside may not come twice: the reaper must not start it again."""
    await moves.register("demo.print", no_retry_codes=["worker_lost"], retry_codes=["stubborn"])
    lost, stubborn = await moves.order(), await moves.order()
    await moves.claim(lease=-1)
    await moves.processor.fetchval("select reap_lost_jobs(10)")
    assert (await moves.look(lost))["state"] == "failed"
    await moves.claim()
    assert await moves.fail(stubborn, 1, retryable=False, code="stubborn") == "queued"
