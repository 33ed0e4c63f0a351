"""The pool of a service while the world changes under it."""

import pytest

from shared.db import open_database
from shared.errors import DatabaseUnavailable
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database


async def test_a_table_that_is_migrated_under_a_service_is_a_moments_absence(
    database: Database,
) -> None:
    """The plans of `select *` are out of date then: the caller tries again, as at any outage."""
    service = await open_database(database.url("gateway"), "gateway", size=1)
    try:

        async def listed() -> None:
            async with service.transaction(DEFAULT_WORKSPACE) as transaction:
                await transaction.rows("list_projects", None, None, 5)

        async def alone() -> None:
            await service.row("read_job", DEFAULT_WORKSPACE, DEFAULT_WORKSPACE)

        await listed()
        await alone()
        async with database.connected() as owner:
            await owner.execute("alter table projects add column more text")
            await owner.execute("alter table jobs add column more text")
        await alone()
        with pytest.raises(DatabaseUnavailable):
            await listed()
        await listed()
    finally:
        await service.close()
