"""Publish with confirms: a message has arrived, was refused, or nobody knows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aio_pika
import orjson
import structlog
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import DeliveryError

from shared.bus.link import RPC_SECONDS, Link, broker_errors, pause_before_reconnect
from shared.errors import BrokerUnavailable, PointmillError
from shared.messages import CONTENT_TYPE
from shared.topology import EXCHANGES

logger = structlog.get_logger()


class MessageRefused(PointmillError):
    """The broker has answered no: nobody is bound to the key, or the queue is full."""

    code = "message_refused"
    title = "The broker refused a message"
    retryable = True


@dataclass(frozen=True)
class Outgoing:
    """A message on its way: the CloudEvent as plain JSON data, and where it goes."""

    exchange: str
    routing_key: str
    message: dict[str, Any]
    mandatory: bool = True


class Publisher:
    """The publishing half of the bus, on a connection of its own.

    A blocked connection (memory alarm) stops acknowledgements too; consumers therefore use another.
    """

    def __init__(self, link: Link, user: str, app: str, exchanges: Sequence[str]) -> None:
        self._link = link
        self._user = user
        self._app = app
        self._names = exchanges
        self._exchanges: dict[str, AbstractExchange] = {}
        self._transient: dict[str, AbstractExchange] = {}
        self._open = False

    @property
    def ready(self) -> bool:
        """Whether the channels are open and every exchange of this service is there."""
        return self._open

    async def keep(self) -> None:
        """Open the channels, wait for their end, open them again."""
        while True:
            try:
                async with broker_errors():
                    await self._open_and_wait()
            except BrokerUnavailable as error:
                logger.warning("publisher_not_ready", detail=error.detail)
            finally:
                self._open, self._exchanges, self._transient = False, {}, {}
            await pause_before_reconnect()

    async def publish(self, outgoing: Outgoing) -> None:
        """Publish and wait for the broker's word.

        Raises:
            MessageRefused: the broker said no to this message.
            BrokerUnavailable: no answer; the message may still arrive, so it is sent again with
                the same id.
        """
        exchange = self._exchanges.get(outgoing.exchange)
        if exchange is None:
            raise BrokerUnavailable("The connection for publishing is not ready.")
        try:
            async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                await self._send(exchange, outgoing)
        except BrokerUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                # It may be half open or blocked: nothing on it can be trusted.
                await self._link.drop()
            raise

    async def hint(self, outgoing: Outgoing) -> None:
        """Publish without a confirm and without care: progress, control. Never raises for the broker."""
        exchange = self._transient.get(outgoing.exchange)
        if exchange is None:
            return
        try:
            async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                await exchange.publish(
                    self._message(outgoing.message, durable=False),
                    outgoing.routing_key,
                    mandatory=False,
                )
        except BrokerUnavailable as error:
            logger.info("hint_not_sent", exchange=outgoing.exchange, detail=error.detail)

    async def _send(self, exchange: AbstractExchange, outgoing: Outgoing) -> None:
        try:
            await exchange.publish(
                self._message(outgoing.message, durable=True),
                outgoing.routing_key,
                mandatory=outgoing.mandatory,
            )
        except DeliveryError as error:  # a negative confirm, or a mandatory message that came back
            raise MessageRefused(
                f"{outgoing.exchange} took no message for {outgoing.routing_key} ({type(error).__name__}).",
                remedy="Check the queues and bindings: python -m shared.topology apply.",
            ) from error

    async def _open_and_wait(self) -> None:
        connection = await self._link.connection()
        confirmed = connection.channel(publisher_confirms=True, on_return_raises=True)
        transient = connection.channel(publisher_confirms=False)
        async with asyncio.timeout(RPC_SECONDS):
            await confirmed.initialize()
            await transient.initialize()
            # A missing exchange would close the channel under every message in flight: look first.
            await self._verify(connection.channel())
        exchanges = {name: await confirmed.get_exchange(name, ensure=False) for name in self._names}
        self._transient = {
            name: await transient.get_exchange(name, ensure=False) for name in self._names
        }
        self._exchanges = exchanges
        self._open = True
        ends = {
            asyncio.ensure_future(confirmed.closed()),
            asyncio.ensure_future(transient.closed()),
        }
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await self._link.drop()

    async def _verify(self, channel: AbstractChannel) -> None:
        await channel.initialize()
        for name in self._names:
            await channel.declare_exchange(name, type=EXCHANGES[name], passive=True)
        await channel.close()

    def _message(self, message: dict[str, Any], *, durable: bool) -> aio_pika.Message:
        mode = aio_pika.DeliveryMode.PERSISTENT if durable else aio_pika.DeliveryMode.NOT_PERSISTENT
        traceparent = message.get("traceparent")
        return aio_pika.Message(
            orjson.dumps(message),
            content_type=CONTENT_TYPE,
            delivery_mode=mode,
            message_id=message["id"],
            type=message["type"],
            correlation_id=message.get("subject"),
            app_id=self._app,
            user_id=self._user,  # the broker refuses a message under another's name
            headers={"traceparent": traceparent} if traceparent else None,
        )
