"""Every statement of every service is right under that service's own role, and no other way in exists."""

import itertools
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from shared.db import load_statements
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database

SERVICES = ("gateway", "processor", "notifier")
STATEMENTS = [(service, name) for service in SERVICES for name in load_statements(service)]
TENANT_TABLES = {
    "workspaces", "members", "api_keys", "projects", "clouds", "jobs", "attempts", "job_events", "products",
    "idempotency_keys", "job_parents", "webhooks", "deliveries", "schedules",
}  # fmt: skip


@pytest.mark.parametrize(
    ("service", "name"), STATEMENTS, ids=[f"{service}-{name}" for service, name in STATEMENTS]
)
async def test_a_statement_is_planned_under_its_services_role(
    module_database: Database, service: str, name: str
) -> None:
    async with module_database.connected(service) as connection:
        text = load_statements(service)[name]
        await connection.execute(f"prepare it as {text}")
        count = await connection.fetchval(
            "select cardinality(parameter_types) from pg_prepared_statements where name = 'it'"
        )
        nulls = f"({', '.join(['null'] * count)})" if count else ""
        # EXPLAIN checks syntax, schema and grants of the statement without running it.
        await connection.execute(f"explain execute it {nulls}")


@pytest.mark.parametrize(
    ("service", "name"), STATEMENTS, ids=[f"{service}-{name}" for service, name in STATEMENTS]
)
def test_a_statement_says_in_a_sentence_what_it_is_for(service: str, name: str) -> None:
    lines = load_statements(service)[name].splitlines()
    sentence = list(itertools.takewhile(lambda line: line.startswith("-- "), lines))
    assert sentence
    assert sentence[-1].endswith(".")


@pytest.mark.parametrize("service", SERVICES)
def test_every_statement_is_called_somewhere(service: str) -> None:
    root = Path(__file__).parents[2]
    code = "".join(
        path.read_text()
        for folder in (f"services/{service}", "shared")
        for path in (root / folder).rglob("*.py")
    )
    unused = [name for name in load_statements(service) if f'"{name}"' not in code]
    assert not unused


async def test_every_tenant_table_is_under_row_level_security(module_database: Database) -> None:
    async with module_database.connected() as connection:
        rows = await connection.fetch(
            "select c.relname, c.relrowsecurity, "
            "exists (select 1 from pg_attribute a where a.attrelid = c.oid and a.attname = 'workspace_id') as tenant "
            "from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"
        )
    with_workspace = {row["relname"] for row in rows if row["tenant"]} | {"workspaces"}
    assert (
        with_workspace - {"senders"} == TENANT_TABLES
    )  # senders: the processor's alone, looked up by user
    assert {row["relname"] for row in rows if row["relrowsecurity"]} >= TENANT_TABLES


async def test_the_gateway_sees_nothing_before_it_has_said_for_whom(
    module_database: Database,
) -> None:
    async with module_database.connected("gateway") as connection:
        await connection.fetch(
            "select create_job($1, 'demo.print', '{}', null, 0::smallint, 'x')", DEFAULT_WORKSPACE
        )
        counts = Counter()
        for table in TENANT_TABLES - {"api_keys", "webhooks"}:
            counts[table] = await connection.fetchval(f"select count(*) from {table}")  # noqa: S608
    assert sum(counts.values()) == 0, counts


@pytest.mark.parametrize("service", SERVICES)
async def test_no_service_reads_the_table_of_keys(module_database: Database, service: str) -> None:
    async with module_database.connected(service) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from api_keys")


async def test_the_gateway_never_reads_a_webhooks_secret(module_database: Database) -> None:
    async with module_database.connected("gateway") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select secret from webhooks")


async def test_the_notifier_does_not_touch_jobs(module_database: Database) -> None:
    async with module_database.connected("notifier") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from jobs")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_relays_only_its_own_messages(
    module_database: Database, service: str
) -> None:
    async with module_database.connected() as connection:
        for name in SERVICES:
            await connection.execute(
                "insert into outbox (service, exchange, routing_key, mandatory, message) values ($1, 'x', 'x', true, '{}')",
                name,
            )
    async with module_database.connected(service) as connection:
        rows = await connection.fetch("select distinct service from outbox")
        assert [row["service"] for row in rows] == [service]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "insert into outbox (service, exchange, routing_key, mandatory, message) "
                "values ('somebody', 'x', 'x', true, '{}')"
            )
