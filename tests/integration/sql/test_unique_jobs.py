"""Of the jobs with one unique key, a workspace has one that has not ended."""

import asyncio
import uuid
from typing import Any

import asyncpg
import pytest

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database
from tests.fixtures.moves import Moves

CREATE = (
    "select (job).id, made from create_unique_job($1, 'demo.print', '{}', null, 0::smallint, 'test', null, $2, $3,"
    " 'r', $4, $5)"
)


async def order(
    connection: Any,
    unique: str = "nightly",
    *,
    refuse: bool = False,
    key: str | None = None,
    body: bytes = b"body",
    workspace: uuid.UUID = DEFAULT_WORKSPACE,
) -> Any:
    return await connection.fetchrow(CREATE, workspace, unique, refuse, key, body)


async def test_an_order_gives_the_job_that_has_not_ended(moves: Moves) -> None:
    first = await order(moves.gateway)
    second = await order(moves.gateway)
    assert (first["made"], second["made"]) == (True, False)
    assert first["id"] == second["id"]
    job = await moves.claim()
    assert (await order(moves.gateway))["id"] == first["id"]
    await moves.finish(job["id"], 1)
    third = await order(moves.gateway)
    assert third["made"]
    assert third["id"] != first["id"]


async def test_another_key_or_workspace_is_another_job(moves: Moves) -> None:
    other = await moves.workspace("other")
    made = [
        await order(moves.gateway),
        await order(moves.gateway, "weekly"),
        await order(moves.gateway, workspace=other),
    ]
    assert len({row["id"] for row in made}) == 3
    assert all(row["made"] for row in made)


async def test_many_orders_at_once_make_one_job(moves: Moves, database: Database) -> None:
    async def ask() -> Any:
        async with database.connected("gateway") as connection:
            return await order(connection)

    rows = await asyncio.gather(*(ask() for _ in range(12)))
    assert len({row["id"] for row in rows}) == 1
    assert sum(row["made"] for row in rows) == 1
    events = await moves.owner.fetchval("select count(*) from job_events")
    assert events == 1  # what lost the race left nothing behind


async def test_the_schema_itself_takes_no_second_job_of_a_key(moves: Moves) -> None:
    await order(moves.gateway)
    job = await moves.order()
    with pytest.raises(asyncpg.UniqueViolationError):
        await moves.owner.execute("update jobs set unique_key = 'nightly' where id = $1", job)


async def test_an_idempotency_key_remembers_the_answer_past_the_end_of_the_job(
    moves: Moves,
) -> None:
    first = await order(moves.gateway, key="k")
    job = await moves.claim()
    await moves.finish(job["id"], 1)
    assert (await order(moves.gateway, key="k"))["id"] == first["id"]
    assert await order(moves.gateway, key="k", body=b"other") is None


async def test_an_order_that_was_refused_is_not_remembered(moves: Moves) -> None:
    first = await order(moves.gateway)
    assert not (await order(moves.gateway, refuse=True, key="k"))["made"]
    job = await moves.claim()
    await moves.finish(job["id"], 1)
    again = await order(moves.gateway, refuse=True, key="k")
    assert again["made"]
    assert again["id"] != first["id"]
