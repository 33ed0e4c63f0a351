"""The two servers of a stack, PostgreSQL and RabbitMQ: private ones, or somebody else's by URL."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import asyncpg

from deploy.local import packages, postgres, providers, rabbitmq
from deploy.local.children import Child
from deploy.local.errors import StackError
from deploy.local.folder import Folder
from shared import topology
from sql.bootstrap import bootstrap
from sql.migrate import MigrationRefused, migrate

Keep = Callable[[str, Callable[[], Child]], Child]


class Database:
    """Where the rows are. `start`, then `prepare`, then `url`."""

    def __init__(self, folder: Folder) -> None:
        """Decide between a private server and the one that the environment names."""
        self._folder = folder
        self._external = providers.external("DATABASE")
        self._child: Child | None = None

    def start(self, keep: Keep) -> str:
        """Start the private server unless it runs; return the sentence that says what is used."""
        if self._external is not None:
            return f"PostgreSQL: external, {_without_password(self._external.url)}"
        server = providers.found_or_installed(
            "PostgreSQL", providers.postgres, packages.POSTGRES, "POINTMILL_EXTERNAL_DATABASE_URL"
        )
        options = postgres.Options()
        self._child = keep(postgres.PART, lambda: postgres.start(self._folder, server, options))
        return f"PostgreSQL: private, version {server.major} of this machine ({server.binaries})"

    async def prepare(self, api_key: str, member: str) -> None:
        """Wait for the server; bring roles, schema, workspace and API key up to date.

        Raises:
            StackError: it does not start or refuses.
        """
        try:
            if self._child is not None:
                await postgres.wait_ready(self._folder, self._child)
                await postgres.create_owner(self._folder)
            admin = postgres.url(self._folder, "postgres") if self._child else self.url("pointmill")
            await postgres.create_roles(self._folder, admin)
            await migrate(self.url("pointmill"))
            await bootstrap(self.url("pointmill"), api_key, member)
        except (MigrationRefused, OSError, asyncpg.PostgresError) as error:
            raise StackError(f"PostgreSQL could not be prepared: {error}") from error

    def url(self, role: str) -> str:
        """The database's address for a service or for the owner, `pointmill`."""
        if self._external is None:
            return postgres.url(self._folder, role)
        if role == postgres.OWNER:
            return self._external.url
        return _as_user(self._external.url, role, self._folder.secret(f"postgres:{role}"))


class Broker:
    """Where the messages go. `start`, then `prepare`, then `url`."""

    def __init__(self, folder: Folder) -> None:
        """Decide between a private node and the one that the environment names."""
        self._folder = folder
        self._external = providers.external("AMQP")
        self._child: Child | None = None

    def start(self, keep: Keep) -> str:
        """Start the private node unless it runs; return the sentence that says what is used."""
        if self._external is not None:
            return f"RabbitMQ: external, {_without_password(self._external.url)}"
        server = providers.found_or_installed(
            "RabbitMQ", providers.rabbitmq, packages.RABBITMQ, "POINTMILL_EXTERNAL_AMQP_URL"
        )
        options = rabbitmq.Options()
        keep(rabbitmq.EPMD, lambda: rabbitmq.start_epmd(self._folder, server, options))
        self._child = keep(rabbitmq.PART, lambda: rabbitmq.start(self._folder, server, options))
        return f"RabbitMQ: private, of this machine ({server.server.parent.parent})"

    async def prepare(self) -> None:
        """Wait for the node; bring exchanges, queues, policies and users up to date.

        Raises:
            StackError: it does not start or refuses.
        """
        if self._child is not None:
            await rabbitmq.wait_ready(self._folder, self._child)
        passwords = rabbitmq.passwords(self._folder)
        try:
            await asyncio.to_thread(topology.apply, self.admin_url, self._vhost, passwords)
        except OSError as error:
            raise StackError(f"RabbitMQ could not be prepared: {error}") from error

    @property
    def _vhost(self) -> str:
        path = urlsplit(self._external.url).path if self._external else ""
        return unquote(path.removeprefix("/")) or "/"

    def url(self, user: str) -> str:
        """The broker's address for a service's user."""
        if self._external is None:
            return rabbitmq.url(self._folder, user)
        return _as_user(self._external.url, user, self._folder.secret(f"rabbitmq:{user}"))

    @property
    def admin_url(self) -> str:
        """The management API's address with the administrator's password."""
        if self._external is None:
            return rabbitmq.admin_url(self._folder)
        told = os.environ.get("POINTMILL_EXTERNAL_AMQP_ADMIN_URL")
        if told:
            return told
        # Where nothing else is said: the same name and password at the management plugin's port.
        parts = urlsplit(self._external.url)
        login = parts.netloc.rpartition("@")[0]
        return f"http://{login}@{parts.hostname}:15672"


def storage_url(folder: Folder) -> tuple[str, str]:
    """The object store's address, and the sentence that says which it is."""
    external = providers.external("STORAGE")
    if external is not None:
        return external.url, f"Objects: external, {external.url}"
    path: Path = folder.path / "objects"
    path.mkdir(mode=0o700, exist_ok=True)
    return path.as_uri(), f"Objects: private, {path}"


def _as_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
