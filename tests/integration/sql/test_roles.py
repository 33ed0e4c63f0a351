"""The services' roles get passwords that they can log in with and that no server ever sees."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from deploy.local import postgres
from sql.roles import ROLES, read_passwords, verifier
from tests.fixtures.database import Database
from tests.fixtures.servers import Servers


@pytest.fixture
async def roles_kept(postgres_server: Servers) -> AsyncIterator[None]:
    """Roles belong to the whole server: the other tests find their passwords as they were."""
    yield
    folder = postgres_server.folder
    await postgres.create_roles(folder, postgres.url(folder, "postgres", "postgres"))


def run_migrate(database: Database, passwords: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "MIGRATE_DATABASE_URL": database.owner_url,
        "MIGRATE_ROLE_PASSWORDS": passwords,
    }
    command = [sys.executable, "-m", "sql.migrate"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def log_in(database: Database, role: str, password: str) -> None:
    port = database.servers.folder.notes.ports[postgres.PART]
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=port,
        user=role,
        password=password,
        database=database.name,
        timeout=10,
    )
    await connection.close()


@contextmanager
def every_statement_logged(database: Database) -> Iterator[list[str]]:
    """What the server wrote into its log meanwhile."""
    log = database.servers.folder.log(postgres.PART)
    before = log.stat().st_size
    written: list[str] = []
    yield written
    written.append(log.read_bytes()[before:].decode(errors="replace"))


async def test_a_migrated_role_logs_in_with_its_password_and_no_other(
    database: Database, roles_kept: None
) -> None:
    passwords = {role: f"open {role} 'sesame' \\ $1" for role in ROLES}
    done = run_migrate(database, json.dumps(passwords))
    assert (done.returncode, done.stderr) == (0, "")
    for role, password in passwords.items():
        await log_in(database, role, password)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await log_in(database, "gateway", passwords["processor"])


async def test_the_server_never_sees_a_password(database: Database, roles_kept: None) -> None:
    async with database.connected() as connection:
        await connection.execute(f"alter role {postgres.OWNER} set log_statement = 'all'")
    try:
        with every_statement_logged(database) as written:
            assert run_migrate(database, '{"gateway": "open-sesame"}').returncode == 0
    finally:
        async with database.connected() as connection:
            await connection.execute(f"alter role {postgres.OWNER} reset log_statement")
    assert "alter role gateway login password 'SCRAM-SHA-256$" in written[0]
    assert "open-sesame" not in written[0]


async def test_roles_that_are_not_named_keep_their_passwords(
    database: Database, roles_kept: None
) -> None:
    assert run_migrate(database, '{"gateway": "new"}').returncode == 0
    async with database.connected("processor") as connection:
        assert await connection.fetchval("select current_user") == "processor"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("secret", "is not JSON"),
        ('["secret"]', "is not a JSON object"),
        ('{"postgres": "secret"}', "names 'postgres'"),
        ('{"gateway": ""}', "gives gateway a password that is empty"),
        ('{"gateway": "gehe\\u00efm"}', "not printable ASCII"),
        ('{"gateway": 7}', "gives gateway a password"),
    ],
)
async def test_wrong_passwords_are_refused_without_being_shown(
    database: Database, text: str, reason: str
) -> None:
    done = run_migrate(database, text)
    assert done.returncode == 2
    assert done.stderr.startswith("MIGRATE_ROLE_PASSWORDS ")
    assert reason in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_verifier_is_the_one_of_the_standard() -> None:
    # RFC 7677, section 3: the password "pencil"; the server's signature there proves this key.
    made = verifier("pencil", bytes.fromhex("5b6d99689d12358eec a04b141236fa81"))
    assert made.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert made.endswith(":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")


def test_two_verifiers_of_one_password_differ() -> None:
    assert verifier("same") != verifier("same")
    assert read_passwords('{"gateway": "same"}') == {"gateway": "same"}
