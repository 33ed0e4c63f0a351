"""All that a running gateway holds: made once in app.py, handed to every route."""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from aiohttp import web

from services.gateway.known_kinds import Kinds
from services.gateway.live import Live
from services.gateway.metrics import Metrics
from services.gateway.problems import DATABASE_UNAVAILABLE, Kind
from services.gateway.settings import Settings
from shared.bus import Bus
from shared.db import Database
from shared.failpoints import Failpoints
from shared.objects import ObjectStore

# How long a revoked key may still work.
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class Key:
    """What a key in force may do: speak for its workspace, and as an operator."""

    workspace: UUID
    operator: bool


class Keys:
    """API keys, looked up in the database and remembered for a few seconds."""

    def __init__(self, database: Database) -> None:
        """Start with none remembered."""
        self._database = database
        self._known: dict[bytes, tuple[float, Key]] = {}

    async def find(self, key: str, secret: str) -> Key | None:
        """What the key may do; None when it is unknown, not in force or a lie.

        Only hashes are remembered, and only of keys that were right.
        """
        digest = hashlib.sha256(secret.encode()).digest()
        known = self._known.get(key.encode() + digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        row = await self._database.row("find_api_key", key)
        if row is None or not hmac.compare_digest(digest, row["secret_sha256"]):
            return None
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        found = Key(row["workspace_id"], row["operator"])
        self._known[key.encode() + digest] = (time.monotonic() + REMEMBERED_SECONDS, found)
        return found


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
    kinds: Kinds
    metrics: Metrics
    failpoints: Failpoints
    wake_relay: Callable[[], None]

    problems: ClassVar[tuple[Kind, ...]] = (DATABASE_UNAVAILABLE,)

    @classmethod
    async def from_request(cls, request: web.Request) -> "Gateway":
        """The gateway that serves the request."""
        return request.app[GATEWAY]


GATEWAY = web.AppKey("GATEWAY", Gateway)
