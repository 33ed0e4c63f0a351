"""PostgreSQL, the same way in every service: a pool, named statements, and one honest error.

Works through a transaction-mode pooler (PgBouncer, Neon): no session state, no prepared statements
kept where the URL says that a pooler is in between.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import orjson

from shared.errors import DatabaseUnavailable

QUERIES = Path(__file__).parent.parent / "sql" / "queries"
STATEMENT = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)
DEADLINE_SECONDS = 10.0
TRIES = 4
T = TypeVar("T")

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Row: TypeAlias = asyncpg.Record

# What says "the server is away", as opposed to "the statement is wrong". By class, never by message.
UNAVAILABLE = (
    OSError,  # refused, reset, and TimeoutError
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.CannotConnectNowError,  # 57P03
    asyncpg.AdminShutdownError,  # 57P01
    asyncpg.CrashShutdownError,  # 57P02
    asyncpg.TooManyConnectionsError,  # 53300
    asyncpg.InterfaceError,  # the connection was closed under us
    # A server that shuts down says so unasked; a statement sent between that and the end of the
    # connection meets asyncpg in the middle of another state (0.32).
    asyncpg.InternalClientError,
    # A migration has changed a table under a statement that is known already. Once per connection and
    # only inside a transaction: asyncpg repeats the others by itself.
    asyncpg.InvalidCachedStatementError,
)

# The server undid the statement for another's sake. It was a transaction of its own, so nothing of it is left.
UNDONE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def load_statements(service: str, folder: Path = QUERIES) -> Mapping[str, str]:
    """Every named statement of a service, by name, from `sql/queries/<service>.sql`.

    Raises:
        ValueError: a name comes twice.
    """
    parts = STATEMENT.split((folder / f"{service}.sql").read_text())
    names, bodies = parts[1::2], parts[2::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{service}.sql names a statement twice.")
    return dict(zip(names, (body.strip() for body in bodies), strict=True))


def clean_url(url: str) -> tuple[str, dict[str, Any]]:
    """Split a URL as people paste it into one that asyncpg takes and its keyword arguments.

    asyncpg sends every query parameter it does not know to the server, which then refuses the
    connection: `channel_binding` (Neon's default), `connect_timeout` and `pgbouncer` are such.
    """
    parts = urlsplit(url)
    options: dict[str, Any] = {"timeout": 5.0}
    pooled = "-pooler." in (parts.hostname or "")
    kept = []
    for name, value in parse_qsl(parts.query):
        if name == "connect_timeout":
            options["timeout"] = float(value)
        elif name == "pgbouncer":
            pooled = pooled or value == "true"
        elif name != "channel_binding":
            kept.append((name, value))
    if pooled:
        options["statement_cache_size"] = 0
    return urlunsplit(parts._replace(query=urlencode(kept))), options


class Database:
    """The pool of one service under its own role, and its named statements.

    Every call ends within `deadline` seconds, the wait for a free connection included.

    Raises (every method):
        DatabaseUnavailable: the server is away or too slow. A write may or may not have happened.
        asyncpg.PostgresError: the statement itself failed.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        statements: Mapping[str, str],
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._pool = pool
        self.statements = statements
        self._deadline = deadline

    async def rows(self, name: str, *arguments: Any) -> list[Row]:
        """All rows of the named statement."""
        return await self._ask(lambda one: one.fetch(self.statements[name], *arguments))

    async def row(self, name: str, *arguments: Any) -> Row | None:
        """The first row of the named statement."""
        return await self._ask(lambda one: one.fetchrow(self.statements[name], *arguments))

    async def value(self, name: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await self._ask(lambda one: one.fetchval(self.statements[name], *arguments))

    async def run_many(self, name: str, arguments: Sequence[Sequence[Any]]) -> None:
        """The statement once per row of arguments, all or none."""
        async with self._connection() as connection:
            await connection.executemany(self.statements[name], arguments)

    @asynccontextmanager
    async def transaction(self, workspace: UUID | None = None) -> AsyncIterator["Transaction"]:
        """Several statements in one transaction, seen through one workspace where one is given."""
        async with self._connection() as connection, connection.transaction():
            if workspace is not None:
                await connection.execute("select enter_workspace($1)", workspace)
            yield Transaction(connection, self.statements)

    def as_one(
        self, begun: Callable[["Transaction"], Awaitable[None]], ready: Callable[[], bool]
    ) -> "OneTransaction":
        """A database whose statements are one transaction; see there."""
        return OneTransaction(self._pool, self.statements, self._deadline, begun, ready)

    async def check(self) -> str:
        """Whether the server answers; the version of the last migration it holds."""
        async with self._connection() as connection:
            return str(await connection.fetchval("select max(version) from schema_migrations"))

    async def close(self) -> None:
        """Give the connections back; those still busy after two seconds are cut."""
        try:
            async with asyncio.timeout(2):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _ask(self, statement: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a single statement; where the server undid it for another's sake, once more a moment later."""
        for tries in range(1, TRIES + 1):
            try:
                # As `_connection`, without what a generator costs: this is every request's way.
                async with asyncio.timeout(self._deadline):
                    connection = await self._pool.acquire()
                    try:
                        return await statement(connection)
                    finally:
                        await self._pool.release(connection)
            except UNDONE as error:
                undone = error
            except UNAVAILABLE as error:
                raise _unavailable(error) from error
            await asyncio.sleep(tries * random.uniform(0.01, 0.1))  # noqa: S311 - to be out of step
        raise DatabaseUnavailable("PostgreSQL is too busy with the same rows.") from undone

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(self._deadline), self._pool.acquire() as connection:
                yield connection
        except UNAVAILABLE as error:
            raise _unavailable(error) from error


class Transaction:
    """The same calls as `Database`, inside one transaction."""

    def __init__(self, connection: Connection, statements: Mapping[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    async def rows(self, name: str, *arguments: Any) -> list[Row]:
        """All rows of the named statement."""
        return await self._connection.fetch(self._statements[name], *arguments)

    async def row(self, name: str, *arguments: Any) -> Row | None:
        """The first row of the named statement."""
        return await self._connection.fetchrow(self._statements[name], *arguments)

    async def value(self, name: str, *arguments: Any) -> Any:
        """The first column of the first row."""
        return await self._connection.fetchval(self._statements[name], *arguments)

    async def run_many(self, name: str, arguments: Sequence[Sequence[Any]]) -> None:
        """The statement once per row of arguments."""
        await self._connection.executemany(self._statements[name], arguments)


class OneTransaction(Database):
    """A database whose statements, whoever makes them, are all one transaction.

    `async with` it: the block's end commits, an error undoes. The transaction begins with the first
    statement once `ready()`; statements before that are each their own. `begun` is called in it first,
    and may refuse. One statement at a time.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        statements: Mapping[str, str],
        deadline: float,
        begun: Callable[[Transaction], Awaitable[None]],
        ready: Callable[[], bool],
    ) -> None:
        super().__init__(pool, statements, deadline)
        self._begun = begun
        self._ready = ready
        self._stack = AsyncExitStack()
        self._held: Connection | None = None

    async def __aenter__(self) -> Self:
        """Nothing has begun yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit, or undo where there is an error."""
        try:
            await self._stack.__aexit__(kind, error, traceback)
        except UNAVAILABLE as away:
            raise _unavailable(away) from away

    async def begin(self) -> None:
        """Begin now."""
        async with self._connection():
            pass

    async def _ask(self, statement: Callable[[Connection], Awaitable[T]]) -> T:
        # What the server undid here takes all that went before along: only the whole can be tried again.
        try:
            async with self._connection() as connection:
                return await statement(connection)
        except UNDONE as undone:
            raise DatabaseUnavailable("PostgreSQL is too busy with the same rows.") from undone

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if not self._ready():
            async with super()._connection() as connection:
                yield connection
            return
        try:
            if self._held is None:
                # The limit is the statement's own (`command_timeout`): a timeout here would end with the block.
                acquired = self._pool.acquire(timeout=self._deadline)
                self._held = held = await self._stack.enter_async_context(acquired)
                await self._stack.enter_async_context(held.transaction())
                await self._begun(Transaction(held, self.statements))
            yield self._held
        except UNAVAILABLE as error:
            raise _unavailable(error) from error


def _unavailable(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"PostgreSQL did not answer ({type(error).__name__}).")


async def open_database(url: str, service: str, *, size: int = 8) -> Database:
    """A pool for the service's role; connects when first used, so a service starts without its database."""
    clean, options = clean_url(url)
    pool = await asyncpg.create_pool(
        clean,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=240,
        command_timeout=DEADLINE_SECONDS,
        init=_prepare_connection,
        reset=_reset_if_needed,
        server_settings={"application_name": f"pointmill-{service}"},
        **options,
    )
    return Database(pool, load_statements(service))


async def _prepare_connection(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )


async def _reset_if_needed(connection: Connection) -> None:
    """Nothing of ours outlives a transaction, so a clean connection needs no round trip of resetting."""
    if connection.is_in_transaction():
        await connection.reset()
