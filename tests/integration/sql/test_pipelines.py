"""Jobs that wait for others, in PostgreSQL: released, failed, raced and swept."""

import asyncio
import json
import uuid
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import Moves

CHILD = (
    "select * from create_child_job($1, 'demo.print', '{}', null, 0::smallint, 'test', null,"
    " $2, $3, p_id => $4)"
)


async def wait_for(
    moves: Moves, *parents: UUID, inputs: str = "{}", identity: UUID | None = None
) -> Any:
    """A new job that waits for these."""
    return await moves.gateway.fetchrow(
        CHILD, DEFAULT_WORKSPACE, list(parents), inputs, identity or uuid.uuid4()
    )


async def succeed(moves: Moves, job: UUID) -> None:
    """Claim jobs until it is this one, and finish it."""
    await moves.owner.execute("update jobs set priority = 100 where id = $1", job)
    claimed = await moves.claim()
    assert claimed["id"] == job
    assert await moves.finish(job, claimed["attempt"])


async def refuse(moves: Moves, job: UUID) -> None:
    """Claim this job, and fail it for good."""
    await moves.owner.execute("update jobs set priority = 100 where id = $1", job)
    claimed = await moves.claim()
    assert claimed["id"] == job
    assert await moves.fail(job, claimed["attempt"], retryable=False) == "failed"


async def state(moves: Moves, job: UUID) -> str:
    return str((await moves.look(job))["state"])


async def error(moves: Moves, job: UUID) -> Any:
    return json.loads((await moves.look(job))["error"])


async def events(moves: Moves, job: UUID) -> list[tuple[int, str]]:
    rows = await moves.owner.fetch(
        "select sequence, type from job_events where job_id = $1 order by sequence", job
    )
    return [(row["sequence"], row["type"]) for row in rows]


async def doorbells(moves: Moves, job: UUID) -> list[str]:
    rows = await moves.owner.fetch(
        "select service from outbox where rings is not null and message ->> 'subject' = $1",
        str(job),
    )
    return [row["service"] for row in rows]


async def test_a_child_is_queued_and_told_when_the_last_parent_has_succeeded(moves: Moves) -> None:
    first, second = await moves.order(), await moves.order()
    child = (await wait_for(moves, first, second))["id"]
    assert (await state(moves, child), await events(moves, child)) == ("waiting", [])
    await succeed(moves, first)
    assert (await state(moves, child), await doorbells(moves, child)) == ("waiting", [])
    await succeed(moves, second)
    assert (await state(moves, child), await events(moves, child)) == ("queued", [(1, "queued")])
    assert await doorbells(moves, child) == ["processor"]
    await succeed(moves, child)
    assert await events(moves, child) == [(1, "queued"), (2, "started"), (3, "succeeded")]


async def test_a_waiting_job_is_not_claimed_and_not_overdue(moves: Moves) -> None:
    parent = await moves.order()
    child = (await wait_for(moves, parent))["id"]
    await moves.owner.execute("update jobs set priority = 100 where id = $1", child)
    assert (await moves.claim())["id"] == parent
    assert await moves.claim() is None
    await moves.owner.execute(
        "update jobs set start_by = now() - interval '1 s' where id = $1", child
    )
    assert await moves.processor.fetchval("select fail_overdue_jobs(10)") == 0


async def test_the_limits_of_time_count_from_the_release(moves: Moves) -> None:
    await moves.owner.execute(
        "insert into kinds (kind, title, description, params_schema, result_schema, pool, needs_source, attempts,"
        " backoff_seconds, run_seconds, start_seconds, total_seconds, version)"
        " values ('demo.print', '', '', '{}', '{}', 'default', false, 3, 2, 60, 100, 300, 1)"
    )
    parent = await moves.order()
    child = (await wait_for(moves, parent))["id"]
    await moves.owner.execute(
        "update jobs set created_at = created_at - interval '2 days', start_by = start_by - interval '2 days'"
        " where id = $1",
        child,
    )
    assert await moves.processor.fetchval("select fail_overdue_jobs(10)") == 0
    await succeed(moves, parent)
    row = await moves.owner.fetchrow(
        "select extract(epoch from start_by - now())::float as start,"
        " extract(epoch from end_by - now())::float as total from jobs where id = $1",
        child,
    )
    assert 90 < row["start"] <= 100
    assert 290 < row["total"] <= 300


