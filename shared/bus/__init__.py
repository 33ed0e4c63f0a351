"""Publish and consume on RabbitMQ; nothing else in the project imports aio-pika.

Two connections per process: one publishes, one consumes, so that a blocked publisher never stops
acknowledgements.
"""

from collections.abc import Coroutine, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.bus.consuming import Consumer, Delivery, Handler
from shared.bus.doorbells import Doorbells
from shared.bus.interests import Binding, Interests
from shared.bus.letters import Letter
from shared.bus.link import Link
from shared.bus.publishing import MessageRefused, Outgoing, Publisher
from shared.errors import BrokerUnavailable

__all__ = [
    "Binding",
    "Bus",
    "Delivery",
    "Doorbells",
    "Handler",
    "Interests",
    "Letter",
    "MessageRefused",
    "Outgoing",
]


class Bus:
    """A service's access to the broker. Nothing connects before `loops` run.

    Attributes:
        publisher: publish with confirms, or as a hint without.
        consumer: consume durable queues, listen through exclusive ones.
    """

    def __init__(
        self, url: str, *, service: str, instance: str, version: str, exchanges: Sequence[str]
    ) -> None:
        """Prepare the connections.

        Args:
            url: `amqp[s]://user:password@host/vhost`.
            service: name of the service, shown by the broker.
            instance: name of this process.
            version: of the service, written into each message's `app_id`.
            exchanges: what this service publishes to; must be there before it is ready.
        """
        self._publishing = Link(url, f"{service}-publish {instance}")
        self._consuming = Link(url, f"{service}-consume {instance}")
        user = unquote(urlsplit(url).username or "guest")
        self.publisher = Publisher(self._publishing, user, f"{service}/{version}", exchanges)
        self.consumer = Consumer(self._consuming, instance)
        self._doorbells: list[Doorbells] = []

    def doorbells(self, queue: str, at_once: int = 1) -> Doorbells:
        """The doorbells of a pool's queue, taken one by one or many at once."""
        doorbells = Doorbells(self._consuming, queue, at_once)
        self._doorbells.append(doorbells)
        return doorbells

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What must run, supervised, as long as the service does."""
        return {
            "broker connection for publishing": self._publishing.keep(),
            "broker connection for consuming": self._consuming.keep(),
            "publisher": self.publisher.keep(),
        }

    async def check(self) -> None:
        """Whether everything on the bus is as it should be.

        Raises:
            BrokerUnavailable: what is missing.
        """
        if not self.publisher.ready:
            raise BrokerUnavailable("The publisher is not connected, or an exchange is missing.")
        if self.consumer.silent:
            raise BrokerUnavailable(f"Not consumed: {', '.join(self.consumer.silent)}.")
        if not all(doorbells.ready for doorbells in self._doorbells):
            raise BrokerUnavailable("The doorbells are not heard.")

    async def close(self) -> None:
        """Close both connections; unsettled messages go back to their queues."""
        for doorbells in self._doorbells:
            await doorbells.close()
        await self._publishing.drop()
        await self._consuming.drop()
