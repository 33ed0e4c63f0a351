"""Whose job is next: priority inside a workspace, weights and caps between them."""

import asyncio
import uuid
from collections import Counter
from typing import Any

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import KINDS, Moves


async def test_priority_orders_the_jobs_of_one_workspace(moves: Moves) -> None:
    low, high = await moves.order(priority=-5), await moves.order(priority=5)
    assert [(await moves.claim())["id"] for _ in range(2)] == [high, low]


async def test_priority_does_not_count_between_workspaces(moves: Moves) -> None:
    """Ten thousand urgent jobs of one workspace do not delay the single job of another."""
    for _ in range(20):
        await moves.order(priority=100)
    other = await moves.workspace("other")
    job = await moves.order(other, priority=-100)
    await moves.claim()
    assert (await moves.claim())["id"] == job


async def test_a_workspace_gets_slots_by_its_weight(moves: Moves) -> None:
    heavy = await moves.workspace("heavy", weight=3)
    for _ in range(12):
        await moves.order()
        await moves.order(heavy)
    running = Counter([(await moves.claim())["workspace_id"] for _ in range(8)])
    assert running == {heavy: 6, DEFAULT_WORKSPACE: 2}


async def test_a_cap_holds_however_many_claim_at_once(moves: Moves, database: Database) -> None:
    capped = await moves.workspace("capped", max_running=2)
    for _ in range(10):
        await moves.order(capped)

    async def ask() -> Any:
        async with database.connected("processor") as connection:
            return await connection.fetchval(
                "select id from claim_job('i', $1, 15, $2)", KINDS, uuid.uuid4()
            )

    claimed = await asyncio.gather(*(ask() for _ in range(10)))
    assert sum(job is not None for job in claimed) == 2


async def test_a_paused_kind_is_not_claimed_and_blocks_nobody(moves: Moves) -> None:
    await moves.owner.execute(
        "insert into kinds (kind, title, description, params_schema, result_schema, pool, needs_source, attempts, "
        "backoff_seconds, run_seconds, start_seconds, version, paused_at) "
        "values ('demo.sleep', 't', 'd', '{}', '{}', 'default', false, 3, 1, 10, 10, 1, now())"
    )
    await moves.order(kind="demo.sleep", priority=10)
    job = await moves.order()
    assert (await moves.claim())["id"] == job
    assert await moves.claim() is None
