"""What lives as long as the notifier does."""

import asyncio
from dataclasses import dataclass, field

import aiohttp

from services.notifier.metrics import Metrics
from services.notifier.settings import Settings
from shared.bus import Bus
from shared.db import Database
from shared.failpoints import Failpoints


@dataclass(frozen=True)
class Notifier:
    """The notifier's resources.

    Attributes:
        web: the session that webhooks are called with; it reaches public addresses only.
        due: set when deliveries were made or a try has ended: the sender looks again.
    """

    settings: Settings
    instance: str
    database: Database
    bus: Bus
    web: aiohttp.ClientSession
    metrics: Metrics
    failpoints: Failpoints
    due: asyncio.Event = field(default_factory=asyncio.Event)
