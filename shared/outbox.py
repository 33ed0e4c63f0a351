"""The relay: what a service has committed to tell goes to the broker, and is deleted when confirmed.

Each service's SQL for its own rows stands in its own queries file: `take_outbox`, `delete_outbox`,
`postpone_outbox`. A crash between the confirm and the commit publishes again with the same ids.

A row may ring: workers of the pool it names have something to claim, and a doorbell goes out beside its
message. Doorbells only make it faster, so no row waits for the broker's word on one.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from shared.bus import MessageRefused, Outgoing
from shared.bus.publishing import Publisher
from shared.db import Database, Row, Transaction
from shared.errors import BrokerUnavailable, DatabaseUnavailable
from shared.failpoints import Failpoints
from shared.messages import wrap
from shared.messages.work import WorkAvailableV1
from shared.topology import LIGHT, WORK, work_key

BATCH = 200
POLL_SECONDS = 1.0
# From one batch to the next: what comes alone goes at once, what comes in a stream goes in batches.
PAUSE_SECONDS = 0.02
# Who has much to do may hold the relay back, a moment at a time and this long in all.
HOLD_SECONDS = 0.2
MOST_HELD_SECONDS = 2.0
# Of one batch and pool: whoever claims light jobs claims many.
MOST_DOORBELLS = 16
MOST_LIGHT_DOORBELLS = 2

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
        self._service = service
        self._failpoint = f"{service}.outbox.published"
        self._relayed = relayed
        self._woken = asyncio.Event()
        self._held_until = 0.0
        self._told_all = time.monotonic()

    def wake(self) -> None:
        """Say that a commit has just left rows; many calls make one look."""
        self._woken.set()

    def hold(self) -> None:
        """Let the work at hand go first for a moment, unless what is to be told has waited for long."""
        soon = time.monotonic() + HOLD_SECONDS
        self._held_until = min(soon, self._told_all + MOST_HELD_SECONDS)

    async def run(self) -> None:
        """Relay for ever: when woken, and once a second for what another process left or has fallen due."""
        while True:
            began = time.monotonic()
            if began < self._held_until:
                await asyncio.sleep(self._held_until - began)
                continue
            try:
                taken = await self._relay_batch()
            except (DatabaseUnavailable, BrokerUnavailable) as error:
                logger.warning("outbox_waits", code=error.code, detail=error.detail)
                await asyncio.sleep(POLL_SECONDS)
                continue
            if taken < BATCH:
                self._told_all = time.monotonic()
                await asyncio.sleep(began + PAUSE_SECONDS - time.monotonic())
                await self._wait()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
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
            sent, spared = _spare_doorbells(rows)
            messages = [_outgoing(row) for row in sent] + self._doorbells(rows)
            answers = await self._publisher.publish_all(messages)
            await self._failpoints.reach(self._failpoint)
            lost = await self._settle(transaction, sent, answers[: len(sent)], spared)
        if lost is not None:
            raise lost
        return len(rows)

    def _doorbells(self, rows: list[Row]) -> list[Outgoing]:
        """The doorbells that the rows' messages ask for: of each pool only the first few."""
        rung: Counter[str] = Counter()
        doorbells = []
        for row in rows:
            pool = row["rings"]
            if pool is None:
                continue
            rung[pool] += 1
            if rung[pool] <= _most_doorbells(work_key(pool)):
                doorbells.append(doorbell(pool, row["message"], self._service))
        return doorbells

    async def _settle(
        self,
        transaction: Transaction,
        sent: list[Row],
        answers: Sequence[MessageRefused | BrokerUnavailable | None],
        spared: list[Row],
    ) -> BrokerUnavailable | None:
        confirmed, failed, lost = [], set(), None
        for row, answer in zip(sent, answers, strict=True):
            if answer is None:
                confirmed.append(row["id"])
                continue
            failed.add(row["routing_key"])
            if isinstance(answer, MessageRefused):
                logger.error("message_refused", detail=answer.detail, outbox_id=row["id"])
                await transaction.value("postpone_outbox", row["id"], answer.detail)
            else:
                lost = answer
        self._relayed.inc(len(confirmed))
        confirmed += [row["id"] for row in spared if row["routing_key"] not in failed]
        await transaction.value("delete_outbox", confirmed)
        return lost


def _spare_doorbells(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """What is sent of a batch, and the doorbells that others in it make needless.

    Whoever a doorbell wakes goes on claiming until nothing is left: of a batch's doorbells for one
    pool the first few wake as many slots, and at full load the rest would be half of all messages.
    Slots that were left asleep look by themselves.
    """
    sent, spared = [], []
    rung: Counter[str] = Counter()
    for row in rows:
        key = row["routing_key"]
        if row["exchange"] == WORK:
            rung[key] += 1
            if rung[key] > _most_doorbells(key):
                spared.append(row)
                continue
        sent.append(row)
    return sent, spared


def _most_doorbells(key: str) -> int:
    return MOST_LIGHT_DOORBELLS if key == work_key(LIGHT) else MOST_DOORBELLS


def doorbell(pool: str, told: Mapping[str, Any], service: str) -> Outgoing:
    """The doorbell beside what is told of a job: workers of the pool have something to claim."""
    job = told["subject"]
    hint = WorkAvailableV1(job_id=job, kind=told["data"]["kind"], pool=pool)
    message = wrap(hint, service=service, subject=job, traceparent=told.get("traceparent"))
    return Outgoing(WORK, work_key(pool), message)


def _outgoing(row: Row) -> Outgoing:
    return Outgoing(row["exchange"], row["routing_key"], row["message"], mandatory=row["mandatory"])
