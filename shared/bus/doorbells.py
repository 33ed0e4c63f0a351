"""Doorbells: by default taken one at a time, and only while a slot is free."""

import asyncio
import time
from contextlib import AsyncExitStack

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from shared.bus.consuming import acknowledge, open_channel, still_consumes
from shared.bus.link import RPC_SECONDS, Link, broker_errors
from shared.errors import BrokerUnavailable

logger = structlog.get_logger()


class Doorbells:
    """The doorbells of one queue, pulled.

    A busy worker must not hold a doorbell that an idle one could answer: the prefetch is one, and
    `pause` stops the flow before the last doorbell is acknowledged. Who takes its work in batches
    takes doorbells `at_once`, and one answer is the answer to all that have come.
    """

    def __init__(self, link: Link, queue: str, at_once: int = 1) -> None:
        self._link = link
        self._name = queue
        self._at_once = at_once
        self._stack = AsyncExitStack()
        self._channel: AbstractChannel | None = None
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self._rung: AbstractIncomingMessage | None = None
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._opening: asyncio.Task[bool] | None = None
        self._wanted = False

    @property
    def ready(self) -> bool:
        """Whether the queue was found and its channel is open."""
        return self._channel is not None and not self._channel.is_closed

    async def wait(self, seconds: float) -> bool:
        """Whether a doorbell rang within that time; while the broker is away, just the time.

        It is acknowledged by `answer`, after the claim. The channel is opened beside: a broker that
        does not answer must not make the caller look less often.
        """
        self._wanted = True
        until = time.monotonic() + seconds
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open {self._name}")
        await asyncio.wait({self._opening}, timeout=seconds)
        if not self._opening.done():
            return False
        opening, self._opening = self._opening, None
        if not opening.result():
            await asyncio.sleep(until - time.monotonic())
            return False
        try:
            async with asyncio.timeout(until - time.monotonic()):
                self._rung = await self._arrived.get()
        except TimeoutError:
            return False
        return True

    async def answer(self, *, more_slots: bool) -> None:
        """Acknowledge the doorbell; without a free slot stop the flow first."""
        if not more_slots:
            await self.pause()
        rung, self._rung = self._rung, None
        if rung is None:
            return
        while self._at_once > 1 and not self._arrived.empty():
            rung = self._arrived.get_nowait()
        await acknowledge(rung.ack(multiple=self._at_once > 1))

    async def pause(self) -> None:
        """Stop the flow until the next `wait`; a doorbell that came meanwhile is left to others."""
        self._wanted = False
        tag, self._tag = self._tag, None
        if tag is None or self._queue is None or not self.ready:
            return
        try:
            async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                await self._queue.cancel(tag)
        except BrokerUnavailable:
            await self._forget()
        while not self._arrived.empty():
            await acknowledge(self._arrived.get_nowait().nack(requeue=True))

    async def close(self) -> None:
        """Close the channel; a doorbell not yet acknowledged goes back to the queue."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
        await self._forget()

    async def _open(self) -> bool:
        """Have the flow on, unless `pause` came meanwhile; whether the broker answered."""
        try:
            async with broker_errors():
                await self._listen()
        except BrokerUnavailable as error:
            logger.info("doorbells_not_heard", queue=self._name, detail=error.detail)
            await self._forget()
            return False
        if not self._wanted:
            await self.pause()
        return True

    async def _listen(self) -> None:
        if not self.ready:
            await self._forget()
            self._arrived = asyncio.Queue()
            self._channel = await self._stack.enter_async_context(
                open_channel(self._link, self._at_once)
            )
            async with asyncio.timeout(RPC_SECONDS):
                self._queue = await self._channel.declare_queue(self._name, passive=True)
        if self._channel is None or self._queue is None:
            raise BrokerUnavailable("There is no channel.")
        if self._tag is None or not await still_consumes(self._channel, self._tag):
            async with asyncio.timeout(RPC_SECONDS):
                self._tag = await self._queue.consume(self._arrived.put)

    async def _forget(self) -> None:
        self._channel = self._queue = self._tag = self._rung = None
        await self._stack.aclose()