async def test_a_failed_parent_fails_its_children_all_the_way_down(moves: Moves) -> None:
    parent, sound = await moves.order(), await moves.order()
    child = (await wait_for(moves, parent, sound))["id"]
    grandchild = (await wait_for(moves, child, sound))["id"]
    apart = (await wait_for(moves, sound))["id"]
    await refuse(moves, parent)
    for job, culprit, code in ((child, parent, "x"), (grandchild, child, "parent_failed")):
        assert await state(moves, job) == "failed"
        assert await events(moves, job) == [(1, "failed")]
        told = await error(moves, job)
        assert told["code"] == "parent_failed"
        assert f"{culprit} (demo.print) failed with {code}" in told["detail"]
        assert await doorbells(moves, job) == []
    assert await state(moves, apart) == "waiting"


async def test_a_cancelled_parent_fails_its_children_and_the_gateway_tells_it(moves: Moves) -> None:
    """The gateway ends the parent, so it is the gateway's relay that has to tell of the children."""
    parent = await moves.order()
    child = (await wait_for(moves, parent))["id"]
    assert (await moves.cancel(parent))["state"] == "cancelled"
    assert await state(moves, child) == "failed"
    assert f"{parent} (demo.print) was cancelled" in (await error(moves, child))["detail"]
    told = await moves.owner.fetch(
        "select service from outbox where message ->> 'type' = 'pointmill.job.failed.v1'"
    )
    assert [row["service"] for row in told] == ["gateway"]


async def test_a_retry_of_the_parent_is_no_end(moves: Moves) -> None:
    parent = await moves.order()
    child = (await wait_for(moves, parent))["id"]
    await moves.claim()
    assert await moves.fail(parent, 1) == "queued"
    assert await state(moves, child) == "waiting"


async def test_a_waiting_job_can_be_cancelled(moves: Moves) -> None:
    parent = await moves.order()
    child = (await wait_for(moves, parent))["id"]
    grandchild = (await wait_for(moves, child))["id"]
    assert (await moves.cancel(child))["state"] == "cancelled"
    assert await state(moves, grandchild) == "failed"
    await succeed(moves, parent)
    assert await state(moves, child) == "cancelled"


async def test_a_parent_that_has_ended_already_counts_at_once(moves: Moves) -> None:
    good, bad = await moves.order(), await moves.order()
    await succeed(moves, good)
    await refuse(moves, bad)
    assert (await wait_for(moves, good))["state"] == "queued"
    assert (await wait_for(moves, good, bad))["state"] == "failed"


async def test_the_same_id_again_is_the_same_job(moves: Moves) -> None:
    parent, identity = await moves.order(), uuid.uuid4()
    first = await wait_for(moves, parent, identity=identity)
    await succeed(moves, parent)
    again = await wait_for(moves, parent, identity=identity)
    assert (again["id"], again["created_at"]) == (first["id"], first["created_at"])
    assert await events(moves, identity) == [(1, "queued")]


async def test_a_job_of_another_workspace_is_no_parent(moves: Moves) -> None:
    stranger = await moves.order(await moves.workspace("stranger"))
    for unknown in (stranger, uuid.uuid4()):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await wait_for(moves, unknown)


async def test_a_job_named_only_by_an_input_is_a_parent_too(moves: Moves) -> None:
    parent = await moves.order()
    inputs = json.dumps({"left": {"job": str(parent), "product": "copc"}})
    child = await wait_for(moves, inputs=inputs)
    assert (child["state"], child["depth"]) == ("waiting", 1)
    await succeed(moves, parent)
    assert await state(moves, child["id"]) == "queued"


async def test_the_number_of_parents_and_the_length_of_a_chain_have_limits(moves: Moves) -> None:
    parents = [await moves.order() for _ in range(101)]
    with pytest.raises(asyncpg.CheckViolationError):
        await wait_for(moves, *parents)
    with pytest.raises(asyncpg.CheckViolationError):
        await wait_for(moves)
    assert (await wait_for(moves, *parents[:100]))["state"] == "waiting"
    last = parents[0]
    for _ in range(100):
        last = (await wait_for(moves, last))["id"]
    with pytest.raises(asyncpg.CheckViolationError):
        await wait_for(moves, last)
    await moves.cancel(parents[0])
    assert await state(moves, last) == "failed"


