"""Following a job to its end, whatever happens to the server in between."""

import asyncio
import json
from collections.abc import Callable

from services.gateway.client.api import ENDED, Document, Pointmill
from services.gateway.client.backoff import Backoff
from services.gateway.client.failures import Failure, Refused, Unreachable

# About ten minutes without any answer; the job itself needs nobody to watch it.
ATTEMPTS = 66
POLL_SECONDS = 1.0
# After so many streams that brought nothing, the job is only asked for every `POLL_SECONDS`.
EMPTY_STREAMS = 3


def _unseen(_job: Document) -> None:
    """For a caller who does not look."""


async def follow_job(
    api: Pointmill, job_id: str, tell: Callable[[Document], None] = _unseen
) -> Document:
    """Wait for the end of a job and return it as it ended; `tell` sees it whenever it changes.

    Listens to the job's events, takes a broken stream up after the last event seen, and asks every
    second where there is no stream. Waits as long as the job takes: only a server that has not
    answered for ten minutes, or that refuses (an unknown job), raises.
    """
    return await _Follower(api, job_id, tell).follow()


class _Follower:
    def __init__(self, api: Pointmill, job_id: str, tell: Callable[[Document], None]) -> None:
        self._api = api
        self._job_id = job_id
        self._tell = tell
        self._last_event: str | None = None
        self._empty_streams = 0
        self._backoff = Backoff(ATTEMPTS)

    async def follow(self) -> Document:
        while True:
            if self._empty_streams < EMPTY_STREAMS:
                await self._listen()
            try:
                # However the stream ended, the job itself is what counts.
                job = await self._api.job(self._job_id, attempts=1)
            except (Unreachable, Refused) as failure:
                await self._backoff.pause(failure)
                continue
            self._backoff.reset()
            self._tell(job)
            if job["state"] in ENDED:
                return job
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        """Tell of the events until the stream ends or breaks; the caller looks at the job then."""
        self._empty_streams += 1
        try:
            async for event in self._api.events(self._job_id, self._last_event):
                self._last_event = event.id or self._last_event
                self._empty_streams = 0
                self._backoff.reset()
                self._hear(event.data)
        except Unreachable:
            # A server that is away says nothing about its streams.
            self._empty_streams = 0
        except Failure:
            # No stream here (a proxy, an older server): counted above.
            return

    def _hear(self, data: str) -> None:
        try:
            job = json.loads(data)
        except ValueError:
            return
        if isinstance(job, dict) and job.get("id") == self._job_id and "state" in job:
            self._tell(job)
