"""The test fixtures do what they promise: fresh, migrated, mapped, and each role kept in its place."""

import asyncpg
import pytest

from deploy.local import postgres, rabbitmq
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database


@pytest.mark.parametrize("role", postgres.SERVICE_ROLES)
async def test_each_service_reaches_a_migrated_database_under_its_own_role(
    database: Database, role: str
) -> None:
    async with database.connected(role) as connection:
        assert await connection.fetchval("select current_user") == role
        assert await connection.fetchval("select count(*) from schema_migrations") > 0


async def test_a_service_role_may_not_change_the_schema(database: Database) -> None:
    async with database.connected("gateway") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("create table mine (id int)")


@pytest.mark.parametrize("turn", [1, 2])
async def test_what_a_test_writes_is_not_there_in_the_next(database: Database, turn: int) -> None:
    async with database.connected() as connection:
        assert await connection.fetchval("select count(*) from projects") == 0
        await connection.execute(
            "insert into projects (workspace_id, name) select id, 'left behind' from workspaces"
        )


async def test_an_empty_database_holds_none_of_our_tables(empty_database: Database) -> None:
    async with empty_database.connected() as connection:
        assert await connection.fetchval("select to_regclass('jobs')") is None


async def test_a_fresh_vhost_has_every_queue_and_every_right(broker: Broker) -> None:
    queues = (await broker.api("GET", f"queues/{broker.path}")).json()
    assert {"processor.intake", "notifier.events"} <= {queue["name"] for queue in queues}
    rights = (await broker.api("GET", f"vhosts/{broker.path}/permissions")).json()
    assert set(rabbitmq.SERVICE_USERS) <= {right["user"] for right in rights}


async def test_there_is_no_guest(empty_broker: Broker) -> None:
    users = (await empty_broker.api("GET", "users")).json()
    assert "guest" not in {user["name"] for user in users}
