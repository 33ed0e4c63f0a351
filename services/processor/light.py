"""Slots of light jobs: claim a batch, run it in one child, finish it in one statement.

A light job takes well under a second and no files, so what surrounds it would cost more than itself.
A batch is over within its lease, so nobody beats for it, and a cancel that comes while it runs is
seen when it is finished. The fence is the same as for any other job.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from services.processor.attempt import Done
from services.processor.metrics import JOB_SECONDS, JOBS_ENDED
from services.processor.resources import Processor
from services.processor.runner import Answer, LogTail, Order, run_batch
from services.processor.watch import Bounds
from services.processor.worker import (
    RETRY_SECONDS,
    LocalFault,
    end,
    finish,
    release,
    run_job,
    until_answered,
)
from shared.db import Row
from shared.errors import DatabaseUnavailable, PointmillError
from shared.topology import LIGHT, work_queue

BATCH = 200
DOORBELLS_AT_ONCE = 500
MEMORY_BYTES = 1 << 30

logger = structlog.get_logger()


async def keep_slot_busy(processor: Processor, pool: str, scratch: Path) -> None:
    """One slot of light jobs; as worker.keep_slot_busy, a batch at a time."""
    kinds = [task.kind for task in processor.tasks.values() if task.pool == pool]
    for kind in kinds:  # the first job does not pay for the start of the fork server
        await _run_batch(processor, kind, [], scratch)
    doorbells = processor.bus.doorbells(work_queue(LIGHT), DOORBELLS_AT_ONCE)
    while not processor.supervisor.stopping.is_set():
        await doorbells.wait(processor.settings.poll_seconds)
        jobs = await claim(processor, kinds)
        async with asyncio.TaskGroup() as group:
            group.create_task(doorbells.answer(more_slots=True))
            while jobs:
                await run_jobs(processor, jobs, scratch)
                jobs = await claim(processor, kinds)
    await doorbells.close()


async def claim(processor: Processor, kinds: list[str]) -> list[Row]:
    """The next batch: jobs of one kind and one workspace; none when the service is stopping."""
    token = uuid4()
    while not processor.supervisor.stopping.is_set():
        try:
            return await processor.database.rows(
                "claim_light_jobs",
                processor.instance,
                kinds,
                processor.settings.lease_seconds,
                token,
                BATCH,
            )
        except DatabaseUnavailable as error:
            logger.warning("claim_waits", detail=error.detail)
            await asyncio.sleep(RETRY_SECONDS)
    return []


async def run_jobs(processor: Processor, jobs: list[Row], scratch: Path) -> None:
    """Run a claimed batch to the end of each of its attempts.

    If its child dies, the first job without an ending is run again alone, with everything that an
    attempt of its own has; those after it go back to the queue, and no failure is counted.
    """
    try:
        unended = await _run_together(processor, jobs, scratch)
    except asyncio.CancelledError:
        # The service is leaving and the grace is over; what has ended cannot be given back.
        await asyncio.shield(_release(processor, jobs))
        raise
    except Exception as error:  # this machine's fault or ours: the jobs go on, the service too
        logger.exception("batch_broke")
        for job in jobs:
            fault = LocalFault(f"The worker met a {type(error).__name__}.")
            await end(processor, job, fault, LogTail())
        return
    processor.relay.wake()
    await _release(processor, unended[1:])
    for job in unended[:1]:
        await run_job(processor, job, scratch)


async def _run_together(processor: Processor, jobs: list[Row], scratch: Path) -> list[Row]:
    """Run and finish; the jobs that have no ending."""
    start = time.monotonic()
    endings = await _run_batch(processor, jobs[0]["kind"], jobs, scratch)
    await processor.failpoints.reach("processor.batch.computed")
    ended = list(zip(jobs, endings, strict=False))
    finished = await _finish(processor, ended)
    await processor.failpoints.reach("processor.batch.finished")
    for job, (ending, log) in ended:
        with structlog.contextvars.bound_contextvars(
            job=str(job["id"]), kind=job["kind"], attempt=job["attempt"]
        ):
            if job["id"] in finished:
                outcome = "succeeded"
            elif isinstance(ending, Answer):  # not ours to finish, or the COMMIT's answer was lost
                outcome = await finish(processor, job, Done(ending.result, []), log)
            else:
                outcome = await end(processor, job, ending, log)
        JOBS_ENDED.labels(job["kind"], outcome).inc()
        JOB_SECONDS.labels(job["kind"]).observe(time.monotonic() - start)
    return jobs[len(endings) :]


async def _finish(
    processor: Processor, ended: list[tuple[Row, tuple[Answer | PointmillError, LogTail]]]
) -> set[UUID]:
    """Commit the successes in one step; the ids of those that were ours to finish."""
    done = [
        {
            "job": str(job["id"]),
            "attempt": job["attempt"],
            "result": ending.result,
            "log_tail": log.text(),
        }
        for job, (ending, log) in ended
        if isinstance(ending, Answer)
    ]
    if not done:
        return set()
    rows = await until_answered(lambda: processor.database.rows("finish_light_jobs", done))
    return {row["job"] for row in rows}


async def _release(processor: Processor, jobs: list[Row]) -> None:
    for job in jobs:
        await release(processor, job)


async def _run_batch(
    processor: Processor, kind: str, jobs: list[Row], scratch: Path
) -> list[tuple[Answer | PointmillError, LogTail]]:
    with tempfile.TemporaryDirectory(prefix="light-", dir=scratch) as folder:
        order = _order(processor, kind, jobs, Path(folder))
        return await run_batch(processor.forks, order, _bounds(processor))


def _order(processor: Processor, kind: str, jobs: list[Row], folder: Path) -> Order:
    return Order(
        kind=kind,
        params={},
        source=None,
        source_name=None,
        out=folder,
        scratch=folder,
        memory_bytes=MEMORY_BYTES,
        workers=1,
        sandbox=processor.settings.sandbox_required,
        batch=tuple(job["params"] for job in jobs),
    )


def _bounds(processor: Processor) -> Bounds:
    """A batch must be over, and told, before its lease is."""
    return Bounds(
        seconds=processor.settings.lease_seconds / 2,
        memory_bytes=MEMORY_BYTES,
        scratch_bytes=min(processor.settings.scratch_bytes, 1 << 28),
        processes=8,
    )
