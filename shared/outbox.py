"""The relay: what a service has committed to tell goes to the broker, and is deleted when confirmed.

Each service's SQL for its own rows stands in its own queries file: `take_outbox`, `delete_outbox`,
`postpone_outbox`. A crash between the confirm and the commit publishes again with the same ids.
"""

import asyncio
from typing import Protocol

import structlog

from shared.bus import MessageRefused, Outgoing
from shared.bus.publishing import Publisher
from shared.db import Database, Row, Transaction
from shared.errors import BrokerUnavailable, DatabaseUnavailable
from shared.failpoints import Failpoints

BATCH = 200
POLL_SECONDS = 1.0
COALESCE_SECONDS = 0.003

logger = structlog.get_logger()


class Gauge(Protocol):
    """What prometheus_client's gauges and counters offer, as far as the relay needs it."""

    def inc(self, amount: float = 1) -> None:
        """Count up."""


class Relay:
    """The relay of one service."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        failpoints: Failpoints,
        service: str,
        relayed: Gauge,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._failpoints = failpoints
        self._failpoint = f"{service}.outbox.published"
        self._relayed = relayed
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that a commit has just left rows; many calls make one look."""
        self._woken.set()

    async def run(self) -> None:
        """Relay for ever: when woken, and once a second for what another process left or has fallen due."""
        while True:
            try:
                taken = await self._relay_batch()
            except (DatabaseUnavailable, BrokerUnavailable) as error:
                logger.warning("outbox_waits", code=error.code, detail=error.detail)
                await asyncio.sleep(POLL_SECONDS)
                continue
            if taken < BATCH:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
            await asyncio.sleep(COALESCE_SECONDS)
        except TimeoutError:
            pass
        self._woken.clear()

    async def _relay_batch(self) -> int:
        """Publish one batch and return its size.

        Raises:
            BrokerUnavailable: some have no answer; they stay, the confirmed ones are deleted.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.rows("take_outbox", BATCH)
            if not rows:
                return 0
            answers = await asyncio.gather(
                *(self._publisher.publish(_outgoing(row)) for row in rows), return_exceptions=True
            )
            await self._failpoints.reach(self._failpoint)
            lost = await self._settle(transaction, rows, answers)
        if lost is not None:
            raise lost
        return len(rows)

    async def _settle(
        self, transaction: Transaction, rows: list[Row], answers: list[BaseException | None]
    ) -> BaseException | None:
        confirmed, lost = [], None
        for row, answer in zip(rows, answers, strict=True):
            if answer is None:
                confirmed.append(row["id"])
            elif isinstance(answer, MessageRefused):
                logger.error("message_refused", detail=answer.detail, outbox_id=row["id"])
                await transaction.value("postpone_outbox", row["id"], answer.detail)
            else:
                lost = answer
        await transaction.value("delete_outbox", confirmed)
        self._relayed.inc(len(confirmed))
        return lost


def _outgoing(row: Row) -> Outgoing:
    return Outgoing(row["exchange"], row["routing_key"], row["message"], mandatory=row["mandatory"])
