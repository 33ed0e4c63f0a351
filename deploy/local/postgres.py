"""A private PostgreSQL: its own cluster, port and passwords; the system's is never touched."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy.local import children
from deploy.local.children import Account, Child, Command
from deploy.local.errors import StackError
from deploy.local.folder import Folder, unprivileged
from deploy.local.providers import Postgres, postgres_of

PART = "postgres"
OWNER = "pointmill"
SERVICE_ROLES = ("gateway", "processor", "notifier")


@dataclass(frozen=True)
class Options:
    """How a private server differs between a stack for people and one for tests.

    Attributes:
        durable: whether a commit survives a power cut; a test's data need only survive a kill, and are faster.
        connections: how many connections it accepts.
        parent_death_signal: see `children.Command`.
    """

    durable: bool = True
    connections: int = 100
    parent_death_signal: str | None = None


def start(folder: Folder, server: Postgres, options: Options) -> Child:
    """Start the private server, creating its cluster at the first start. Does not wait for it."""
    account = unprivileged()
    data = folder.data(PART, account)
    server = _fitting(server, data)
    if not (data / "PG_VERSION").exists():
        _create(folder, server, data, account)
    port = folder.port(PART)
    argv = [str(server.binaries / "postgres"), "-D", str(data)]
    for name, value in _settings(port, options).items():
        argv += ["-c", f"{name}={value}"]
    command = Command(
        argv=argv,
        env=_environment(),
        cwd=Path("/"),
        marker=str(data),
        account=account,
        stop_signal=signal.SIGINT,  # "roll back what runs, write everything, stop"
        stop_seconds=20,
        parent_death_signal=options.parent_death_signal,
    )
    return children.start(command, folder.log(PART))


def _settings(port: int, options: Options) -> dict[str, str]:
    durable = "on" if options.durable else "off"
    return {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        # No socket file: its path has 107 bytes at most, and a checkout may lie deeper.
        "unix_socket_directories": "",
        "max_connections": str(options.connections),
        "fsync": durable,
        "full_page_writes": durable,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u@%d ",
        "jit": "off",
    }


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _fitting(server: Postgres, data: Path) -> Postgres:
    """The installation that can read the cluster, when there is one already."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        major = int((data / "PG_VERSION").read_text())
        fitting = server if server.major == major else postgres_of(major)
        if fitting is None:
            raise StackError(
                f"{data} was made by PostgreSQL {major}, which is not here any more; "
                "install it, or start afresh with `make clean`"
            )
        return fitting
    return server


def _create(folder: Folder, server: Postgres, data: Path, account: Account | None) -> None:
    """Run initdb into a folder beside and rename it, so that half a cluster is never used."""
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    folder.make_private(fresh, account)
    password = fresh.with_suffix(".password")
    password.touch(mode=0o600)
    password.write_text(folder.secret("postgres:postgres"))
    words = [f"--pgdata={fresh}", "--username=postgres", f"--pwfile={password}"]
    words += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    # What a power cut in this second could lose is an empty cluster.
    words += ["--no-sync"]
    if account is not None:
        os.chown(password, account.uid, account.gid)
    initdb = [str(server.binaries / "initdb"), *words]
    try:
        made = subprocess.run(
            [*children.as_account(account), *initdb],
            env=_environment(),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    finally:
        password.unlink()
    if made.returncode != 0:
        last = made.stdout.decode(errors="replace").strip().splitlines()[-1:]
        raise StackError(f"initdb failed: {' '.join(last)}")
    fresh.rename(data)


def url(folder: Folder, role: str, database: str = OWNER) -> str:
    """The address of a database for one role."""
    password = folder.secret(f"postgres:{role}")
    return f"postgresql://{role}:{password}@127.0.0.1:{folder.notes.ports[PART]}/{database}"


async def wait_ready(folder: Folder, child: Child, seconds: float = 30) -> None:
    """Wait until the server answers a query.

    Raises:
        StackError: it ended or did not answer in time; the message holds the end of its log.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and children.is_running(child):
        try:
            connection = await asyncpg.connect(url(folder, "postgres", "postgres"), timeout=5)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
            continue
        await connection.close()
        return
    raise StackError(f"PostgreSQL did not start:\n{children.tail(folder.log(PART))}")


async def create_roles(folder: Folder, admin_url: str) -> None:
    """Create the services' roles, or give them this folder's passwords."""
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        for role in SERVICE_ROLES:
            await _create_role(connection, role, folder.secret(f"postgres:{role}"), "LOGIN")
    finally:
        await connection.close()


async def create_owner(folder: Folder, database: str = OWNER) -> None:
    """Create the role that owns the schema, and its database."""
    connection = await asyncpg.connect(url(folder, "postgres", "postgres"), timeout=10)
    try:
        # The migrations set time-outs of the service roles, for which the owner must manage roles.
        password = folder.secret(f"postgres:{OWNER}")
        await _create_role(connection, OWNER, password, "LOGIN CREATEROLE")
        exists = "select 1 from pg_database where datname = $1"
        if not await connection.fetchval(exists, database):
            await connection.execute(f'create database "{database}" owner "{OWNER}"')
    finally:
        await connection.close()


async def _create_role(
    connection: "asyncpg.Connection[asyncpg.Record]", role: str, password: str, options: str
) -> None:
    exists = await connection.fetchval("select 1 from pg_roles where rolname = $1", role)
    verb = "alter" if exists else "create"
    # Names are ours and passwords hexadecimal; utility statements take no parameters.
    await connection.execute(f"{verb} role \"{role}\" {options} password '{password}'")
