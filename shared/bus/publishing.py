"""Publish with confirms: a message has arrived, was refused, or nobody knows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import aio_pika
import orjson
import structlog
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import DeliveryError
from aiormq import Channel as PlainChannel
from aiormq import spec

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
        self._confirmed: PlainChannel | None = None
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
                self._open, self._confirmed, self._transient = False, None, {}
            await pause_before_reconnect()

    async def publish(self, outgoing: Outgoing) -> None:
        """Publish and wait for the broker's word.

        Raises:
            MessageRefused: the broker said no to this message.
            BrokerUnavailable: no answer; the message may still arrive, so it is sent again with
                the same id.
        """
        answer = (await self.publish_all([outgoing]))[0]
        if answer is not None:
            raise answer

    async def publish_all(
        self, batch: Sequence[Outgoing]
    ) -> list[MessageRefused | BrokerUnavailable | None]:
        """Publish a batch and wait for the broker's word on each message, in their order.

        None: it has arrived. Otherwise what `publish` raises.
        """
        sending = [asyncio.create_task(self._send(outgoing)) for outgoing in batch]
        try:
            _, late = await asyncio.wait(sending, timeout=RPC_SECONDS)
        except asyncio.CancelledError:
            for task in sending:
                task.cancel()
            raise
        if late:
            for task in late:
                task.cancel()
            await asyncio.wait(late)
            # It may be half open or blocked: nothing on it can be trusted.
            await self._link.drop()
        return [_answer(task) for task in sending]

    async def hint(self, outgoing: Outgoing) -> None:
        """Publish without a confirm and without care: progress, control. Never raises for the broker."""
        exchange = self._transient.get(outgoing.exchange)
        if exchange is None:
            return
        try:
            async with broker_errors(), asyncio.timeout(RPC_SECONDS):
                await exchange.publish(
                    self._hint(outgoing.message), outgoing.routing_key, mandatory=False
                )
        except BrokerUnavailable as error:
            logger.info("hint_not_sent", exchange=outgoing.exchange, detail=error.detail)

    async def _send(self, outgoing: Outgoing) -> None:
        channel = self._confirmed
        if channel is None or outgoing.exchange not in self._names:
            raise BrokerUnavailable("The connection for publishing is not ready.")
        message = outgoing.message
        traceparent = message.get("traceparent")
        async with broker_errors():
            try:
                # The library under aio-pika, without its message class and without waiting for the
                # socket: half the processor time, and the confirm says more than the socket.
                await channel.basic_publish(
                    orjson.dumps(message),
                    exchange=outgoing.exchange,
                    routing_key=outgoing.routing_key,
                    mandatory=outgoing.mandatory,
                    properties=spec.Basic.Properties(
                        content_type=CONTENT_TYPE,
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                        message_id=message["id"],
                        message_type=message["type"],
                        correlation_id=message.get("subject"),
                        app_id=self._app,
                        user_id=self._user,  # the broker refuses a message under another's name
                        headers={"traceparent": traceparent} if traceparent else None,
                    ),
                    wait=False,
                )
            except DeliveryError as error:  # a negative confirm, or a mandatory message came back
                raise MessageRefused(
                    f"{outgoing.exchange} took no message for {outgoing.routing_key} ({type(error).__name__}).",
                    remedy="Check the queues and bindings: python -m shared.topology apply.",
                ) from error
            except (TypeError, ValueError) as error:
                # It fits no frame, such as a routing key of more than 255 bytes: it must stop no other.
                raise MessageRefused(
                    f"The message fits no frame: {error}.", remedy="Tell the operators."
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
        self._transient = {
            name: await transient.get_exchange(name, ensure=False) for name in self._names
        }
        self._confirmed = cast("PlainChannel", await confirmed.get_underlay_channel())
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

    def _hint(self, message: dict[str, Any]) -> aio_pika.Message:
        return aio_pika.Message(
            orjson.dumps(message),
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT,
            message_id=message["id"],
            type=message["type"],
            correlation_id=message.get("subject"),
            app_id=self._app,
            user_id=self._user,
        )


def _answer(task: "asyncio.Task[None]") -> MessageRefused | BrokerUnavailable | None:
    """What became of a message; a task that we cancelled had no answer in time."""
    if task.cancelled():
        return BrokerUnavailable("RabbitMQ did not answer in time.")
    error = task.exception()
    if error is None or isinstance(error, MessageRefused | BrokerUnavailable):
        return error
    raise error
