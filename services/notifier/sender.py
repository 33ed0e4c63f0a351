"""What is due is sent, many at a time, and few at a time to each endpoint.

One slow endpoint keeps its own slots busy and nobody else's.
"""

import asyncio
from collections import Counter

import structlog

from services.notifier.channels.notice import Notice
from services.notifier.notices import deliver
from services.notifier.resources import Notifier
from shared.errors import DatabaseUnavailable

SLOTS = 200
SLOTS_PER_WEBHOOK = 2
SLOTS_FOR_MAIL = 4
POLL_SECONDS = 1.0
DRAIN_SECONDS = 6.0

logger = structlog.get_logger()


class Sender:
    """The tries that go on in this process."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._sending: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Claim and send for ever: when woken, and once a second for what has fallen due.

        When cancelled, lets what is being sent end, for a few seconds; the lease brings the rest.
        """
        try:
            while True:
                try:
                    claimed = await self._claim()
                except DatabaseUnavailable as error:
                    logger.warning("sender_waits", code=error.code, detail=error.detail)
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                for notice in claimed:
                    self._start(notice)
                if not claimed:
                    await self._wait()
        finally:
            await self._drain()

    async def _claim(self) -> list[Notice]:
        """At most one delivery per endpoint that is not busy; none when nothing is due."""
        free = SLOTS - len(self._sending)
        if free <= 0:
            return []
        rows = await self._notifier.database.rows(
            "claim_deliveries",
            busy(Counter(self._sending.values())),
            free,
            self._notifier.settings.lease_seconds,
        )
        return [Notice.from_row(row) for row in rows]

    def _start(self, notice: Notice) -> None:
        task = asyncio.create_task(deliver(self._notifier, notice), name=f"deliver {notice.id}")
        self._sending[task] = notice.endpoint
        self._notifier.metrics.sending.inc()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._notifier.metrics.sending.dec()
        self._notifier.due.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The delivery is not marked: its lease brings it again.
            logger.error("delivery_broke", exc_info=error)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._notifier.due.wait()
        except TimeoutError:
            pass
        self._notifier.due.clear()

    async def _drain(self) -> None:
        if not self._sending:
            return
        logger.info("sender_drains", sending=len(self._sending))
        _, late = await asyncio.wait(set(self._sending), timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def busy(sending: Counter[str]) -> list[str]:
    """The endpoints that take no more for now."""
    return [
        endpoint
        for endpoint, count in sending.items()
        if count >= (SLOTS_FOR_MAIL if endpoint == "email" else SLOTS_PER_WEBHOOK)
    ]