async def test_a_thousand_descendants_are_settled_with_the_end_and_the_sweep_does_the_rest(
    moves: Moves,
) -> None:
    root = await moves.order()
    await moves.gateway.fetch(
        "select (create_child_job($1, 'demo.print', '{}', null, 0::smallint, 'test', null, array[$2::uuid])).id"
        " from generate_series(1, 1200)",
        DEFAULT_WORKSPACE,
        root,
    )
    await succeed(moves, root)

    async def waiting() -> int:
        return await moves.owner.fetchval("select count(*) from jobs where state = 'waiting'")

    assert await waiting() == 200
    assert await moves.processor.fetchval("select settle_waiting_jobs(150)") == 150
    assert await moves.processor.fetchval("select settle_waiting_jobs(150)") == 50
    assert await moves.processor.fetchval("select settle_waiting_jobs(150)") == 0
    assert await waiting() == 0


async def test_the_sweep_settles_what_a_change_by_hand_left(moves: Moves) -> None:
    good, bad, open_ = await moves.order(), await moves.order(), await moves.order()
    released, failed, waits = [(await wait_for(moves, one))["id"] for one in (good, bad, open_)]
    below = (await wait_for(moves, failed))["id"]
    await moves.owner.execute("alter table jobs disable trigger user")
    await moves.owner.execute(
        "update jobs set state = 'succeeded', result = '{}', ended_at = now() where id = $1", good
    )
    await moves.owner.execute(
        "update jobs set state = 'cancelled', ended_at = now() where id = $1", bad
    )
    await moves.owner.execute("alter table jobs enable trigger user")
    assert await moves.processor.fetchval("select settle_waiting_jobs(100)") == 2
    states = [await state(moves, job) for job in (released, failed, waits, below)]
    assert states == ["queued", "failed", "waiting", "failed"]
    assert await moves.processor.fetchval("select settle_waiting_jobs(100)") == 0


async def test_a_retried_child_waits_for_the_newest_retry_of_its_parent(moves: Moves) -> None:
    parent, sound = await moves.order(), await moves.order()
    await succeed(moves, sound)
    inputs = json.dumps({"left": {"job": str(parent), "product": "copc"}})
    child = (await wait_for(moves, parent, sound, inputs=inputs))["id"]
    await refuse(moves, parent)

    async def retry(job: UUID) -> Any:
        return await moves.gateway.fetchrow(
            "select * from retry_job($1, $2, 'test', null)", DEFAULT_WORKSPACE, job
        )

    hopeless = await retry(child)
    assert (hopeless["state"], hopeless["retry_of"]) == ("failed", child)
    first = (await retry(parent))["id"]
    await moves.cancel(first)
    second = (await retry(first))["id"]
    again = await retry(child)
    assert (again["state"], again["retry_of"]) == ("waiting", child)
    assert json.loads(again["inputs"]) == {"left": {"job": str(second), "product": "copc"}}
    family = await moves.gateway.fetchrow(
        "select * from read_families($1, $2)", DEFAULT_WORKSPACE, [again["id"]]
    )
    assert sorted(family["after"]) == sorted([second, sound])
    assert family["waiting_for"] == [second]
    await succeed(moves, second)
    assert await state(moves, again["id"]) == "queued"


class Crowd:
    """Several connections that act at the same moment."""

    def __init__(self, connections: list["asyncpg.Connection[Any]"]) -> None:
        self.connections = connections

    async def at_once(self, *statements: tuple[Any, ...]) -> list[Any]:
        return await asyncio.gather(
            *(
                connection.fetchrow(*statement)
                for connection, statement in zip(self.connections, statements, strict=True)
            )
        )


FINISH = "select finish_job($1, $2, '{}', '[]', null)"
FAIL = 'select fail_job($1, $2, \'{"code": "x"}\', false, null)'


async def claimed(moves: Moves, count: int) -> dict[UUID, int]:
    """So many running jobs, and the attempt of each."""
    jobs = [await moves.order() for _ in range(count)]
    found = [await moves.claim() for _ in jobs]
    return {row["id"]: row["attempt"] for row in found}


