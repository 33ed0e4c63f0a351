"""A claim is quick however many jobs wait, and claims never wait for each other in a ring."""

import asyncio
import json
import random
import statistics
import time
import uuid
from typing import Any

import pytest

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import KINDS, Moves
from tests.integration.sql.test_fair_claims import MANY, queue_many

# A claim among a handful of jobs looks at about 200 pages of 8 kB.
PAGES = 500
# What is for later stands in the same index: an entry is passed over without a look at its job.
PAGES_FOR_LATER = 1000


async def pages(moves: Moves) -> int:
    """How many pages a claim looks at: the same on any machine, however busy."""
    explain = "explain (analyze, buffers, format json) select * from claim_job('i', $1, 15, $2)"
    async with moves.owner.transaction():  # the first look of a connection reads the catalogue too
        await moves.owner.fetchval(explain, KINDS, uuid.uuid4())
        plan = await moves.owner.fetchval(explain, KINDS, uuid.uuid4())
    node = json.loads(plan)[0]["Plan"]
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


async def seconds(moves: Moves, claims: int) -> float:
    """The median time of a claim, its round trip included."""
    taken = []
    for _ in range(claims):
        start = time.perf_counter()
        assert await moves.claim() is not None
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def test_ten_thousand_queued_jobs_make_a_claim_no_slower(moves: Moves) -> None:
    await queue_many(moves)
    other = await moves.workspace("other")
    for _ in range(50):
        await moves.order(other)
    print(f"median claim among {MANY} queued: {await seconds(moves, 50) * 1000:.1f} ms")  # noqa: T201 - measured
    assert await pages(moves) < PAGES


@pytest.mark.parametrize(
    "jobs",
    [
        {"hours": 1, "priority": 50},
        {"kind": "demo.sleep", "priority": 50},
    ],
    ids=["for later", "of a paused kind"],
)
async def test_ten_thousand_jobs_that_may_not_start_are_passed_over(
    moves: Moves, jobs: dict[str, Any]
) -> None:
    await moves.register("demo.sleep")
    await moves.owner.execute("update kinds set paused_at = now()")
    await queue_many(moves, **jobs)
    for _ in range(2):
        await moves.order()
    assert await pages(moves) < PAGES_FOR_LATER
    assert await moves.owner.fetchval("select count(*) from jobs where state = 'running'") == 2


async def test_a_thousand_workspaces_in_line_are_looked_through_in_a_moment(moves: Moves) -> None:
    await moves.owner.execute(
        "insert into workspaces (name) select 'w' || n from generate_series(1, 1000) n"
    )
    await moves.owner.execute(
        "insert into jobs (workspace_id, kind, pool, start_by, max_failures, backoff_seconds, requested_by)"
        " select id, 'demo.print', 'default', now() + interval '1 day', 3, 2, 'test' from workspaces"
    )
    await moves.owner.execute("analyze jobs, workspaces")
    taken = await seconds(moves, 10)
    print(f"median claim among 1000 workspaces: {taken * 1000:.1f} ms")  # noqa: T201 - measured
    assert taken < 0.2


async def test_many_who_claim_at_once_never_wait_for_each_other_in_a_ring(
    moves: Moves, database: Database
) -> None:
    """Caps and limits of starts are checked under locks, of which a claim may hold several."""
    await moves.register("demo.sleep", starts_per_minute=40)
    chance = random.Random(1)  # noqa: S311 - a load, not a secret
    spaces = [await moves.workspace(f"w{n}", max_running=n or None) for n in range(4)]
    for _ in range(200):
        await moves.order(chance.choice([*spaces, DEFAULT_WORKSPACE]), kind=chance.choice(KINDS))

    async def work(seed: int) -> int:
        own, done = random.Random(seed), 0  # noqa: S311
        async with database.connected("processor") as connection:
            for _ in range(40):
                job = await connection.fetchrow(
                    "select * from claim_job('i', $1, 15, $2)", KINDS, uuid.uuid4()
                )
                if job is None:
                    await asyncio.sleep(own.random() / 100)
                    continue
                finish = "select finish_job($1, $2, '{}', '[]', null)"
                assert await connection.fetchval(finish, job["id"], job["attempt"])
                done += 1
        return done

    done = sum(await asyncio.gather(*(work(seed) for seed in range(8))))
    left = await moves.owner.fetch(
        "select kind from jobs where state = 'queued' and kind = 'demo.print'"
    )
    assert done + len(left) <= 200
    starts = await moves.owner.fetchval(
        "select count(*) from attempts join jobs on id = job_id where kind = 'demo.sleep'"
    )
    assert starts == 40
