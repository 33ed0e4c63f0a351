"""How far an attempt is: what its child says, kept for the row and told to live listeners."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from services.processor.lease import Latest
from services.processor.resources import Processor
from shared.bus import Outgoing
from shared.db import Row
from shared.messages import wrap
from shared.messages.jobs import JobProgressV1
from shared.topology import PROGRESS

PROGRESS_SECONDS = 0.5


@asynccontextmanager
async def reporting(processor: Processor, job: Row) -> AsyncIterator["Reporter"]:
    """A reporter of the job's attempt, as long as the block runs."""
    reporter = Reporter(processor, job)
    try:
        yield reporter
    finally:
        await reporter.close()


class Reporter:
    """Takes the child's progress: all of it for the row, at most two a second to live listeners.

    The first is told at once, and of what comes too fast the last is told when it is time.
    """

    def __init__(self, processor: Processor, job: Row) -> None:
        self._processor = processor
        self._job = job
        lease = processor.running.get(job["id"])
        self._latest = lease.progress if lease is not None else Latest()
        self._told = float("-inf")
        self._telling: asyncio.Task[None] | None = None

    def __call__(self, progress: dict[str, Any]) -> None:
        """Take what the child says."""
        self._latest.tell(progress)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Tell no more: the attempt is over."""
        if self._telling is not None:
            self._telling.cancel()
            with suppress(asyncio.CancelledError):
                await self._telling

    async def _tell(self) -> None:
        await asyncio.sleep(self._told + PROGRESS_SECONDS - time.monotonic())
        self._told = time.monotonic()
        message = JobProgressV1(
            job_id=self._job["id"],
            workspace_id=self._job["workspace_id"],
            attempt=self._job["attempt"],
            **(self._latest.now() or {}),
        )
        envelope = wrap(
            message,
            service="processor",
            subject=str(self._job["id"]),
            workspace=self._job["workspace_id"],
        )
        hint = Outgoing(PROGRESS, f"progress.{self._job['id']}", envelope, mandatory=False)
        await self._processor.failpoints.reach("processor.job.running")
        await self._processor.bus.publisher.hint(hint)
