"""What the pool does when the server undoes a statement for another's sake."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.db import TRIES, Database
from shared.errors import DatabaseUnavailable
from tests.fixtures import database as fixture

SETUP = """
create table counted (id integer primary key, n integer not null default 0);
insert into counted values (1), (2);
create function count_both(p_first integer, p_second integer) returns void language plpgsql as $$
begin
    update counted set n = n + 1 where id = p_first;
    perform pg_sleep(0.2);
    update counted set n = n + 1 where id = p_second;
end
$$;
create sequence tries;
create function never() returns void language plpgsql as $$
begin
    perform nextval('tries');
    raise exception 'busy' using errcode = 'serialization_failure';
end
$$;
"""
STATEMENTS = {
    "count_both": "select count_both($1, $2)",
    "counts": "select n from counted order by id",
    "never": "select never()",
    "tries": "select last_value from tries",
}


@pytest.fixture
async def pool(database: fixture.Database) -> AsyncIterator[Database]:
    async with database.connected() as connection:
        await connection.execute(SETUP)
    async with asyncpg.create_pool(database.superuser_url, min_size=0, max_size=4) as pool:
        yield Database(pool, STATEMENTS)


async def test_of_two_statements_that_block_each_other_both_are_done_once(pool: Database) -> None:
    """PostgreSQL undoes one of them after a second; its second try finds the rows free."""
    await asyncio.gather(pool.value("count_both", 1, 2), pool.value("count_both", 2, 1))
    assert [row["n"] for row in await pool.rows("counts")] == [2, 2]


async def test_a_statement_that_is_undone_again_and_again_is_given_up(pool: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="busy"):
        await pool.value("never")
    assert await pool.value("tries") == TRIES
