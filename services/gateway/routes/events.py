"""The events of a job as they happen: text/event-stream that resumes where it was left.

The rows are the truth: events are read from the log in the order of their sequence, and progress is
shown as it is heard. Each event carries the job as it was then. The stream ends after the job has.
"""

import asyncio
import time
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import StringConstraints

from services.gateway.api import Header, Routes
from services.gateway.caller import Caller, Viewer
from services.gateway.live import POLL_SECONDS, Listener
from services.gateway.models.jobs import Job, JobError, Progress
from services.gateway.problems import JOB_NOT_FOUND, Problem
from services.gateway.resources import Gateway
from shared.db import Row
from shared.errors import Unavailable
from shared.jobs import ENDS, JobState

routes = Routes("events")
PING_SECONDS = 15.0
WRITE_SECONDS = 30.0
EventId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # A proxy that collects the stream before it passes it on would make it useless.
    "X-Accel-Buffering": "no",
}


@routes.get(
    "/v1/jobs/{job_id}/events", media_types=("text/event-stream",), problems=(JOB_NOT_FOUND,)
)
async def stream_events(
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    job_id: UUID,
    last: Annotated[EventId, Header("Last-Event-ID")] = "0",
) -> web.StreamResponse:
    """Follow a job.

    Events: `queued`, `started`, `progress`, `retry_scheduled`, `cancel_requested`, `succeeded`,
    `failed`, `cancelled`; the data is the job. The stream ends after the last three. Send the id
    of the last event seen as `Last-Event-ID` to go on from there.
    """
    row = await gateway.database.row("read_job", caller.workspace, job_id)
    if row is None:
        raise Problem(JOB_NOT_FOUND)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    gateway.metrics.streams.inc()
    try:
        with gateway.live.listener(caller.workspace, job_id) as listener:
            await _Stream(gateway, caller, job_id, listener, request, response).run(int(last))
    finally:
        gateway.metrics.streams.dec()
    return response


class _Stream:
    """One client's stream."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        gateway: Gateway,
        caller: Caller,
        job_id: UUID,
        listener: Listener,
        request: web.Request,
        response: web.StreamResponse,
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._job_id = job_id
        self._last = 0
        self._listener = listener
        self._request = request
        self._response = response
        self._shown: Progress | None = None
        self._written = time.monotonic()

    async def run(self, last: int) -> None:
        """Write what follows the event `last`, until the job has ended or the time is over."""
        self._last = last
        until = time.monotonic() + self._gateway.settings.stream_seconds
        while time.monotonic() < until and not self._is_over():
            try:
                if await self._catch_up():
                    return
            except Unavailable:
                # The connection is kept: the next look may find the database again.
                await self._write(": the database does not answer\n\n")
            await self._listener.wait(POLL_SECONDS)
            if time.monotonic() - self._written > PING_SECONDS:
                await self._write(": ping\n\n")

    def _is_over(self) -> bool:
        """Whether we are told to stop, or nobody reads any more."""
        transport = self._request.transport
        return self._gateway.live.closed or transport is None or transport.is_closing()

    async def _catch_up(self) -> bool:
        """Write what is new; whether the job has ended (or is gone)."""
        # The row before its events: an end that the row shows is then among the events.
        row = await self._read_job()
        events = await self._gateway.database.rows(
            "read_job_events", self._caller.workspace, self._job_id, self._last
        )
        if events and events[-1]["type"] in ENDS:
            row = await self._read_job()
        if row is None:
            return True
        for event in events:
            await self._write_event(event["type"], as_it_was(row, event), event["sequence"])
            self._last = event["sequence"]
            self._shown = None
        job = Job.of(row)
        if job.state in ENDS:
            return True
        await self._show_progress(job)
        return False

    async def _read_job(self) -> Row | None:
        return await self._gateway.database.row("read_job", self._caller.workspace, self._job_id)

    async def _show_progress(self, job: Job) -> None:
        heard = self._listener.progress
        if job.state is JobState.RUNNING and heard is not None and heard[0] == job.attempt:
            job.progress = heard[1]
        if job.progress is None or job.progress == self._shown:
            return
        self._shown = job.progress
        await self._write_event("progress", job, None)

    async def _write_event(self, name: str, job: Job, sequence: int | None) -> None:
        identity = "" if sequence is None else f"id: {sequence}\n"
        await self._write(f"{identity}event: {name}\ndata: {job.model_dump_json()}\n\n")

    async def _write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await self._response.write(text.encode())
        self._written = time.monotonic()


def as_it_was(row: Row, event: Row) -> Job:
    """The job as the event left it: the log says what changes, the row what never does."""
    job = Job.of(row)
    data = event["message"]["data"]
    job.state = JobState(data["state"])
    job.attempt = data["attempt"]
    job.progress = None
    job.error = JobError(**data["error"]) if data.get("error") else None
    job.result = data.get("result")
    if job.state not in ENDS:
        job.ended_at = None
    if job.attempt == 0:
        job.started_at = None
    return job
