"""Apply the missing migrations, in order, once; then who may touch what.

    python -m sql.migrate [--plan] [--phase pre|post] [--to NNNN]

Files are `migrations/NNNN_{pre,post}_what.sql`: `pre` before the new code is deployed, `post` after
the old code is gone. Each runs in one transaction unless its first line is `-- no-transaction`.
Several runners may start at once: they poll a *try* lock, because one that waits inside
`pg_advisory_lock` would deadlock with a `create index concurrently` of the one that holds it.
Connect directly, not through a transaction-mode pooler: the lock belongs to a session.

MIGRATE_DATABASE_URL is the owner's; MIGRATE_ROLE_PASSWORDS (JSON: role to password, optional) lets
the services' roles log in. Roles that it does not name stay as they are.
"""

import argparse
import asyncio
import hashlib
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from sql.roles import ROLES, read_passwords, set_passwords

HERE = Path(__file__).parent
LOCK = 0x706F696E74  # "point"
LOCK_WAIT_SECONDS = 120.0
NAME = re.compile(r"(\d{4})_(pre|post)_([a-z0-9_]+)\.sql")

Connection: TypeAlias = "asyncpg.Connection[Any]"


class MigrationRefused(Exception):
    """The migrations cannot be applied as they are; the sentence says why."""


@dataclass(frozen=True)
class Migration:
    """One file of sql/migrations."""

    version: str
    phase: str
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, so that an old file that was edited later is noticed."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        """Whether the file runs in one transaction."""
        return not self.text.startswith("-- no-transaction")


def read_migrations(folder: Path = HERE / "migrations") -> list[Migration]:
    """All migrations in order.

    Raises:
        MigrationRefused: a file's name does not say its number and phase, or a number comes twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = NAME.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(
                f"{path.name} is not named NNNN_pre_what.sql or NNNN_post_what.sql."
            )
        found.append(Migration(match[1], match[2], match[3], path.read_text()))
    versions = [migration.version for migration in found]
    if len(set(versions)) != len(versions):
        raise MigrationRefused("Two migrations have the same number.")
    return found


async def migrate(  # noqa: PLR0913 - independent options, all by keyword
    url: str,
    *,
    plan: bool = False,
    phase: str | None = None,
    to: str | None = None,
    migrations: list[Migration] | None = None,
    passwords: Mapping[str, str] | None = None,
) -> list[str]:
    """Bring the database up to date and return the names of what was (or would be) applied.

    Args:
        url: of the owner's role, a direct connection.
        plan: only say what would be done.
        phase: `pre` stops before the first missing `post`; `post` or None applies everything.
        to: the last version to apply; None for all.
        migrations: the set to apply instead of the folder's.
        passwords: service role to the password it shall log in with.

    Raises:
        MigrationRefused: an applied file was changed, or the lock is held for too long.
    """
    wanted = read_migrations() if migrations is None else migrations
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        await _lock(connection)
        await _prepare(connection)
        missing = _missing(wanted, await _applied(connection), phase, to)
        if not plan:
            for migration in missing:
                await _apply(connection, migration)
            if to is None:
                await connection.execute((HERE / "access.sql").read_text())
            await set_passwords(connection, passwords or {})
        return [f"{m.version}_{m.phase}_{m.name}" for m in missing]
    finally:
        await connection.close()


async def _lock(connection: Connection) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK):
        if time.monotonic() > deadline:
            raise MigrationRefused(
                f"Another migration has held the lock for {LOCK_WAIT_SECONDS:.0f} s."
            )
        await asyncio.sleep(0.1)


async def _prepare(connection: Connection) -> None:
    """The roles that policies and grants name, and the table that remembers."""
    for role in ROLES:
        # Roles belong to the whole cluster: another database's migration may make it just now.
        await connection.execute(
            f"do $$ begin create role {role} nologin; "
            "exception when duplicate_object or unique_violation then null; end $$"
        )
    await connection.execute("set client_min_messages = warning")
    await connection.execute(
        "create table if not exists schema_migrations ("
        " version varchar primary key, name text not null, checksum text not null,"
        " applied_at timestamptz not null default now())"
    )


async def _applied(connection: Connection) -> dict[str, str]:
    rows = await connection.fetch("select version, checksum from schema_migrations")
    return {row["version"]: row["checksum"] for row in rows}


def _missing(
    wanted: list[Migration], applied: dict[str, str], phase: str | None, to: str | None
) -> list[Migration]:
    for migration in wanted:
        known = applied.get(migration.version)
        if known is not None and known != migration.checksum:
            raise MigrationRefused(
                f"{migration.version}_{migration.phase}_{migration.name} was changed after it was applied. "
                "Restore it and put the change into a new migration."
            )
    missing = [m for m in wanted if m.version not in applied and (to is None or m.version <= to)]
    if phase == "pre":
        posts = [index for index, migration in enumerate(missing) if migration.phase == "post"]
        missing = missing[: posts[0]] if posts else missing
    return missing


async def _apply(connection: Connection, migration: Migration) -> None:
    record = (
        "insert into schema_migrations (version, name, checksum) values ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )
    if not migration.transactional:
        await connection.execute(migration.text)
        await connection.execute(*record)
        return
    async with connection.transaction():
        # Wait for a busy table only so long that live traffic does not queue up behind us.
        await connection.execute("set local lock_timeout = '5s'")
        await connection.execute(migration.text)
        await connection.execute(*record)


def main() -> int:
    """The command line; exit status 0 when the database is up to date."""
    parser = argparse.ArgumentParser(
        prog="python -m sql.migrate", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--plan", action="store_true", help="only say what would be applied")
    parser.add_argument(
        "--phase", choices=("pre", "post"), help="pre: stop before the first post migration"
    )
    parser.add_argument("--to", metavar="NNNN", help="the last version to apply")
    options = parser.parse_args()
    url = os.environ.get("MIGRATE_DATABASE_URL")
    if not url:
        sys.stderr.write("Set MIGRATE_DATABASE_URL to the owner's direct connection.\n")
        return 2
    try:
        passwords = read_passwords(os.environ.get("MIGRATE_ROLE_PASSWORDS") or "{}")
    except ValueError as error:
        sys.stderr.write(f"MIGRATE_ROLE_PASSWORDS {error}.\n")
        return 2
    try:
        names = asyncio.run(
            migrate(url, plan=options.plan, phase=options.phase, to=options.to, passwords=passwords)
        )
    except (MigrationRefused, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"Nothing more was applied: {error}\n")
        return 1
    for name in names:
        sys.stdout.write(f"{'would apply' if options.plan else 'applied'} {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
