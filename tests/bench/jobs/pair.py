"""The private PostgreSQL and RabbitMQ that every contestant runs on, one after the other."""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from deploy.local import children, packages, postgres, providers, rabbitmq
from deploy.local.folder import Folder
from deploy.local.web import call
from shared import topology
from sql.bootstrap import DEFAULT_WORKSPACE, bootstrap
from sql.migrate import migrate
from tests.bench.jobs.programs import KEPT, RIVALS, cpu_of

RIVALS_DATABASE = "rivals"
RIVALS_VHOST = "rivals"
_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


class Pair:
    """Both servers, and the ways to look into them."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        secret = folder.secret
        self.api_key = f"pm_{secret('api-key:id', 4)}_{secret('api-key:secret', 24)}"

    def begin(self) -> None:
        """Start both; they die with this process."""
        broker = providers.found_or_installed(
            "RabbitMQ", providers.rabbitmq, packages.RABBITMQ, "POINTMILL_EXTERNAL_AMQP_URL"
        )
        tied = rabbitmq.Options(parent_death_signal="KILL")
        self.folder.keep(rabbitmq.EPMD, rabbitmq.start_epmd(self.folder, broker, tied))
        self.folder.keep(rabbitmq.PART, rabbitmq.start(self.folder, broker, tied))
        self._begin_postgres()

    def _begin_postgres(self) -> None:
        server = providers.found_or_installed(
            "PostgreSQL", providers.postgres, packages.POSTGRES, "POINTMILL_EXTERNAL_DATABASE_URL"
        )
        durable = postgres.Options(durable=True, parent_death_signal="INT")
        self.folder.keep(postgres.PART, postgres.start(self.folder, server, durable))

    async def prepare(self) -> None:
        """The schema and the map of the bus for us, two tables and a vhost for the rivals."""
        await self._remember_commit_times()
        await postgres.create_owner(self.folder)
        await postgres.create_roles(self.folder, self.url("postgres"))
        owner = self.url(postgres.OWNER)
        await migrate(owner)
        await bootstrap(owner, self.api_key, None)
        await self._prepare_rivals()
        await rabbitmq.wait_ready(self.folder, self.folder.notes.children[rabbitmq.PART])
        passwords = rabbitmq.passwords(self.folder)
        await asyncio.to_thread(topology.apply, self._admin_url, "/", passwords)
        await self._api("PUT", f"vhosts/{RIVALS_VHOST}", {})
        await self._api("PUT", f"permissions/{RIVALS_VHOST}/{rabbitmq.ADMIN}", _EVERYTHING)

    async def _remember_commit_times(self) -> None:
        """PostgreSQL notes when each transaction was committed: nobody's own word counts."""
        child = self.folder.notes.children[postgres.PART]
        await postgres.wait_ready(self.folder, child)
        connection = await asyncpg.connect(postgres.url(self.folder, "postgres", "postgres"))
        await connection.execute("alter system set track_commit_timestamp = on")
        await connection.close()
        await asyncio.to_thread(children.stop, [child])
        self._begin_postgres()
        await postgres.wait_ready(self.folder, self.folder.notes.children[postgres.PART])

    async def _prepare_rivals(self) -> None:
        await postgres.create_owner(self.folder, RIVALS_DATABASE)
        key, secret = self.api_key.removeprefix("pm_").split("_")
        connection = await asyncpg.connect(self.url(postgres.OWNER, RIVALS_DATABASE))
        await connection.execute((RIVALS / "tables.sql").read_text())
        await connection.execute(
            "insert into api_keys (id, workspace_id, secret_sha256) values ($1, $2, $3)",
            key,
            DEFAULT_WORKSPACE,
            hashlib.sha256(secret.encode()).digest(),
        )
        await connection.close()

    def url(self, role: str, database: str = postgres.OWNER) -> str:
        """The address of a database for a role."""
        return postgres.url(self.folder, role, database)

    def amqp_url(self, user: str, vhost: str = "/") -> str:
        """The address of a vhost for a user."""
        return rabbitmq.url(self.folder, user, vhost)

    @property
    def _admin_url(self) -> str:
        return rabbitmq.admin_url(self.folder)

    def cpu(self) -> tuple[float, float]:
        """Seconds of processor time that PostgreSQL and RabbitMQ have taken so far."""
        running = self.folder.notes.children
        return cpu_of(running[postgres.PART].pid), cpu_of(running[rabbitmq.PART].pid)

    async def purge(self) -> None:
        """Empty every durable queue."""
        for queue in await self._api("GET", "queues?columns=vhost,name,durable"):
            if queue["durable"]:
                vhost, name = quote(queue["vhost"], safe=""), quote(queue["name"], safe="")
                await self._api("DELETE", f"queues/{vhost}/{name}/contents")

    async def _api(self, method: str, path: str, body: Any = None) -> Any:
        address = f"{self._admin_url}/api/{path}"
        answer = await asyncio.to_thread(call, method, address, body=body, timeout=20)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body.decode()}")
        return answer.json() if method == "GET" else None

    def end(self) -> None:
        """Stop PostgreSQL, kill the others: their data go with them."""
        running = self.folder.notes.children
        if postgres.PART in running:
            # Killed outright it would leave its shared memory to the system.
            children.stop([running[postgres.PART]])
        children.kill(running.values())
        self.folder.remove()


@contextmanager
def opened_pair() -> Iterator[Pair]:
    """Both servers, started afresh; their data are deleted at the end."""
    for left in KEPT.glob("pair-*"):
        if not Path(f"/proc/{left.name.removeprefix('pair-')}").exists():
            Folder(left).remove()  # of a run that was killed; its servers died with it
    folder = Folder(KEPT / f"pair-{os.getpid()}")
    folder.open()
    pair = Pair(folder)
    try:
        pair.begin()
        yield pair
    finally:
        pair.end()
