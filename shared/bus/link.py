"""One connection to the broker, kept up.

Plain connections and a loop of our own, not aio-pika's robust ones: what is declared and consumed
after a reconnect then stands in one readable place, and a failure is never swallowed in between.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from yarl import URL

from shared.errors import BrokerUnavailable

RPC_SECONDS = 5.0
# Two missed beats end a half-open connection (the library alone takes (heartbeat + 1) * 3 seconds).
HEARTBEAT_SECONDS = 10

logger = structlog.get_logger()


@asynccontextmanager
async def broker_errors() -> AsyncIterator[None]:
    """Everything that says "the broker is away" as one error.

    aiormq raises CancelledError out of a publish whose connection dies by a missed heartbeat. Left
    alone it would end a supervised task silently, so only a cancellation that was really asked for
    passes.

    Raises:
        BrokerUnavailable: the broker did not answer; a message may or may not have arrived.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailable("The connection to RabbitMQ was lost.") from error
    except (AMQPError, ChannelInvalidStateError, OSError) as error:
        raise BrokerUnavailable(f"RabbitMQ did not answer ({type(error).__name__}).") from error


async def pause_before_reconnect() -> None:
    """One to two seconds, so that a fleet does not come back in step."""
    await asyncio.sleep(1 + random.random())  # noqa: S311 - jitter


class Link:
    """A connection under a name that the broker shows; reconnects for ever."""

    def __init__(self, url: str, name: str) -> None:
        self._url = URL(url).update_query(heartbeat=HEARTBEAT_SECONDS)
        self._name = name
        self._connection: AbstractConnection | None = None
        self._changed = asyncio.Condition()

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self._connection is not None and self._connection.connected.is_set()

    async def connection(self) -> AbstractConnection:
        """The connection; waits for it.

        Raises:
            BrokerUnavailable: there is none within five seconds.
        """
        async with broker_errors(), asyncio.timeout(RPC_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self.connected)
            if self._connection is None:
                raise BrokerUnavailable("There is no connection to RabbitMQ.")
            return self._connection

    async def keep(self) -> None:
        """Connect, wait for the end of the connection, connect again."""
        while True:
            try:
                async with broker_errors():
                    await self._connect_and_wait()
            except BrokerUnavailable as error:
                logger.warning("broker_connection_lost", link=self._name, detail=error.detail)
            await pause_before_reconnect()

    async def drop(self) -> None:
        """Close the connection because it no longer answers; `keep` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)

    async def _connect_and_wait(self) -> None:
        # Made here, not by `aio_pika.connect`: that leaves a connection which it could not open to
        # the garbage collector, and to a coroutine that nobody awaits.
        connection = aio_pika.Connection(
            self._url, client_properties={"connection_name": self._name}
        )
        # A plain connection's own `closed()` never ends when the broker or the network closes it
        # (aio-pika 10.2.1); its callbacks are called in every case.
        ended = asyncio.Event()
        connection.close_callbacks.add(lambda *_: ended.set())
        try:
            await connection.connect(timeout=RPC_SECONDS)
            async with self._changed:
                self._connection = connection
                self._changed.notify_all()
            logger.info("broker_connected", link=self._name)
            await ended.wait()
        finally:
            self._connection = None
            await _close(connection)


async def _close(connection: AbstractConnection) -> None:
    with suppress(BrokerUnavailable):  # it was gone already
        async with broker_errors(), asyncio.timeout(RPC_SECONDS):
            await connection.close()