@pytest.mark.parametrize("last", [FINISH, FAIL], ids=["both succeed", "one fails"])
async def test_two_parents_that_end_at_once_settle_every_child_once_and_never_block_each_other(
    moves: Moves, database: Database, last: str
) -> None:
    """Each end locks all three children: in another order than the other's, they would deadlock."""
    async with (
        database.connected("processor") as one,
        database.connected("processor") as two,
    ):
        crowd = Crowd([one, two])
        for _ in range(100):
            (a, a_try), (b, b_try) = (await claimed(moves, 2)).items()
            children = [(await wait_for(moves, a, b))["id"] for _ in range(3)]
            below = (await wait_for(moves, *children))["id"]
            await crowd.at_once((FINISH, a, a_try), (last, b, b_try))
            kind = "queued" if last == FINISH else "failed"
            for child in children:
                assert await state(moves, child) == kind
                assert await events(moves, child) == [(1, kind)]
            assert await state(moves, below) == ("waiting" if last == FINISH else "failed")
            for job in (*children, below):
                await moves.cancel(job)


async def test_transactions_that_end_many_parents_in_opposite_orders_do_not_deadlock(
    moves: Moves, database: Database
) -> None:
    """The children are locked when the transaction ends, so the order of the parents does not matter."""

    async def end(connection: "asyncpg.Connection[Any]", jobs: list[tuple[UUID, int]]) -> None:
        async with connection.transaction():
            for job, attempt in jobs:
                await connection.fetchval(FINISH, job, attempt)
                await asyncio.sleep(0.005)

    async with (
        database.connected("processor") as one,
        database.connected("processor") as two,
    ):
        for _ in range(20):
            a, b, c, d = (await claimed(moves, 4)).items()
            left = (await wait_for(moves, a[0], d[0]))["id"]
            right = (await wait_for(moves, b[0], c[0]))["id"]
            await asyncio.gather(end(one, [a, b]), end(two, [c, d]))
            assert [await state(moves, job) for job in (left, right)] == ["queued", "queued"]
            for job in (left, right):
                await moves.cancel(job)


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first child", "a further child"])
async def test_a_parent_that_ends_while_its_child_is_made_is_never_missed(
    moves: Moves, database: Database, earlier: int
) -> None:
    async with (
        database.connected("processor") as worker,
        database.connected("gateway") as gateway,
    ):
        crowd = Crowd([worker, gateway])
        for _ in range(150):
            ((parent, attempt),) = (await claimed(moves, 1)).items()
            others = [(await wait_for(moves, parent))["id"] for _ in range(earlier)]
            child = uuid.uuid4()
            await crowd.at_once(
                (FINISH, parent, attempt), (CHILD, DEFAULT_WORKSPACE, [parent], "{}", child)
            )
            assert await state(moves, child) == "queued"
            assert await events(moves, child) == [(1, "queued")]
            for job in (*others, child):
                await moves.cancel(job)


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first child", "a further child"])
async def test_an_end_that_is_not_committed_keeps_the_maker_of_a_child_waiting_for_it(
    moves: Moves, database: Database, earlier: int
) -> None:
    """The race above, held still: the child is made between the parent's end and its commit."""
    ((parent, attempt),) = (await claimed(moves, 1)).items()
    for _ in range(earlier):
        await wait_for(moves, parent)
    child = uuid.uuid4()
    async with database.connected("gateway") as gateway:
        async with moves.processor.transaction():
            assert await moves.finish(parent, attempt)
            making = asyncio.create_task(
                gateway.fetchrow(CHILD, DEFAULT_WORKSPACE, [parent], "{}", child)
            )
            await asyncio.sleep(0.2)
            assert not making.done()
        async with asyncio.timeout(5):
            assert (await making)["state"] == "queued"


@pytest.mark.parametrize("earlier", [0, 1], ids=["the first child", "a further child"])
async def test_a_child_that_is_not_committed_keeps_its_parents_end_waiting_for_it(
    moves: Moves, earlier: int
) -> None:
    """And the other way round: the parent ends between the making of the child and its commit."""
    ((parent, attempt),) = (await claimed(moves, 1)).items()
    for _ in range(earlier):
        await wait_for(moves, parent)
    async with moves.gateway.transaction():
        child = (await wait_for(moves, parent))["id"]
        ending = asyncio.create_task(moves.finish(parent, attempt))
        await asyncio.sleep(0.2)
        assert not ending.done()
    async with asyncio.timeout(5):
        assert await ending
    assert await state(moves, child) == "queued"
