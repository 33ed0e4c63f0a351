"""All that a running gateway holds: made once in app.py, handed to every route."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from services.gateway.archives import Archives
from services.gateway.keys import Keys
from services.gateway.known_kinds import Kinds
from services.gateway.live import Live
from services.gateway.metrics import Metrics
from services.gateway.people import People
from services.gateway.problems import DATABASE_UNAVAILABLE, Kind
from services.gateway.settings import Settings
from services.gateway.signing import Signer
from shared.bus import Bus
from shared.db import Database
from shared.failpoints import Failpoints
from shared.objects import ObjectStore


@dataclass(frozen=True)
class Gateway:
    """The parts of the gateway.

    Attributes:
        wake_relay: called after each commit that left something in the outbox.
    """

    settings: Settings
    database: Database
    store: ObjectStore
    bus: Bus
    live: Live
    keys: Keys
    people: People
    kinds: Kinds
    archives: Archives
    signer: Signer
    metrics: Metrics
    failpoints: Failpoints
    wake_relay: Callable[[], None]

    problems: ClassVar[tuple[Kind, ...]] = (DATABASE_UNAVAILABLE,)

    @classmethod
    async def from_request(cls, request: web.Request) -> "Gateway":
        """The gateway that serves the request."""
        return request.app[GATEWAY]


GATEWAY = web.AppKey("GATEWAY", Gateway)
