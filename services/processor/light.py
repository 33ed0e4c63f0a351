"""Slots of light jobs: claim a batch, run it in one child, finish it in one statement.

A light job takes well under a second and no files, so what surrounds it would cost more than itself.
A batch is over within its lease, so nobody beats for it, and a cancel that comes while it runs is
seen when it is finished. The fence is the same as for any other job.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from services.processor.attempt import Done
from services.processor.light_child import LightChild
from services.processor.metrics import JOB_SECONDS, JOBS_ENDED
from services.processor.resources import Processor
from services.processor.runner import Answer, Ending, LogTail, Order
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
from shared.errors import DatabaseUnavailable
from shared.topology import LIGHT, work_queue

BATCH = 200
DOORBELLS_AT_ONCE = 500
MEMORY_BYTES = 1 << 30

logger = structlog.get_logger()


async def keep_slot_busy(processor: Processor, pool: str, scratch: Path) -> None:
    """One slot of light jobs; as worker.keep_slot_busy, a batch at a time."""
    kinds = [task.kind for task in processor.tasks.values() if task.pool == pool]
    child = _child(processor, scratch)
    doorbells = processor.bus.doorbells(work_queue(LIGHT), DOORBELLS_AT_ONCE)
    try:
        if kinds:  # the first job does not pay for the start of the fork server
            await child.run(kinds[0], None, [])
        while not processor.supervisor.stopping.is_set():
            await doorbells.wait(processor.settings.poll_seconds)
            jobs = await claim(processor, kinds)
            async with asyncio.TaskGroup() as group:
                group.create_task(doorbells.answer(more_slots=True))
                while jobs:
                    if len(jobs) == BATCH:
                        processor.relay.hold()  # more are waiting
                    await run_jobs(processor, child, jobs, scratch)
                    jobs = await claim(processor, kinds)
            await child.leave_if_old()
    finally:
        await child.leave()
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


async def run_jobs(processor: Processor, child: LightChild, jobs: list[Row], scratch: Path) -> None:
    """Run a claimed batch to the end of each of its attempts.

    If its child dies, the first job without an ending is run again alone, with everything that an
    attempt of its own has; those after it go back to the queue, and no failure is counted.
    """
    try:
        unended = await _run_together(processor, child, jobs)
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


async def _run_together(processor: Processor, child: LightChild, jobs: list[Row]) -> list[Row]:
    """Run and finish; the jobs that have no ending."""
    start = time.monotonic()
    batch = [job["params"] for job in jobs]
    endings = await child.run(jobs[0]["kind"], jobs[0]["workspace_id"], batch)
    await processor.failpoints.reach("processor.batch.computed")
    ended = list(zip(jobs, endings, strict=False))
    finished = await _finish(processor, ended)
    await processor.failpoints.reach("processor.batch.finished")
    outcomes: Counter[str] = Counter()
    seconds = JOB_SECONDS.labels(jobs[0]["kind"])
    for job, (ending, log) in ended:
        done = job["id"] in finished
        outcomes["succeeded" if done else await _end_alone(processor, job, ending, log)] += 1
        seconds.observe(time.monotonic() - start)
    for outcome, count in outcomes.items():
        JOBS_ENDED.labels(jobs[0]["kind"], outcome).inc(count)
    return jobs[len(endings) :]


async def _end_alone(processor: Processor, job: Row, ending: Ending, log: LogTail) -> str:
    """Say how a job ended that has not been finished with the others; the outcome."""
    with structlog.contextvars.bound_contextvars(
        job=str(job["id"]), kind=job["kind"], attempt=job["attempt"]
    ):
        if isinstance(ending, Answer):  # not ours to finish, or the COMMIT's answer was lost
            return await finish(processor, job, Done(ending.result, []), log)
        return await end(processor, job, ending, log)


async def _finish(
    processor: Processor, ended: list[tuple[Row, tuple[Ending, LogTail]]]
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


def _child(processor: Processor, scratch: Path) -> LightChild:
    """The slot's child. A batch must be over, and told, before its lease is."""
    order = Order(
        kind="",
        params={},
        source=None,
        source_name=None,
        out=scratch,
        scratch=scratch,
        memory_bytes=MEMORY_BYTES,
        workers=1,
        sandbox=processor.settings.sandbox_required,
        batches=True,
    )
    bounds = Bounds(
        seconds=processor.settings.lease_seconds / 2,
        memory_bytes=MEMORY_BYTES,
        scratch_bytes=min(processor.settings.scratch_bytes, 1 << 28),
        processes=8,
    )
    return LightChild(processor.forks, order, bounds, scratch)
