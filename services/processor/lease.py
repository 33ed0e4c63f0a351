"""The lease of one running job: ownership that is renewed, never assumed."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import structlog

from shared.errors import DatabaseUnavailable

logger = structlog.get_logger()


class LeaseLost(Exception):
    """Another attempt owns the job, or it has ended: stop, and write nothing."""


class CancelRequested(Exception):
    """Somebody asked to cancel the job."""


class OutOfTime(Exception):
    """The job's time in all is over."""


class Beats(Protocol):
    """The one call a lease needs of the database."""

    async def row(self, name: str, *arguments: Any) -> Any:
        """The first row of the named statement."""


class Latest:
    """What was said last. Time goes on after it was said: fewer seconds are left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: tuple[float, dict[str, Any]] | None = None

    def tell(self, progress: dict[str, Any]) -> None:
        """This is how far it is now."""
        self._said = self._clock(), progress

    def now(self) -> dict[str, Any] | None:
        """What was said last, its `eta_seconds` as of now; None before anything was said."""
        if self._said is None:
            return None
        then, progress = self._said
        if (left := progress.get("eta_seconds")) is None:
            return progress
        return {**progress, "eta_seconds": round(max(left - (self._clock() - then), 0.0), 1)}


class Lease:
    """Renews the lease of one attempt until the attempt ends.

    Attributes:
        progress: what the attempt has said last of itself; stored with each beat.
    """

    def __init__(
        self, database: Beats, job: UUID, attempt: int, *, every: float, lasts: float
    ) -> None:
        self._database = database
        self._job = job
        self._attempt = attempt
        self._every = every
        self._lasts = lasts
        self._poked = asyncio.Event()
        self.progress = Latest()

    def poke(self) -> None:
        """Beat now: a cancel may have been asked for."""
        self._poked.set()

    async def keep(self) -> None:
        """Beat for ever.

        Raises:
            LeaseLost: no row was updated. An error on the way to the database is no loss: the
                lease may still be ours, and the fence protects the row if it is not.
            CancelRequested: the row says so.
            OutOfTime: the row says so, and nobody has asked to cancel.
        """
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()
            await self._beat()

    async def _beat(self) -> None:
        try:
            row = await self._database.row(
                "beat", self._job, self._attempt, self._lasts, self.progress.now()
            )
        except DatabaseUnavailable as error:
            logger.warning("heartbeat_not_stored", job=str(self._job), detail=error.detail)
            return
        if row is None:
            raise LeaseLost
        if row["cancel_requested"]:
            raise CancelRequested
        if row["out_of_time"]:
            raise OutOfTime
