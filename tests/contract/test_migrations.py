"""The schema as it stands equals all migrations, from any earlier version, however many run at once."""

import asyncio
from dataclasses import replace

import pytest

from sql.migrate import MigrationRefused, migrate, read_migrations
from sql.schema import SCHEMA, dump
from tests.fixtures.database import Database

VERSIONS = [migration.version for migration in read_migrations()]


async def test_the_schema_file_is_what_the_migrations_make(database: Database) -> None:
    assert SCHEMA.read_text() == await dump(database.superuser_url), (
        "run make contracts and review the difference"
    )


@pytest.mark.parametrize("start", VERSIONS)
async def test_the_schema_is_the_same_from_every_earlier_version(
    empty_database: Database, start: str
) -> None:
    await migrate(empty_database.owner_url, to=start)
    await migrate(empty_database.owner_url)
    assert await dump(empty_database.superuser_url) == SCHEMA.read_text()


async def test_many_runners_at_once_apply_each_migration_once(empty_database: Database) -> None:
    names = await asyncio.gather(*(migrate(empty_database.owner_url) for _ in range(6)))
    assert sorted(len(applied) for applied in names) == [0, 0, 0, 0, 0, len(VERSIONS)]


async def test_a_changed_old_file_is_noticed(database: Database) -> None:
    first, *rest = read_migrations()
    changed = [replace(first, text=first.text + "-- edited"), *rest]
    with pytest.raises(MigrationRefused, match="was changed after it was applied"):
        await migrate(database.owner_url, migrations=changed)


async def test_a_failing_migration_leaves_nothing_of_itself(database: Database) -> None:
    bad = replace(
        read_migrations()[0],
        version="9999",
        name="bad",
        text="create table half (id int); select 1/0;",
    )
    with pytest.raises(Exception, match="division by zero"):
        await migrate(database.owner_url, migrations=[*read_migrations(), bad])
    async with database.connected() as connection:
        assert await connection.fetchval("select to_regclass('half')") is None


async def test_the_pre_phase_stops_before_the_first_post(database: Database) -> None:
    first = read_migrations()[0]
    later = [
        replace(first, version="9001", phase="pre", name="a", text="select 1"),
        replace(first, version="9002", phase="post", name="b", text="select 1"),
        replace(first, version="9003", phase="pre", name="c", text="select 1"),
    ]
    names = await migrate(
        database.owner_url, migrations=[*read_migrations(), *later], phase="pre", plan=True
    )
    assert names == ["9001_pre_a"]
