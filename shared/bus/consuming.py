"""Consume: what arrives is handed to a task of ours, and settled by how that task ends.

A callback of aio-pika is cancelled when its connection dies; so a callback only starts a task.
An acknowledgement proves nothing (it may be lost, the message comes again): every handler is
repeatable, and a failed acknowledgement is no failure of the work.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

import aiormq
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from shared.bus.interests import Binding, Interests
from shared.bus.letters import Letter, read_letter
from shared.bus.link import RPC_SECONDS, Link, broker_errors, pause_before_reconnect
from shared.errors import BrokerUnavailable, Unavailable
from shared.messages import Envelope, Message, Unreadable, read_data, read_envelope

WATCH_SECONDS = 5.0
GRACE_SECONDS = 5.0

logger = structlog.get_logger()


@dataclass(frozen=True)
class Delivery:
    """A message as it arrived. `user_id` is proved by the broker; None when the sender left it out."""

    envelope: Envelope
    routing_key: str
    user_id: str | None
    redelivered: bool

    def read(self) -> Message:
        """The typed data.

        Raises:
            Unreadable: unknown type or version, or data that does not fit.
        """
        return read_data(self.envelope)


Handler = Callable[[Delivery], Awaitable[None]]


class Consumer:
    """The consuming half of the bus, on a connection of its own."""

    def __init__(self, link: Link, instance: str) -> None:
        self._link = link
        self._instance = instance
        self._healthy: dict[str, bool] = {}

    @property
    def silent(self) -> list[str]:
        """The queues that should be consumed and are not."""
        return [queue for queue, healthy in self._healthy.items() if not healthy]

    async def consume(self, queue: str, handle: Handler, *, prefetch: int = 50) -> None:
        """Handle what arrives in a durable queue, for ever.

        The message is acknowledged when `handle` returns; dead-lettered when it raises
        `Unreadable`; kept and tried again when something is `Unavailable`; given back, up to the
        queue's delivery limit, after any other exception (a bug: it is logged).
        """
        await self._consume(queue, lambda message: handle(_delivery(message)), prefetch)

    async def keep(
        self, queue: str, handle: Callable[[Letter], Awaitable[None]], *, prefetch: int = 20
    ) -> None:
        """The same for a queue of dead letters: nothing about the message needs to be right."""
        await self._consume(queue, lambda message: handle(read_letter(message)), prefetch)

    async def _consume(
        self,
        queue: str,
        handle: Callable[[AbstractIncomingMessage], Awaitable[None]],
        prefetch: int,
    ) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def start(message: AbstractIncomingMessage) -> None:
            task = asyncio.create_task(_settle(message, handle), name=f"handle {queue}")
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        await self._for_ever(queue, lambda: self._consume_once(queue, start, tasks, prefetch))

    async def listen(
        self,
        prefix: str,
        bindings: Sequence[tuple[str, str]],
        handle: Handler,
        on_connect: Callable[[], None],
    ) -> None:
        """Hear what is said from now on, through an exclusive queue that dies with the connection.

        Args:
            prefix: the queue is `<prefix>.<instance>.<nonce>`, a new nonce per connection.
            bindings: exchange and key.
            handle: called for each message; exceptions are logged.
            on_connect: called after each (re)connection: what was said before was not heard, so
                read the rows again.
        """
        await self.follow(prefix, Interests(lambda _: on_connect(), bindings), handle)

    async def follow(self, prefix: str, interests: Interests, handle: Handler) -> None:
        """The same with bindings that come and go, for ever."""
        await self._for_ever(prefix, lambda: self._follow_once(prefix, interests, handle))

    async def _for_ever(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            self._healthy[name] = False
            try:
                async with broker_errors():
                    await once()
            except BrokerUnavailable as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from error  # told to stop while it was failing
                logger.warning("consumer_interrupted", queue=name, detail=error.detail)
            self._healthy[name] = False
            await pause_before_reconnect()

    async def _consume_once(
        self,
        name: str,
        start: Callable[[AbstractIncomingMessage], None],
        tasks: set["asyncio.Task[None]"],
        prefetch: int,
    ) -> None:
        async with open_channel(self._link, prefetch) as channel:
            # A quorum queue without a leader yet (a broker that has just started) may never answer.
            async with asyncio.timeout(RPC_SECONDS):
                queue = await channel.declare_queue(name, passive=True)
                tag = await queue.consume(_as_callback(start))
            self._healthy[name] = True
            try:
                while True:
                    await _wait_for_end(channel, WATCH_SECONDS)
                    await _check_alive(channel, name, tag)
            except asyncio.CancelledError:
                # Told to leave: stop the flow, let what has begun end and be settled; the rest goes
                # back when the channel closes. (When only the channel is lost they simply go on.)
                with suppress(BrokerUnavailable):
                    async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                        await queue.cancel(tag)
                if tasks:
                    await asyncio.wait(tasks, timeout=GRACE_SECONDS)
                for task in tasks:
                    task.cancel()
                raise

    async def _follow_once(self, prefix: str, interests: Interests, handle: Handler) -> None:
        async def hear(message: AbstractIncomingMessage) -> None:
            try:
                await handle(_delivery(message))
            except Unreadable as error:
                logger.info("message_unreadable", reason=error.reason)
            except Exception:
                logger.exception("listener_failed", queue=prefix)

        async with open_channel(self._link, 100) as channel:
            name = f"{prefix}.{self._instance}.{secrets.token_hex(4)}"
            async with asyncio.timeout(RPC_SECONDS):
                queue = await channel.declare_queue(
                    name,
                    exclusive=True,
                    arguments={"x-max-length": 10_000, "x-overflow": "drop-head"},
                )
                tag = await queue.consume(hear, no_ack=True)
            held: frozenset[Binding] = frozenset()
            while True:
                held = await interests.bring(queue, held)
                self._healthy[prefix] = True
                await _wait_for_end(channel, WATCH_SECONDS, interests.changed)
                await _check_alive(channel, None, tag)


@asynccontextmanager
async def open_channel(link: Link, prefetch: int) -> AsyncIterator[AbstractChannel]:
    """A channel of one's own with a prefetch, closed at the end."""
    connection = await link.connection()
    channel = connection.channel()
    try:
        async with asyncio.timeout(RPC_SECONDS):
            await channel.initialize()
            await channel.set_qos(prefetch_count=prefetch)
        yield channel
    finally:
        with suppress(BrokerUnavailable):  # it was gone already
            async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                await channel.close()


