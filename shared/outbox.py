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
from shared.topology import LIGHT, WORK, work_key

BATCH = 200
POLL_SECONDS = 1.0
COALESCE_SECONDS = 0.003
LIGHT_DOORBELLS = 2  # of one batch

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
            told, untold = _worth_telling(rows)
            answers = await asyncio.gather(
                *(self._publisher.publish(_outgoing(row)) for row in told), return_exceptions=True
            )
            await self._failpoints.reach(self._failpoint)
            lost = await self._settle(transaction, told, answers)
            if untold and lost is None:
                await transaction.value("delete_outbox", [row["id"] for row in untold])
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


def _worth_telling(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Which rows are published, and which need not be: light jobs are claimed many at a time.

    One doorbell tells of every job committed before it, and whoever hears it goes on until a look
    finds nothing; a few let a few slots wake.
    """
    told: list[Row] = []
    untold: list[Row] = []
    rung = 0
    for row in rows:
        light = row["exchange"] == WORK and row["routing_key"] == work_key(LIGHT)
        rung += light
        (untold if light and rung > LIGHT_DOORBELLS else told).append(row)
    return told, untold


def _outgoing(row: Row) -> Outgoing:
    return Outgoing(row["exchange"], row["routing_key"], row["message"], mandatory=row["mandatory"])