def _as_callback(
    start: Callable[[AbstractIncomingMessage], None],
) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def callback(message: AbstractIncomingMessage) -> None:
        start(message)

    return callback


async def _wait_for_end(
    channel: AbstractChannel, seconds: float, change: asyncio.Event | None = None
) -> None:
    """Return after the time, or at the change.

    Raises:
        BrokerUnavailable: the channel has closed before.
    """
    closed = asyncio.ensure_future(channel.closed())
    waits = {closed} if change is None else {closed, asyncio.ensure_future(change.wait())}
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()  # one left behind every few seconds would be a leak
    if closed in done:
        raise BrokerUnavailable("The channel was closed by the broker.")


async def _check_alive(channel: AbstractChannel, queue: str | None, tag: str) -> None:
    """A consumer can be gone while its channel lives (queue deleted, node drained): look.

    Raises:
        BrokerUnavailable: nobody consumes any more under this tag.
    """
    if not await still_consumes(channel, tag):
        raise BrokerUnavailable("The broker has cancelled the consumer.")
    if queue is not None:
        async with asyncio.timeout(RPC_SECONDS):
            declared = await channel.declare_queue(queue, passive=True)
        if not declared.declaration_result.consumer_count:
            raise BrokerUnavailable("The broker knows no consumer of this queue.")


async def still_consumes(channel: AbstractChannel, tag: str) -> bool:
    """Whether the client library still knows the consumer (the broker's cancel removes it)."""
    underlay = cast("aiormq.Channel", await channel.get_underlay_channel())
    return tag in underlay.consumers


def _delivery(message: AbstractIncomingMessage) -> Delivery:
    return Delivery(
        envelope=read_envelope(message.body),
        routing_key=message.routing_key or "",
        user_id=message.user_id,
        redelivered=bool(message.redelivered),
    )


async def _settle(
    message: AbstractIncomingMessage, handle: Callable[[AbstractIncomingMessage], Awaitable[None]]
) -> None:
    try:
        await _handle_when_available(message, handle)
    except Unreadable as error:
        logger.warning("message_dead_lettered", reason=error.reason, message_id=message.message_id)
        await acknowledge(message.reject(requeue=False))
    except Exception:
        logger.exception("handler_failed", message_id=message.message_id, type=message.type)
        await asyncio.sleep(1)
        # A rejection counts towards the delivery limit on every broker version; a nack does not.
        await acknowledge(message.reject(requeue=True))
    else:
        await acknowledge(message.ack())


async def _handle_when_available(
    message: AbstractIncomingMessage, handle: Callable[[AbstractIncomingMessage], Awaitable[None]]
) -> None:
    """While something we depend on is away the message stays with us, unsettled: no hot loop."""
    pause = 0.5
    while True:
        try:
            await handle(message)
        except Unavailable as error:
            logger.warning("handler_waits", code=error.code, detail=error.detail, seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 15)
        else:
            return


async def acknowledge(settlement: Awaitable[None]) -> None:
    """Settle a message; when that cannot be said any more the message comes again, which is harmless."""
    try:
        async with broker_errors(), asyncio.timeout(RPC_SECONDS):
            await settlement
    except BrokerUnavailable as error:
        logger.info("settlement_not_said", detail=error.detail)
